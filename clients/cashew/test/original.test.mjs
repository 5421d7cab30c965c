// mqtt.js 2.18, with the options and the calls of cashew-mqtt 0.1.20: what its applications do on the
// wire. 4 and 5 are CONNACK's return codes.
import assert from 'node:assert/strict';
import { after, before, test as plainTest } from 'node:test';
import mqtt from 'mqtt2';
import { deviceToken, handlerToken, start } from 'parley-cashew';

const test = (name, fn) => plainTest(name, { timeout: 20_000 }, fn);
const SECRET = '0123456789abcdef0123456789abcdef';
const USER = 139871238127389;

let server;
before(async () => { server = await start({ port: 0, secret: SECRET }); });
after(() => server.stop());

function connect(token, options = {}) {
  return new Promise((resolve, reject) => {
    const client = mqtt.connect(server.brokerUrl, {
      clientId: options.clientId ?? `device_${Date.now()}${Math.random()}`,
      keepalive: 30000,
      password: token,
      rejectUnauthorized: false,
      username: 'JWT',
      ...options,
    });
    client.on('connect', () => resolve(client));
    client.on('error', (error) => { client.end(true); reject(error); });
  });
}

async function clients(t, ...tokens) {
  const made = await Promise.all(tokens.map(async (token) => connect(await token)));
  t.after(() => made.forEach((client) => client.end(true)));
  return made;
}

/** Whether the topic is what cashew-mqtt takes for the filter's. */
function isFor(filter, topic) {
  const [wanted, levels] = [filter.split('/'), topic.split('/')];
  return wanted.length === levels.length
    && wanted.every((level, i) => level === '+' || level === levels[i]);
}

function subscribe(filter, client, fn) {
  client.on('message', (topic, payload) => {
    if (isFor(filter, topic)) fn({ user_id: topic.split('/')[0], payload: JSON.parse(payload.toString()) });
  });
  return new Promise((resolve) => {
    client.subscribe(filter, (error, granted) => resolve(error ?? granted[0].qos));
  });
}

test('six apples, with handlers 1 and 2', async (t) => {
  const [one, two, mobile] = await clients(t, handlerToken(SECRET), handlerToken(SECRET),
    deviceToken(SECRET, USER));
  await subscribe('+/get_apples', one, ({ user_id }) => {
    one.publish(`${user_id}/got_apples`, JSON.stringify(['red', 'yellow', 'blue']));
  });
  await subscribe('+/get_more_apples', two, ({ user_id }) => {
    two.publish(`${user_id}/got_apples`, JSON.stringify(['green', 'black', 'purple']));
  });
  const apples = [];
  await new Promise((resolve) => {
    subscribe(`${USER}/got_apples`, mobile, ({ payload }) => {
      if (apples.push(...payload) === 6) resolve();
    });
    mobile.publish(`${USER}/get_apples`, JSON.stringify({}));
    mobile.publish(`${USER}/get_more_apples`, JSON.stringify({}));
  });
  assert.deepEqual(apples.sort(), ['black', 'blue', 'green', 'purple', 'red', 'yellow']);
});

test('a handler that subscribes and publishes in one breath hears itself, once', async (t) => {
  const [both, caller] = await clients(t, handlerToken(SECRET, { name: 'h' }), deviceToken(SECRET, 'U'));
  const pongs = [];
  let end;
  const done = new Promise((resolve) => { end = resolve; });
  await subscribe('+/ping', both, ({ user_id, payload }) => {
    subscribe(`${user_id}/pong`, both, (pong) => pongs.push(pong.payload));
    both.publish(`${user_id}/pong`, JSON.stringify(payload));
  });
  await subscribe('+/pong', both, () => {}); // overlaps
  await subscribe('end', both, () => end());
  await subscribe('U/pong', caller, () => caller.publish('end', '1'));
  caller.publish('U/ping', JSON.stringify({ n: 1 }));
  await done;
  assert.deepEqual(pongs, [{ n: 1 }]);
});

test('a refused topic is silence, and the client goes on', async (t) => {
  const [client, other] = await clients(t, deviceToken(SECRET, '12'), handlerToken(SECRET));
  const heard = [];
  for (const filter of ['123/secret', '+/x', '13/x']) {
    await subscribe(filter, client, ({ payload }) => heard.push(payload));
  }
  await new Promise((resolve) => {
    subscribe('12/end', client, resolve).then(() => {
      for (const topic of ['123/secret', '13/x', '12/end']) other.publish(topic, '"x"');
    });
  });
  assert.deepEqual(heard, []);
});

test('who is refused is told by the return codes', async () => {
  const good = await deviceToken(SECRET, '12');
  for (const [token, options, code] of [
    [await deviceToken('x'.repeat(32), '12'), {}, 4],
    [await deviceToken(SECRET, '12', { expires: -1 }), {}, 4],
    ['', {}, 4],
    [undefined, {}, 4],
    [good, { username: 'jwt' }, 5],
    [good, { username: undefined, password: undefined }, 5],
  ]) {
    await assert.rejects(connect(token, options), (error) => error.code === code, `${token} ${code}`);
  }
});

test('MQIsdp, the protocol before 3.1.1', async (t) => {
  const client = await connect(await deviceToken(SECRET, '12'), { protocolId: 'MQIsdp', protocolVersion: 3 });
  t.after(() => client.end(true));
  await new Promise((resolve) => {
    subscribe('12/x', client, resolve).then(() => client.publish('12/x', '1'));
  });
});
