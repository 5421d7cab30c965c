// Cashew's demo: a broker, its handlers, and devices that use them; ends by itself.
//
//     npm ci && npm start              a server of its own: parley on the path, or $PARLEY_BIN
//     BROKER_URL=ws://… JWT_SECRET=… npm start
import { connect, deviceToken, handlerToken, publish, start, subscribe } from 'parley-cashew';
import { handleApples1, handleApples2, handleApples3 } from './handlers/apples.js';
import { handleContactList, handleContactRequests } from './handlers/contacts.js';
import { handlePings } from './handlers/ping-pong.js';
import { openStore } from './store.js';

const secret = process.env.JWT_SECRET ?? 'a secret that everybody knows, for the demo';
const store = await openStore(process.env.CONTACTS_FILE);
const server = process.env.BROKER_URL ? undefined : await start({ port: 0, secret });
const brokerUrl = process.env.BROKER_URL ?? server.brokerUrl;
const connections = [];

async function connected(token) {
  const conn = await connect(token, { brokerUrl });
  connections.push(conn);
  return conn;
}

const handler = async (name) => connected(await handlerToken(secret, { ip: '127.0.0.1', name }));
const device = async (userId) => connected(await deviceToken(secret, userId));

/** The next count messages of a topic, which is subscribed before this returns. */
function heard(topic, conn, count = 1) {
  const stream = subscribe(topic, conn);
  const payloads = (async () => {
    const got = [];
    for await (const { payload } of stream) {
      console.log('device hears', topic, payload);
      if (got.push(payload) === count) break;
    }
    return got;
  })();
  return { payloads, ready: stream.granted };
}

// The handlers, each with a connection of its own, as if they were programs of their own.
await handlePings(await handler('ping-pong'));
await handleApples1(await handler('apples 1'));
await handleApples2(await handler('apples 2'));
await handleApples3(await handler('apples 3'), store);
await handleContactRequests(await handler('contact requests'), store);
await handleContactList(await handler('contact list'), store);

// Ping-pong and apples.
const userId = 139871238127389;
const mobile = await device(userId);
const pong = heard(`${userId}/pong`, mobile);
const apples = heard(`${userId}/got_apples`, mobile, 3);
await Promise.all([pong.ready, apples.ready]);
publish(`${userId}/ping`, { sent: 'by the device' }, mobile);
publish(`${userId}/get_apples`, JSON.stringify({}), mobile);
publish(`${userId}/get_more_apples`, JSON.stringify({}), mobile);
await pong.payloads;
const all = (await apples.payloads).flat();
console.log(`${all.length} apples: ${all.sort().join(' ')}`);

// Contacts: 68946 asks, 23412 accepts, 68946 reads his list.
const [first, second] = [await device('68946'), await device('23412')];
const approved = heard('68946/contact_approved', first);
const list = heard('68946/contact_list', first);
const requested = heard('23412/contact_requested', second);
await Promise.all([approved.ready, list.ready, requested.ready]);
publish('request_contact', { from: '68946', to: '23412' }, first);
await requested.payloads;
publish('accept_contact', { from: '23412', to: '68946' }, second);
await approved.payloads;
publish('get_contact_list', { from: '68946' }, first);
const [contacts] = await list.payloads;
console.log(`contacts of 68946: ${contacts.join(' ')}`);

// What it may not hear.
await subscribe('23412/contact_requested', first).granted.then(
  () => { throw new Error('68946 hears what is for 23412'); },
  (error) => console.log('refused:', error.message),
);

await Promise.all(connections.map((conn) => conn.close()));
store.close();
await server?.stop();
