// Commands with bare names, as Cashew's scenarios have them. Anybody may publish them, so a handler
// knows only what the payload claims. Where that matters, let devices publish below their own id
// (docs/guide/from-cashew.md, "Who sent it"), and take user_id from the topic.
import { publish, subscribe } from 'parley-cashew';

const isId = (id) => typeof id === 'string' && id.length > 0 && !/[/+#]/.test(id);

export function handleContactRequests(conn, store) {
  const requests = subscribe('request_contact', conn);
  requests
    .map(({ payload }) => payload)
    .filter((payload) => isId(payload?.from) && isId(payload?.to))
    .observe(({ from, to }) => {
      store.addRequest(from, to);
      publish(`${to}/contact_requested`, { from }, conn);
    });
  const answers = subscribe('accept_contact', conn);
  answers
    .map(({ payload }) => payload)
    .filter((payload) => isId(payload?.from) && isId(payload?.to))
    .observe(({ from, to }) => {
      if (store.acceptRequest(to, from)) publish(`${to}/contact_approved`, { by: from }, conn);
    });
  return Promise.all([requests.granted, answers.granted]);
}

export function handleContactList(conn, store) {
  const commands = subscribe('get_contact_list', conn);
  commands
    .filter(({ payload }) => isId(payload?.from))
    .observe(({ payload: { from } }) => {
      publish(`${from}/contact_list`, store.contacts(from), conn);
    });
  return commands.granted;
}
