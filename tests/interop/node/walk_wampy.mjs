// wampy, walked through everything that it offers to a client without a login.
//
//   node walk_wampy.mjs '{"url": "ws://…", "serializer": "cbor", "deflate": true}' [words]
import WebSocket from 'ws';
import { Wampy } from 'wampy';
import { CborSerializer } from 'wampy/CborSerializer.js';
import { JsonSerializer } from 'wampy/JsonSerializer.js';
import { MsgpackSerializer } from 'wampy/MsgpackSerializer.js';
import { Inbox, assert, bytesOf, refused, walk, within } from './walk.mjs';

const { url, serializer, deflate = false, realm = 'realm1', role = 'all' } = JSON.parse(process.argv[2]);
const serializers = { json: JsonSerializer, msgpack: MsgpackSerializer, cbor: CborSerializer };
const isText = serializer === 'json';

let extensions;
const number = (value) => (typeof value === 'bigint' ? Number(value) : value);

// wampy makes the socket itself; this is how it is told what to ask for.
class Socket extends WebSocket {
  constructor(address, protocols, origin, headers, options) {
    super(address, protocols, { ...options, headers: headers ?? {}, perMessageDeflate: deflate });
    this.on('open', () => { extensions = this.extensions; });
  }
}

class Peer {
  constructor(options = {}) {
    this.closed = new Inbox();
    this.wampy = new Wampy(url, {
      ws: Socket,
      realm,
      autoReconnect: false,
      uriValidation: 'loose',
      serializer: new serializers[serializer](),
      payloadSerializers: { json: new JsonSerializer(), msgpack: new MsgpackSerializer(), cbor: new CborSerializer() },
      onClose: () => this.closed.put('closed'),
      ...options,
    });
  }

  async open() {
    this.details = await within(this.wampy.connect(), 'WELCOME');
    return this;
  }

  // A big integer where its MessagePack makes one of 64 bits.
  get id() { return number(this.wampy.getSessionId()); }

  async close() {
    if (this.id) await within(this.wampy.disconnect(), 'the connection to close');
  }

  async subscribe(topic, options) {
    const inbox = new Inbox();
    const { subscriptionId, subscriptionKey } = await within(this.wampy.subscribe(topic, inbox.put, options), `SUBSCRIBED ${topic}`);
    return Object.assign(inbox, { id: number(subscriptionId), key: subscriptionKey });
  }

  async register(procedure, endpoint, options) {
    return number((await within(this.wampy.register(procedure, endpoint, options), `REGISTERED ${procedure}`)).registrationId);
  }

  call(procedure, payload, options) {
    return within(this.wampy.call(procedure, payload, options), `the result of ${procedure}`);
  }

  publish(topic, payload, options) {
    return within(this.wampy.publish(topic, payload, options), `PUBLISHED ${topic}`);
  }
}

async function peers(count, body) {
  const all = await Promise.all(Array.from({ length: count }, () => new Peer().open()));
  try {
    return await body(...all);
  } finally {
    await Promise.all(all.map((peer) => peer.close()));
  }
}

let last = 0;
const unique = (name) => `walk.wampy.${serializer}${deflate ? 'd' : ''}.n${++last}.${name}`;

// The procedure and topic of a registration that is gone by now: what wampy says to that.
const errorUri = (error) => error.errorUri ?? error.error ?? error.message;

async function fence(peer, topic, inboxes) {
  await peer.publish(topic, ['fence']);
  for (const inbox of inboxes) assert.deepEqual((await inbox.take('the fence')).argsList, ['fence']);
}

