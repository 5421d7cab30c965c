// Against a parley: $PARLEY_BIN, or the one on the path.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import net from 'node:net';
import { after, before, test as plainTest } from 'node:test';
import {
  connect, ConnectError, deviceToken, handlerToken, publish, reply, request, RequestError, start, subscribe,
  SubscribeError,
} from 'parley-cashew';

const test = (name, fn) => plainTest(name, { timeout: 20_000 }, fn);

const SECRET = '0123456789abcdef0123456789abcdef';
const quiet = { error() {}, warn() {}, info() {}, debug() {} };

let server;
before(async () => { server = await start({ port: 0, secret: SECRET }); });
after(() => server.stop());

/** Connections that end with the test. */
async function clients(t, ...tokens) {
  const made = [];
  for (const token of tokens) {
    const conn = await connect(await token, { brokerUrl: server.brokerUrl, logger: quiet });
    t.after(() => conn.close());
    made.push(conn);
  }
  return made;
}

const device = (id, options) => deviceToken(SECRET, id, options);
const handler = () => handlerToken(SECRET);

/** The next count items of a stream. */
function take(stream, count) {
  const items = [];
  return new Promise((resolve, reject) => {
    stream.observe((item) => {
      if (items.push(item) === count) resolve(items);
    }).then(() => reject(new Error(`ended after ${items.length}`)), reject);
  });
}

test('apples', async (t) => {
  const [one, two, mobile] = await clients(t, handler(), handler(), device(139871238127389));
  const first = subscribe('+/get_apples', one);
  first.observe(({ user_id, payload }) => {
    assert.deepEqual(payload, {});
    publish(`${user_id}/got_apples`, JSON.stringify(['red', 'yellow', 'blue']), one);
  });
  const second = subscribe('+/get_more_apples', two);
  second.observe(({ user_id }) => publish(`${user_id}/got_apples`, ['green', 'black', 'purple'], two));
  const got = subscribe('139871238127389/got_apples', mobile);
  await Promise.all([first.granted, second.granted, got.granted]);
  publish('139871238127389/get_apples', JSON.stringify({}), mobile);
  publish('139871238127389/get_more_apples', {}, mobile);
  const apples = (await take(got, 2)).flatMap(({ user_id, payload }) => {
    assert.equal(user_id, '139871238127389');
    return payload;
  });
  assert.deepEqual(apples.sort(), ['black', 'blue', 'green', 'purple', 'red', 'yellow']);
});

test('ping-pong: what is published right after subscribing is heard', async (t) => {
  const [both, caller] = await clients(t, handler(), device('U'));
  const ping = subscribe('+/ping', both);
  await ping.granted;
  const pong = new Promise((resolve) => {
    ping.observe(({ user_id, payload }) => {
      subscribe(`${user_id}/pong`, both).observe(resolve);
      publish(`${user_id}/pong`, payload, both);
    });
  });
  const heard = take(subscribe('U/pong', caller), 1);
  publish('U/ping', { n: 1 }, caller);
  assert.deepEqual((await pong).payload, { n: 1 });
  assert.deepEqual((await heard)[0].payload, { n: 1 });
});

test('every wildcard matches, and each stream sees a message once', async (t) => {
  for (const protocolVersion of [4, 5]) {
    const conn = await connect(await handler(), { brokerUrl: server.brokerUrl, protocolVersion });
    t.after(() => conn.close());
    const filters = ['a/+/c', 'a/#', '#', 'a/b/c', '+/+/+', '+/#'];
    const counts = filters.map(() => 0);
    const streams = filters.map((filter, i) => {
      const stream = subscribe(filter, conn);
      stream.observe(() => { counts[i] += 1; });
      return stream;
    });
    await Promise.all(streams.map((stream) => stream.granted));
    const last = take(subscribe('end', conn), 1);
    publish('a/b/c', 'null', conn);
    publish('end', 'null', conn);
    await last;
    assert.deepEqual(counts, [1, 1, 2, 1, 1, 2], `version ${protocolVersion}`);
  }
});

test('a refused topic rejects granted and ends the stream, in both versions', async (t) => {
  for (const protocolVersion of [4, 5]) {
    const conn = await connect(await device('12'), {
      brokerUrl: server.brokerUrl, protocolVersion, logger: quiet });
    t.after(() => conn.close());
    const refused = subscribe('123/secret', conn);
    const fine = subscribe('12/x', conn);
    await assert.rejects(refused.granted, (error) => error instanceof SubscribeError
      && error.topic === '123/secret' && error.code === (protocolVersion === 5 ? 0x87 : 0x80));
    await assert.rejects(refused.observe(() => {}), SubscribeError);
    assert.equal(await fine.granted, 0);
    publish('12/x', '1', conn);
    assert.equal((await take(fine, 1))[0].payload, 1);
  }
});

