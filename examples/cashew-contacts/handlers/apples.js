// Three handlers; two of them answer the same command, and both answers come.
import { publish, subscribe } from 'parley-cashew';

function answer(command, apples, conn) {
  const commands = subscribe(command, conn);
  commands.observe(({ user_id }) => {
    publish(`${user_id}/got_apples`, JSON.stringify(apples()), conn);
  });
  return commands.granted;
}

export const handleApples1 = (conn) => answer('+/get_apples', () => ['red', 'yellow', 'blue'], conn);

export const handleApples2 = (conn) => answer('+/get_more_apples', () => ['green', 'black', 'purple'], conn);

export const handleApples3 = (conn, store) => answer('+/get_more_apples', () => store.apples(), conn);