walk({
  'WELCOME announces what wampy asks for': () => peers(1, async ({ details, id }) => {
    assert.equal(details.realm, realm);
    assert.equal(details.authrole, role);
    assert.equal(details.authmethod, 'anonymous');
    assert.ok(Number.isInteger(id) && id >= 1 && id <= 2 ** 53);
    assert.equal(!!extensions, deflate);
    assert.equal(details.roles.dealer.features.progressive_call_invocations, true);
  }),

  'a realm that is not there is no_such_realm': async () => {
    const error = await refused(new Peer({ realm: 'no.such.realm' }).open());
    assert.match(JSON.stringify(error) + error, /no_such_realm/);
  },

  'an event has arguments of each kind, and the id that the publisher is told': () => peers(2, async (a, b) => {
    const topic = unique('event');
    const inbox = await a.subscribe(topic);
    const { publicationId } = await b.publish(topic, { argsList: [1, 'zwei', null, [3]], argsDict: { ü: '€𝄞' } });
    const event = await inbox.take();
    assert.deepEqual([event.argsList, event.argsDict], [[1, 'zwei', null, [3]], { ü: '€𝄞' }]);
    await b.publish(topic, { only: 1 });
    const dict = await inbox.take();
    assert.deepEqual([dict.argsList, dict.argsDict], [[], { only: 1 }]);
    await b.publish(topic, 'single');
    assert.deepEqual((await inbox.take()).argsList, ['single']);
    assert.ok(publicationId >= 1);
  }),

  'many events arrive in order': () => peers(2, async (a, b) => {
    const topic = unique('order');
    const inbox = await a.subscribe(topic);
    const text = 'compressible '.repeat(40);
    await Promise.all(Array.from({ length: 100 }, (_, i) => b.publish(topic, [i, text])));
    for (let i = 0; i < 100; i++) assert.deepEqual((await inbox.take()).argsList, [i, text]);
  }),

  'the publisher does not get its own event': () => peers(2, async (a, b) => {
    const topic = unique('me');
    const inbox = await a.subscribe(topic);
    await a.publish(topic, ['not for me']);
    await fence(b, topic, [inbox]);
  }),

  'eligible and exclude choose receivers by session, authid and authrole': () => peers(3, async (a, b, c) => {
    const topic = unique('lists');
    const [atA, atB] = [await a.subscribe(topic), await b.subscribe(topic)];
    const send = (text, options) => c.publish(topic, [text], options);
    await send('A by id', { eligible: a.id });
    await send('B by id', { exclude: [a.id] });
    await send('A by authid', { eligible_authid: a.details.authid });
    await send('B by authid', { exclude_authid: [a.details.authid] });
    await send('both by role', { eligible_authrole: [role] });
    await send('none by role', { exclude_authrole: role });
    for (const text of ['A by id', 'A by authid', 'both by role']) assert.deepEqual((await atA.take()).argsList, [text]);
    for (const text of ['B by id', 'B by authid', 'both by role']) assert.deepEqual((await atB.take()).argsList, [text]);
    await fence(c, topic, [atA, atB]);
  }),

  'prefix and wildcard subscriptions are told the topic': () => peers(2, async (a, b) => {
    const base = unique('patterns');
    const prefix = await a.subscribe(`${base}.a`, { match: 'prefix' });
    const wildcard = await a.subscribe(`${base}..c`, { match: 'wildcard' });
    await b.publish(`${base}.abc`, [1]);
    await b.publish(`${base}.b.c`, [2]);
    const first = await prefix.take();
    assert.deepEqual([first.argsList, first.details.topic], [[1], `${base}.abc`]);
    const second = await wildcard.take();
    assert.deepEqual([second.argsList, second.details.topic], [[2], `${base}.b.c`]);
    assert.deepEqual([prefix.size, wildcard.size], [0, 0]);
  }),

  'a retained event comes to who asks for it': () => peers(2, async (a, b) => {
    const topic = unique('retained');
    // wampy has an option for this, and forgets to send it.
    b.wampy._send([16, b.wampy._getReqId(), { retain: true }, topic, ['kept']]);
    await b.publish(topic, ['gone']);
    const inbox = await a.subscribe(topic, { get_retained: true });
    const event = await inbox.take();
    assert.deepEqual([event.argsList, event.details.retained], [['kept'], true]);
  }),

  'who discloses itself is told to subscribers': () => peers(2, async (a, b) => {
    const topic = unique('disclose');
    const inbox = await a.subscribe(topic);
    await b.publish(topic, [], { disclose_me: true });
    const { details } = await inbox.take();
    assert.deepEqual([number(details.publisher), details.publisher_authid, details.publisher_authrole], [b.id, b.details.authid, role]);
  }),

  'unsubscribe ends a subscription': () => peers(2, async (a, b) => {
    const topic = unique('ends');
    const inbox = await a.subscribe(topic);
    await within(a.wampy.unsubscribe(inbox.key), 'UNSUBSCRIBED');
    await b.publish(topic, [1]);
    const again = await a.subscribe(topic);
    await fence(b, topic, [again]);
    assert.equal(inbox.size, 0);
  }),

  'a call has arguments and a result of each kind': () => peers(2, async (a, b) => {
    const name = unique('echo');
    await a.register(name, ({ argsList, argsDict }) => ({ argsList, argsDict }));
    const both = await b.call(name, { argsList: [1, 2], argsDict: { x: 3 } });
    assert.deepEqual([both.argsList, both.argsDict], [[1, 2], { x: 3 }]);
    assert.deepEqual((await b.call(name, 'one')).argsList, ['one']);
    const nothing = unique('nothing');
    await a.register(nothing, () => null);
    assert.equal((await b.call(nothing)).argsList, undefined);
  }),

  'an error keeps its name and arguments': () => peers(2, async (a, b) => {
    const name = unique('error');
    await a.register(name, () => {
      throw Object.assign(new Error('x'), { error: 'com.walk.error.own', argsList: [1], argsDict: { three: 3 } });
    });
    const error = await refused(b.call(name));
    assert.equal(errorUri(error), 'com.walk.error.own');
    assert.deepEqual([error.argsList, error.argsDict], [[1], { three: 3 }]);
    assert.equal(errorUri(await refused(b.call(unique('nobody')))), 'wamp.error.no_such_procedure');
  }),

  'a procedure is registered once, and free again after unregister': () => peers(2, async (a, b) => {
    const name = unique('once');
    await a.register(name, () => 'a');
    assert.equal(errorUri(await refused(b.register(name, () => 'b'))), 'wamp.error.procedure_already_exists');
    await within(a.wampy.unregister(name), 'UNREGISTERED');
    await b.register(name, () => ['b']);
    assert.deepEqual((await a.call(name)).argsList, ['b']);
  }),

  'progressive results come before the result': () => peers(2, async (a, b) => {
    const name = unique('progress');
    await a.register(name, ({ argsList, result_handler }) => {
      for (let i = 0; i < argsList[0]; i++) result_handler({ argsList: [i], options: { progress: true } });
      return { argsList: ['end'] };
    });
    const parts = [];
    const result = await b.call(name, [4], { progress_callback: (part) => parts.push(part.argsList[0]) });
    assert.deepEqual([result.argsList, parts], [['end'], [0, 1, 2, 3]]);
  }),

  'a progressive call brings its parts to one invocation': () => peers(2, async (a, b) => {
    const name = unique('parts');
    let sum = 0;
    await a.register(name, ({ argsList, details }) => {
      sum += argsList[0];
      return { argsList: [sum], options: details.progress ? { progress: true } : {} };
    });
    const partial = [];
    const call = b.wampy.progressiveCall(name, [1], { progress_callback: ({ argsList }) => partial.push(argsList[0]) });
    call.sendData([2]);
    call.sendData([3]);
    call.sendData([4], { progress: false });
    const result = await within(call.result, 'the result');
    assert.deepEqual(result.argsList, [10]);
    assert.deepEqual(partial, [1, 3, 6]);
  }),

  'canceling works in each mode': () => peers(2, async (a, b) => {
    for (const mode of ['skip', 'kill', 'killnowait', undefined]) {
      const name = unique('cancel');
      const begun = new Inbox();
      await a.register(name, () => { begun.put(1); return new Promise(() => {}); });
      const call = b.wampy.call(name);
      const { reqId } = b.wampy.getOpStatus();
      await begun.take('the invocation');
      b.wampy.cancel(reqId, mode ? { mode } : {});
      assert.equal(errorUri(await refused(call)), 'wamp.error.canceled', mode);
    }
  }),

  'a call that takes longer than its timeout ends': () => peers(2, async (a, b) => {
    const name = unique('slow');
    let finish;
    await a.register(name, () => new Promise((done) => { finish = done; }));
    assert.equal(errorUri(await refused(b.call(name, [], { timeout: 100 }))), 'wamp.error.timeout');
    finish({ argsList: ['late'] });
    assert.equal(errorUri(await refused(b.call(unique('after')))), 'wamp.error.no_such_procedure');
  }),

  'pattern registrations are told the procedure': () => peers(2, async (a, b) => {
    const base = unique('rpc');
    const tells = (kind) => ({ details }) => [kind, details.procedure];
    await a.register(`${base}.a`, tells('prefix'), { match: 'prefix' });
    await a.register(`${base}..z`, tells('wildcard'), { match: 'wildcard' });
    assert.deepEqual((await b.call(`${base}.a.b`)).argsList, ['prefix', `${base}.a.b`]);
    assert.deepEqual((await b.call(`${base}.y.z`)).argsList, ['wildcard', `${base}.y.z`]);
  }),

  'a shared registration is called by its policy': () => peers(4, async (a, b, c, caller) => {
    for (const [invoke, expected] of [['roundrobin', 'abcabc'], ['first', 'aaaaaa'], ['last', 'cccccc'], ['random', null]]) {
      const name = unique(invoke);
      for (const [text, peer] of [['a', a], ['b', b], ['c', c]]) await peer.register(name, () => text, { invoke });
      let got = '';
      for (let i = 0; i < (expected ? 6 : 60); i++) got += (await caller.call(name)).argsList[0];
      if (expected) assert.equal(got, expected);
      else assert.equal(new Set(got).size, 3);
    }
  }),

  'a callee is told who calls, if the caller says so': () => peers(2, async (a, b) => {
    const name = unique('who');
    await a.register(name, ({ details }) => [number(details.caller) ?? null, details.caller_authid ?? null, details.caller_authrole ?? null]);
    assert.deepEqual((await b.call(name)).argsList, [null, null, null]);
    const { argsList: [id, ...names] } = await b.call(name, [], { disclose_me: true });
    assert.deepEqual([number(id), ...names], [b.id, b.details.authid, role]);
  }),

  'bytes stay bytes': () => peers(2, async (a, b) => {
    const [topic, name] = [unique('bytes'), unique('bytes')];
    const inbox = await a.subscribe(topic);
    await a.register(name, ({ argsList }) => argsList);
    for (const hex of ['10e3ff9053075c526f5fc06d4fe37cdb', '00', 'ff'.repeat(300)]) {
      const data = Buffer.from(hex, 'hex');
      const sent = isText ? `\u0000${data.toString('base64')}` : data;
      await b.publish(topic, [sent]);
      for (const got of [(await inbox.take()).argsList[0], (await b.call(name, [sent])).argsList[0]]) {
        if (isText) assert.equal(got, sent);
        else assert.equal(bytesOf(got), hex);
      }
    }
  }),

  'numbers, texts and nested values come as they went': () => peers(2, async (a, b) => {
    const name = unique('values');
    await a.register(name, ({ argsList }) => argsList);
    const values = [0, -1, 255, 65536, 2 ** 32, 2 ** 53, -(2 ** 53), 0.5, 1e300, '', '\u{1f600}', 'x'.repeat(70000), [], [[[]]], { a: [{ b: null }] }, true, null];
    for (const value of values) {
      const [got] = (await b.call(name, [value])).argsList;
      assert.deepEqual(number(got), value);
    }
  }),

  'payload passthru is opened by the other side, whatever it was sealed with': () => peers(2, async (a, b) => {
    for (const ppt_serializer of ['json', 'msgpack', 'cbor']) {
      if (isText && ppt_serializer !== 'json') continue; // wampy puts its bytes into JSON as an object
      const [topic, name] = [unique('ppt'), unique('ppt')];
      const options = { ppt_scheme: 'x_walk', ppt_serializer };
      const inbox = await a.subscribe(topic);
      await b.publish(topic, { argsList: [1, 'a'], argsDict: { k: 2 } }, options);
      const event = await inbox.take();
      assert.deepEqual([event.argsList, event.argsDict], [[1, 'a'], { k: 2 }]);
      await a.register(name, ({ argsList, argsDict }) => ({ argsList, argsDict, options }));
      const result = await b.call(name, { argsList: [3], argsDict: { k: 4 } }, options);
      assert.deepEqual([result.argsList, result.argsDict], [[3], { k: 4 }]);
    }
  }),

  'custom details of HELLO are told by wamp.session.get': async () => {
    const a = await new Peer({ helloCustomDetails: { customFoo: 'bar' } }).open();
    const { argsList: [details] } = await a.call('wamp.session.get', [a.id]);
    assert.deepEqual([number(details.session), details.customFoo], [a.id, 'bar']);
    assert.match(details.agent, /^Wampy\.js /);
    await a.close();
  },

  'a lost connection is made again, with subscriptions and registrations': async () => {
    const again = new Inbox();
    const a = new Peer({ autoReconnect: true, reconnectInterval: 100, onReconnectSuccess: again.put });
    await a.open();
    const b = await new Peer().open();
    const [topic, name] = [unique('renewed'), unique('renewed')];
    const inbox = await a.subscribe(topic);
    await a.register(name, () => ['still here']);
    a.wampy._ws.terminate();
    await again.take('the reconnect');
    // Renewed one after the other behind the WELCOME; the last of them tells that all are.
    for (let error = 'wamp.error.no_such_procedure'; error === 'wamp.error.no_such_procedure';) {
      error = await b.call(name).then(({ argsList }) => { assert.deepEqual(argsList, ['still here']); }, errorUri);
    }
    await b.publish(topic, ['after']);
    assert.deepEqual((await inbox.take()).argsList, ['after']);
    await a.close();
    await b.close();
  },

  'GOODBYE ends the session in order': async () => {
    const a = await new Peer().open();
    await within(a.wampy.disconnect(), 'the end');
    await a.closed.take('onClose');
  },

  'the meta API answers': () => peers(2, async (a, b) => {
    const [name, topic] = [unique('meta'), unique('meta')];
    const registration = await a.register(name, () => 1);
    const { id } = await a.subscribe(topic);
    const ask = async (procedure, ...args) => {
      const [value] = (await b.call(procedure, args)).argsList;
      return Array.isArray(value) ? value.map(number) : number(value);
    };
    assert.ok((await ask('wamp.session.list')).includes(a.id));
    assert.ok(await ask('wamp.session.count') >= 2);
    assert.equal(await ask('wamp.registration.lookup', name), registration);
    assert.equal((await ask('wamp.registration.get', registration)).uri, name);
    assert.equal(await ask('wamp.subscription.lookup', topic), id);
    assert.equal(await ask('wamp.subscription.count_subscribers', id), 1);
    assert.equal(errorUri(await refused(b.call('wamp.session.get', [1]))), 'wamp.error.no_such_session');
  }),
}, process.argv.slice(3));