test('a bad token rejects once, and is not tried again', async () => {
  for (const protocolVersion of [4, 5, undefined]) {
    const token = await deviceToken('x'.repeat(32), '12');
    await assert.rejects(connect(token, { brokerUrl: server.brokerUrl, protocolVersion }), (error) =>
      error instanceof ConnectError && !error.retryable
      && error.code === (protocolVersion === 4 ? 4 : 0x86));
  }
});

test('an address where nobody is rejects, and may be tried again', async () => {
  await assert.rejects(connect('x.y.z', { brokerUrl: 'ws://127.0.0.1:1' }), (error) =>
    error instanceof ConnectError && error.retryable);
});

test('a message that is no JSON goes to onError, and the stream goes on', async (t) => {
  const [conn] = await clients(t, device('7'));
  const bad = [];
  const stream = subscribe('7/x', conn, { onError: (error, item) => bad.push([error.name, item.topic]) });
  const items = take(stream, 2);
  publish('7/x', '{', conn);
  publish('7/x', '[1]', conn);
  publish('7/x', new TextEncoder().encode('"bytes"'), conn);
  assert.deepEqual((await items).map(({ payload }) => payload), [[1], 'bytes']);
  assert.deepEqual(bad, [['SyntaxError', '7/x']]);
});

test('what an observer throws goes to onError, and the stream goes on', async (t) => {
  const [conn] = await clients(t, device('7'));
  const errors = [];
  const seen = [];
  const stream = subscribe('7/t', conn, { onError: (error) => errors.push(error.message) });
  const all = take(stream, 3);
  stream.tap(({ payload }) => { if (payload === 1) throw new Error('tap'); })
    .filter(({ payload }) => payload !== 2)
    .map(({ payload }) => payload * 10)
    .forEach((n) => { seen.push(n); throw new Error('observer'); });
  for (const n of [1, 2, 3]) publish('7/t', n, conn);
  await all;
  assert.deepEqual(seen, [30]);
  assert.deepEqual(errors, ['tap', 'observer']);
});

test('a stream keeps what comes before anyone observes, and is an async iterable', async (t) => {
  const [conn, other] = await clients(t, device('7'), handler());
  publish('7/kept', 'true', other, { retain: true, qos: 1 });
  const stream = subscribe('7/#', conn, { qos: 1 });
  assert.equal(await stream.granted, 1);
  for (const n of [1, 2, 3]) await publish('7/n', n, other, { qos: 1 });
  const got = [];
  for await (const { payload, retain } of stream) {
    got.push([payload, retain]);
    if (payload === 3) break;
  }
  assert.deepEqual(got.filter(([payload]) => payload !== true), [[1, false], [2, false], [3, false]]);
  await assert.doesNotReject(stream.observe(() => {})); // break has unsubscribed
  await publish('7/kept', '', other, { retain: true, qos: 1 });
});

test('unsubscribe ends a stream; the others of its filter go on', async (t) => {
  const [conn] = await clients(t, device('7'));
  const one = subscribe('7/u', conn);
  const two = subscribe('7/u', conn);
  const ended = one.observe(() => assert.fail('ended'));
  await one.granted;
  await one.unsubscribe();
  await ended;
  publish('7/u', 1, conn);
  await take(two, 1);
  await two.unsubscribe();
});

test('handlers that share a queue get each command once', async (t) => {
  const [a, b, caller] = await clients(t, handler(), handler(), device('7'));
  const numbers = [];
  let whole;
  const done = new Promise((resolve) => { whole = resolve; });
  const streams = [a, b].map((conn) => subscribe('+/work', conn, { queue: 'workers' }));
  for (const stream of streams) {
    stream.observe(({ payload }) => { if (numbers.push(payload) === 20) whole(); });
  }
  await Promise.all(streams.map(({ granted }) => granted));
  for (let n = 0; n < 20; n += 1) publish('7/work', n, caller);
  await done;
  assert.deepEqual(numbers.sort((x, y) => x - y), Array.from({ length: 20 }, (_, n) => n));
});

