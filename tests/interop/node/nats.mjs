// nats.js; as `nats.mjs ws` it is nats.ws over the ws package.
import { base64, bytes, event, serve } from './driver.mjs';

const library = process.argv[2] === 'ws' ? 'nats.ws' : 'nats';
if (library === 'nats.ws' && !globalThis.WebSocket) {
  const { WebSocket } = await import('ws');
  globalThis.WebSocket = WebSocket;
}
const { connect, headers: makeHeaders } = await import(library);

let connection;
let number = 0;
const subscriptions = new Map();

const described = (message) => ({
  subject: message.subject,
  data: base64(message.data),
  reply: message.reply || null,
  headers: message.headers
    ? [...message.headers].flatMap(([name, values]) => values.map((value) => [name, value])) : [],
  code: message.headers?.code ?? null,
});

function headersOf(list) {
  if (!list) return undefined;
  const headers = makeHeaders();
  for (const [name, value] of list) headers.append(name, value);
  return headers;
}

async function subscribe({ subject, ...options }, onMessage) {
  const id = ++number;
  const subscription = connection.subscribe(subject, {
    ...options,
    callback(error, message) {
      if (error) event('refused', { subscription: id, error: error.message, code: error.code });
      else onMessage(id, message);
    },
  });
  subscriptions.set(id, subscription);
  await connection.flush(); // The server has it when it answers our PING.
  return { subscription: id };
}

serve({
  // options: the library's own, JSON; jwt is a bearer token of the server's.
  async connect({ jwt, ...options }) {
    connection = await connect({
      reconnect: false,
      timeout: 10_000,
      maxPingOut: 5,
      ...(jwt ? { authenticator: () => ({ jwt }) } : {}),
      ...options,
    });
    (async () => {
      for await (const status of connection.status()) {
        event('status', { type: String(status.type), data: String(status.data ?? '') });
      }
    })();
    connection.closed().then((error) => event('closed', {
      error: error?.message ?? null, code: error?.code ?? null }));
    return { info: connection.info };
  },
  subscribe(fields) {
    return subscribe(fields, (subscription, message) =>
      event('message', { subscription, ...described(message) }));
  },
  async unsubscribe({ subscription, max }) {
    subscriptions.get(subscription).unsubscribe(max);
    await connection.flush();
  },
  // Subscribes; a message with a reply subject is answered with prefix and its payload.
  respond({ prefix = '', ...fields }) {
    return subscribe(fields, (subscription, message) => {
      event('message', { subscription, ...described(message) });
      message.respond(Buffer.concat([Buffer.from(prefix), message.data]));
    });
  },
  // A service of the library's own framework: its endpoint answers with what it is asked, or with an
  // error if code is given.
  async service({ name, subject, code, description = '' }) {
    const service = await connection.services.add({ name, version: '1.0.0' });
    service.addEndpoint('endpoint', {
      subject,
      handler(error, message) {
        if (code) message.respondError(code, description, message.data);
        else message.respond(message.data);
      },
    });
    await connection.flush();
  },
  async publish({ subject, data, reply, headers, flush = true }) {
    connection.publish(subject, bytes(data), { reply, headers: headersOf(headers) });
    if (flush) await connection.flush();
  },
  async publishMany({ subject, count, prefix = '' }) {
    for (let i = 0; i < count; i++) {
      connection.publish(subject, Buffer.from(`${prefix}${i}`));
      if (i % 1000 === 999) await connection.flush();
    }
    await connection.flush();
  },
  async request({ subject, data, timeout = 10_000, headers }) {
    return { reply: described(await connection.request(subject, bytes(data), {
      timeout, headers: headersOf(headers) })) };
  },
  async flush() {
    await connection.flush();
  },
  async drain() {
    await connection.drain();
  },
  async close() {
    await connection.close();
  },
});
