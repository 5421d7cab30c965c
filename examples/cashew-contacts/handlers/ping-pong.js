// Hears every user's ping, and its own pong to him: it subscribes and publishes in one breath.
import { publish, subscribe } from 'parley-cashew';

export function handlePings(conn) {
  const pings = subscribe('+/ping', conn);
  pings.observe(({ user_id, payload }) => {
    subscribe(`${user_id}/pong`, conn).observe(({ payload: own }) => {
      console.log('ping-pong handler hears its own pong', own);
    });
    publish(`${user_id}/pong`, payload, conn);
  });
  return pings.granted;
}