test('a request gets its answer, an error, or nobody', async (t) => {
  const [worker, caller] = await clients(t, handler(), device('7'));
  const served = reply('+/double', worker, ({ payload }) => payload * 2);
  const failing = reply('+/fail', worker, () => { throw new Error('out of apples'); });
  await Promise.all([served.granted, failing.granted]);
  assert.deepEqual(await Promise.all([1, 2, 3].map((n) => request('7/double', n, caller))), [2, 4, 6]);
  await assert.rejects(request('7/fail', 1, caller), (error) => error instanceof RequestError
    && error.reason === 'out of apples');
  await assert.rejects(request('7/nobody', 1, caller), /nobody is there/);
});

/** A port that passes on to the server, and can drop what it holds. */
async function dropper(t) {
  const sockets = new Set();
  const proxy = net.createServer((socket) => {
    const to = net.connect(server.port, '127.0.0.1');
    sockets.add(socket);
    socket.pipe(to).pipe(socket);
    for (const end of [socket, to]) end.on('error', () => {}).on('close', () => { socket.destroy(); to.destroy(); });
  });
  await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
  t.after(() => proxy.close());
  return {
    brokerUrl: `ws://127.0.0.1:${proxy.address().port}`,
    drop() { for (const socket of sockets) socket.destroy(); sockets.clear(); },
  };
}

const turned = (conn, wanted) => new Promise((resolve) => {
  if (conn.state === wanted) resolve();
  else conn.on('state', (state) => { if (state === wanted) resolve(); });
});

test('streams survive a lost connection; a token is asked for again', async (t) => {
  const proxy = await dropper(t);
  let tokens = 0;
  const conn = await connect(() => { tokens += 1; return device('7'); }, {
    brokerUrl: proxy.brokerUrl, reconnect: { min: 10, max: 20 }, logger: quiet });
  t.after(() => conn.close());
  const stream = subscribe('7/s', conn);
  const items = take(stream, 2);
  await stream.granted;
  await publish('7/s', 1, conn, { qos: 1 });
  proxy.drop();
  await turned(conn, 'reconnecting');
  const late = publish('7/other', 0, conn, { qos: 1 }); // sent when it is there again
  await turned(conn, 'connected');
  await late;
  publish('7/s', 2, conn);
  assert.deepEqual((await items).map(({ payload }) => payload), [1, 2]);
  assert.equal(tokens, 2);
});

test('a token that ends is renewed, and one that cannot be ends the connection', async (t) => {
  let lives = 1;
  const conn = await connect(() => device('7', { expires: lives-- > 0 ? 2 : -1 }), {
    brokerUrl: server.brokerUrl, reconnect: { min: 10, max: 20 }, logger: quiet });
  t.after(() => conn.close());
  const stream = subscribe('7/e', conn);
  const ended = assert.rejects(stream.observe(() => {}), (error) => error instanceof ConnectError
    && error.code === 0x86 && !error.retryable);
  await turned(conn, 'closed');
  await ended;
  await assert.rejects(publish('7/e', 1, conn), ConnectError);
});

test('close completes the streams', async (t) => {
  const [conn] = await clients(t, device('7'));
  const done = subscribe('7/c', conn).observe(() => {});
  await conn.close();
  await done;
  assert.equal(conn.state, 'closed');
});

test('a signal ends the attempt and the connection', async () => {
  await assert.rejects(connect('x', { brokerUrl: server.brokerUrl, signal: AbortSignal.abort() }));
  const ending = new AbortController();
  const conn = await connect(await device('7'), { brokerUrl: server.brokerUrl, signal: ending.signal });
  ending.abort();
  await turned(conn, 'closed');
});

test('options as Cashew had them', async (t) => {
  const warned = [];
  const conn = await connect(await device('7'), {
    brokerUrl: server.brokerUrl, clientId: 'mobile', keepalive: '30000', keeyalive: '1', parse: (text) => text,
    logger: { ...quiet, warn: (text) => warned.push(text) } });
  t.after(() => conn.close());
  assert.equal(conn.client.options.keepalive, 30000);
  assert.equal(conn.client.options.clientId, 'mobile');
  assert.equal(conn.options.clientId, 'mobile');
  assert.equal(warned.length, 1);
  const items = take(subscribe('7/p', conn), 1);
  publish('7/p', 'plain', conn);
  assert.equal((await items)[0].payload, 'plain');
});

test('require finds the same', () => {
  const required = createRequire(import.meta.url)('parley-cashew');
  assert.equal(typeof required.connect, 'function');
  assert.equal(typeof required.subscribe, 'function');
});
