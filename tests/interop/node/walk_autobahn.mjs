// autobahn-js, walked through everything that it offers to a client without a login.
//
//   node walk_autobahn.mjs '{"transport": {"type": "websocket", "url": …}, "serializer": "cbor"}' [words]
import autobahn from 'autobahn';
import { Inbox, assert, bytesOf, refused, walk, within } from './walk.mjs';

autobahn.log.warn = () => {};
const { transport, serializer, realm = 'realm1', role = 'all', configured = false } = JSON.parse(process.argv[2]);
const serializers = { json: 'JSONSerializer', msgpack: 'MsgpackSerializer', cbor: 'CBORSerializer' };
const isText = serializer === 'json';
const isPoll = transport.type === 'longpoll';

// Its long-poll is for browsers. A request follows the other, as on one connection; a poll is beside them.
if (isPoll) {
  let before = Promise.resolve();
  global.XMLHttpRequest = class {
    open(method, url) { Object.assign(this, { method, url }); }

    setRequestHeader() {}

    send(body) {
      const ask = () => fetch(this.url, { method: this.method, body }).then(async (answer) => {
        const responseText = await answer.text();
        Object.assign(this, { readyState: 4, status: answer.status, statusText: answer.statusText, responseText });
      }, () => { Object.assign(this, { readyState: 4, status: 0, statusText: 'failed' }); }).then(() => this.onreadystatechange());
      if (this.url.endsWith('/receive')) ask();
      else before = before.then(ask);
    }
  };
}

class Peer {
  constructor(options = {}) {
    this.closed = new Inbox();
    this.connection = new autobahn.Connection({
      transports: [{ ...transport, serializers: [new autobahn.serializer[serializers[serializer]]()] }],
      realm,
      max_retries: 0,
      on_user_error: () => {},
      on_internal_error: (error) => { this.failure = error; },
      ...options,
    });
  }

  open() {
    return within(new Promise((done, refuse) => {
      this.connection.onopen = (session, details) => {
        this.session = session;
        this.details = details;
        done(this);
      };
      this.connection.onclose = (reason, details) => {
        this.closed.put({ reason, details });
        refuse(new Error(`${reason}: ${details.reason} ${details.message}`));
        return true;
      };
      this.connection.open();
    }), 'the session to open');
  }

  async close() {
    if (this.connection.isOpen) {
      this.connection.close();
      await this.closed.take('the connection to close');
    }
  }

  // Subscribes; what comes is taken from the inbox as {args, kwargs, details}.
  async subscribe(topic, options) {
    const inbox = new Inbox();
    inbox.subscription = await within(this.session.subscribe(topic,
      (args, kwargs, details) => inbox.put({ args, kwargs, details }), options), `SUBSCRIBED ${topic}`);
    return inbox;
  }

  register(procedure, endpoint, options) {
    return within(this.session.register(procedure, endpoint, options), `REGISTERED ${procedure}`);
  }

  call(procedure, args, kwargs, options) {
    return within(this.session.call(procedure, args, kwargs, options), `the result of ${procedure}`);
  }

  // A publication that the router has taken.
  publish(topic, args, kwargs, options) {
    return within(this.session.publish(topic, args, kwargs, { acknowledge: true, ...options }), `PUBLISHED ${topic}`);
  }
}

// Runs body with so many sessions, and closes them.
async function peers(count, body) {
  const all = await Promise.all(Array.from({ length: count }, () => new Peer().open()));
  try {
    return await body(...all);
  } finally {
    await Promise.all(all.map((peer) => peer.close()));
  }
}

let last = 0;
const unique = (name) => `walk.js.${serializer}.${transport.type}.n${++last}.${name}`;

// A publication that everyone on topic gets, to know that nothing stood before it.
async function fence(peer, topic, inboxes) {
  await peer.publish(topic, ['fence'], undefined, { exclude_me: false });
  for (const inbox of inboxes) assert.deepEqual((await inbox.take('the fence')).args, ['fence']);
}

// What needs wamp.meta_kill, wamp.meta_modify and history of "kept.>".
const more = {
  'a killed session hears why, and is told to others': () => peers(1, async (a) => {
    for (const [procedure, what, reason] of [['kill', 'id', 'com.walk.killed'], ['kill_by_authid', 'authid', undefined]]) {
      const b = await new Peer().open();
      await a.call(`wamp.session.${procedure}`, [what === 'id' ? b.session.id : b.details.authid], reason ? { reason, message: 'go' } : {});
      const { details } = await b.closed.take('the end');
      assert.equal(details.reason, reason ?? 'wamp.close.killed');
      if (reason) assert.equal(details.message, 'go');
    }
    assert.equal((await refused(a.call('wamp.session.kill', [a.session.id]))).error, 'wamp.error.no_such_session');
  }),

  'details that were changed choose receivers': () => peers(2, async (a, b) => {
    const topic = unique('modified');
    const inbox = await a.subscribe(topic);
    await b.publish(topic, ['nobody yet'], {}, { eligible_walkgroup: ['red'] });
    await b.call('wamp.session.modify_details', [a.session.id, { walkgroup: 'red' }]);
    assert.equal((await b.call('wamp.session.get', [a.session.id])).walkgroup, 'red');
    await b.publish(topic, ['red'], {}, { eligible_walkgroup: ['red'] });
    assert.deepEqual((await inbox.take()).args, ['red']);
  }),

  'a registration and a subscription that are taken away end with a reason': () => peers(2, async (a, b) => {
    const name = unique('revoked');
    const registration = await a.register(name, () => 1);
    const { subscription } = await a.subscribe(name);
    await b.call('wamp.registration.remove_callee', [registration.id, a.session.id], { reason: 'com.walk.reason' });
    await within(registration.on_unregister, 'UNREGISTERED');
    await b.call('wamp.subscription.remove_subscriber', [subscription.id, a.session.id], { reason: 'com.walk.reason' });
    assert.equal(await within(subscription.on_unsubscribe, 'UNSUBSCRIBED'), 'com.walk.reason');
    assert.equal((await refused(b.call(name))).error, 'wamp.error.no_such_procedure');
  }),

  'history is kept for those who come later': () => peers(2, async (a, b) => {
    const topic = `kept.${unique('history')}`;
    for (let i = 0; i < 4; i++) await b.publish(topic, [i], { k: i });
    const { subscription } = await a.subscribe(topic);
    const events = async (kwargs) => {
      const result = await a.call('wamp.subscription.get_events', [subscription.id], kwargs);
      return (result?.args ?? [result]).map(({ args }) => args[0]);
    };
    assert.deepEqual(await events({}), [0, 1, 2, 3]);
    assert.deepEqual(await events({ limit: 2, reverse: true }), [3, 2]);
  }),
};

walk({
  'WELCOME tells who the client is and what the router can': () => peers(1, async ({ details, session }) => {
    assert.equal(details.realm, realm);
    assert.equal(details.authrole, role);
    assert.equal(details.authmethod, 'anonymous');
    assert.equal(typeof details.authprovider, 'string');
    assert.match(details.authid, /^[0-9a-f]{16,}$/);
    for (const feature of ['publisher_identification', 'publisher_exclusion', 'subscriber_blackwhite_listing',
      'pattern_based_subscription', 'session_meta_api', 'subscription_meta_api', 'event_history', 'event_retention',
      'payload_passthru_mode', 'subscription_revocation', 'publication_trustlevels']) {
      assert.equal(details.roles.broker.features[feature], true, feature);
    }
    for (const feature of ['caller_identification', 'progressive_call_results', 'progressive_call_invocations',
      'call_canceling', 'call_timeout', 'call_trustlevels', 'pattern_based_registration', 'shared_registration',
      'registration_revocation', 'session_meta_api', 'registration_meta_api', 'testament_meta_api',
      'payload_passthru_mode']) {
      assert.equal(details.roles.dealer.features[feature], true, feature);
    }
    assert.ok(session.id >= 1 && session.id <= 2 ** 53 && Number.isInteger(session.id));
    assert.equal(session.features.callee.registration_revocation, true);
  }),

  'a realm that is not there is no_such_realm': async () => {
    const peer = new Peer({ realm: 'no.such.realm' });
    const error = await refused(peer.open());
    assert.match(error.message, /wamp\.error\.no_such_realm/);
  },

  'two sessions have two ids and two names': () => peers(2, async (a, b) => {
    assert.notEqual(a.session.id, b.session.id);
    assert.notEqual(a.details.authid, b.details.authid);
  }),

  'an event has the arguments, and the id that the publisher is told': () => peers(2, async (a, b) => {
    const topic = unique('event');
    const inbox = await a.subscribe(topic);
    const { id } = await b.publish(topic, [1, 'zwei', null, true, [3], { vier: 4 }], { name: 'wert', ü: '€𝄞' });
    const event = await inbox.take();
    assert.deepEqual(event.args, [1, 'zwei', null, true, [3], { vier: 4 }]);
    assert.deepEqual(event.kwargs, { name: 'wert', ü: '€𝄞' });
    assert.equal(event.details.publication, id);
    assert.equal(event.details.topic, topic);
    assert.equal(event.details.publisher, undefined);
  }),

  'an event without arguments has none': () => peers(2, async (a, b) => {
    const topic = unique('empty');
    const inbox = await a.subscribe(topic);
    await b.publish(topic);
    assert.deepEqual((await inbox.take()).args, []);
    await b.publish(topic, undefined, { only: 1 });
    const event = await inbox.take();
    assert.deepEqual([event.args, event.kwargs], [[], { only: 1 }]);
  }),

  'a publication without acknowledge arrives in order with others': () => peers(2, async (a, b) => {
    const topic = unique('order');
    const inbox = await a.subscribe(topic);
    for (let i = 0; i < 200; i++) b.session.publish(topic, [i]);
    for (let i = 0; i < 200; i++) assert.deepEqual((await inbox.take()).args, [i]);
  }),

  'the publisher gets its own event only with exclude_me false': () => peers(1, async (a) => {
    const topic = unique('me');
    const inbox = await a.subscribe(topic);
    await a.publish(topic, ['not for me']);
    await a.publish(topic, ['for me'], {}, { exclude_me: false });
    assert.deepEqual((await inbox.take()).args, ['for me']);
  }),

  'eligible and exclude choose receivers by session, authid and authrole': () => peers(3, async (a, b, c) => {
    const topic = unique('lists');
    const [atA, atB] = [await a.subscribe(topic), await b.subscribe(topic)];
    const send = (text, options) => c.publish(topic, [text], {}, options);
    await send('A by id', { eligible: [a.session.id] });
    await send('B by id', { exclude: [a.session.id] });
    await send('A by authid', { eligible_authid: [a.details.authid] });
    await send('B by authid', { exclude_authid: [a.details.authid] });
    await send('A, black wins', { eligible: [a.session.id, b.session.id], exclude: [b.session.id] });
    await send('both by role', { eligible_authrole: [role, 'other'] });
    await send('none by role', { exclude_authrole: [role] });
    await send('none of none', { eligible: [] });
    await send('none by a list that names nobody', { eligible_authid: ['nobody'] });
    for (const text of ['A by id', 'A by authid', 'A, black wins', 'both by role']) {
      assert.deepEqual((await atA.take()).args, [text]);
    }
    for (const text of ['B by id', 'B by authid', 'both by role']) {
      assert.deepEqual((await atB.take()).args, [text]);
    }
    await fence(c, topic, [atA, atB]);
  }),

  'prefix and wildcard subscriptions are told the topic': () => peers(2, async (a, b) => {
    const base = unique('patterns');
    const prefix = await a.subscribe(`${base}.a`, { match: 'prefix' });
    const wildcard = await a.subscribe(`${base}..c`, { match: 'wildcard' });
    await b.publish(`${base}.abc`, [1]);
    await b.publish(`${base}.a.c`, [2]);
    await b.publish(`${base}.b.c`, [3]);
    await b.publish(`${base}.b.d`, [4]);
    let event = await prefix.take();
    assert.deepEqual([event.args, event.details.topic], [[1], `${base}.abc`]);
    event = await prefix.take();
    assert.deepEqual([event.args, event.details.topic], [[2], `${base}.a.c`]);
    event = await wildcard.take();
    assert.deepEqual([event.args, event.details.topic], [[2], `${base}.a.c`]);
    event = await wildcard.take();
    assert.deepEqual([event.args, event.details.topic], [[3], `${base}.b.c`]);
    assert.deepEqual([prefix.size, wildcard.size], [0, 0]);
  }),

  'one publication has one id in all subscriptions that it matches': () => peers(2, async (a, b) => {
    const base = unique('same');
    const exact = await a.subscribe(`${base}.x`);
    const prefix = await a.subscribe(base, { match: 'prefix' });
    const { id } = await b.publish(`${base}.x`, []);
    assert.equal((await exact.take()).details.publication, id);
    assert.equal((await prefix.take()).details.publication, id);
  }),

  'a retained event comes to who asks for it': () => peers(2, async (a, b) => {
    const topic = unique('retained');
    await b.publish(topic, ['old'], {}, { retain: true });
    await b.publish(topic, ['kept'], { k: 1 }, { retain: true });
    await b.publish(topic, ['gone']);
    const inbox = await a.subscribe(topic, { get_retained: true });
    const event = await inbox.take();
    assert.deepEqual([event.args, event.kwargs, event.details.retained], [['kept'], { k: 1 }, true]);
    const pattern = await a.subscribe(topic.slice(0, -2), { match: 'prefix', get_retained: true });
    assert.equal((await pattern.take()).details.topic, topic);
    const other = await a.subscribe(unique('unretained'), { get_retained: true });
    await fence(b, topic, [inbox, pattern]);
    assert.equal(other.size, 0);
  }),

  'who discloses itself is told to subscribers': () => peers(2, async (a, b) => {
    const topic = unique('disclose');
    const inbox = await a.subscribe(topic);
    b.session.publisher_disclose_me = true;
    await b.publish(topic, []);
    const { details } = await inbox.take();
    assert.equal(details.publisher, b.session.id);
    assert.equal(details.publisher_authid, b.details.authid);
    assert.equal(details.publisher_authrole, role);
  }),

  'two handlers share a subscription, which ends with the second': () => peers(2, async (a, b) => {
    const topic = unique('twice');
    const [one, two] = [await a.subscribe(topic), await a.subscribe(topic)];
    assert.equal(one.subscription.id, two.subscription.id);
    assert.equal(await one.subscription.unsubscribe(), false);
    await b.publish(topic, [1]);
    assert.deepEqual((await two.take()).args, [1]);
    assert.equal(await two.subscription.unsubscribe(), true);
    await b.publish(topic, [2]);
    const again = await a.subscribe(topic);
    await fence(b, topic, [again]);
    assert.equal(two.size, 0);
  }),

  'prefixes of URIs are resolved by the client': () => peers(2, async (a, b) => {
    const topic = unique('curie');
    const inbox = await a.subscribe(topic);
    b.session.prefix('walk', topic.slice(0, topic.lastIndexOf('.')));
    await b.publish('walk:curie', [1]);
    assert.deepEqual((await inbox.take()).args, [1]);
  }),

  'a bad topic is invalid_uri': () => peers(1, async (a) => {
    for (const bad of ['walk..x', 'walk.a b', 'walk.#', '']) {
      assert.equal((await refused(a.publish(bad, []))).error, 'wamp.error.invalid_uri', bad);
      assert.equal((await refused(a.subscribe(bad))).error, 'wamp.error.invalid_uri', bad);
    }
    assert.equal((await refused(a.subscribe('walk.x', { match: 'regex' }))).error, 'wamp.error.invalid_argument');
  }),

  'nobody but the router publishes and registers under wamp': () => peers(1, async (a) => {
    const publish = await refused(a.publish('wamp.session.on_join', [{ session: 1 }]));
    assert.match(publish.error, /^wamp\.error\.(not_authorized|invalid_uri)$/);
    const register = await refused(a.register('wamp.session.forged', () => 1));
    assert.match(register.error, /^wamp\.error\.(not_authorized|invalid_uri)$/);
  }),

  'a call has arguments and a result of each kind': () => peers(2, async (a, b) => {
    const name = unique('echo');
    await a.register(name, (args, kwargs) => new autobahn.Result(args, kwargs));
    assert.equal(await b.call(name), null);
    assert.equal(await b.call(name, ['one']), 'one');
    const both = await b.call(name, [1, 2], { x: 3 });
    assert.deepEqual([both.args, both.kwargs], [[1, 2], { x: 3 }]);
    const kwargs = await b.call(name, undefined, { x: 3 });
    assert.deepEqual([kwargs.args, kwargs.kwargs], [[], { x: 3 }]);
  }),

  'a session calls its own procedure': () => peers(1, async (a) => {
    const name = unique('own');
    await a.register(name, ([x]) => x + 1);
    assert.equal(await a.call(name, [41]), 42);
  }),

  'many calls in flight are answered each': () => peers(2, async (a, b) => {
    const name = unique('many');
    await a.register(name, ([x]) => 2 * x);
    const results = await Promise.all(Array.from({ length: 200 }, (_, i) => b.call(name, [i])));
    assert.deepEqual(results, Array.from({ length: 200 }, (_, i) => 2 * i));
  }),

  'an error keeps its name and arguments': () => peers(2, async (a, b) => {
    const name = unique('error');
    await a.register(name, ([kind]) => {
      if (kind === 'own') throw new autobahn.Error('com.walk.error.own', [1, 'two'], { three: 3 });
      throw 'a text';
    });
    const own = await refused(b.call(name, ['own']));
    assert.deepEqual([own.error, own.args, own.kwargs], ['com.walk.error.own', [1, 'two'], { three: 3 }]);
    const text = await refused(b.call(name, ['other']));
    assert.deepEqual([text.error, text.args], ['wamp.error.runtime_error', ['a text']]);
  }),

  'a procedure that nobody has is no_such_procedure': () => peers(1, async (a) => {
    assert.equal((await refused(a.call(unique('nobody')))).error, 'wamp.error.no_such_procedure');
  }),

  'a procedure is registered once, and free again after unregister': () => peers(2, async (a, b) => {
    const name = unique('once');
    const first = await a.register(name, () => 'a');
    assert.equal((await refused(b.register(name, () => 'b'))).error, 'wamp.error.procedure_already_exists');
    assert.equal((await refused(a.register(name, () => 'a'))).error, 'wamp.error.procedure_already_exists');
    await within(first.unregister(), 'UNREGISTERED');
    assert.equal((await refused(b.call(name))).error, 'wamp.error.no_such_procedure');
    await b.register(name, () => 'b');
    assert.equal(await a.call(name), 'b');
  }),

  'a procedure goes with its session': () => peers(1, async (a) => {
    const name = unique('goes');
    const b = await new Peer().open();
    await b.register(name, () => 'b');
    assert.equal(await a.call(name), 'b');
    await b.close();
    // A call may still meet the callee on its way out.
    let error = 'wamp.error.canceled';
    while (error === 'wamp.error.canceled') ({ error } = await refused(a.call(name)));
    assert.equal(error, 'wamp.error.no_such_procedure');
  }),

  'a callee that goes ends its calls': () => peers(1, async (a) => {
    const name = unique('gone');
    const b = await new Peer().open();
    const begun = new Inbox();
    await b.register(name, () => { begun.put(1); return new Promise(() => {}); });
    const result = a.call(name);
    await begun.take('the invocation');
    b.connection.close();
    assert.equal((await refused(result)).error, 'wamp.error.canceled');
  }),

  'progressive results come before the result': () => peers(2, async (a, b) => {
    const name = unique('progress');
    const sawProgress = [];
    await a.register(name, ([count], kwargs, details) => {
      sawProgress.push(!!details.progress);
      for (let i = 0; details.progress && i < count; i++) details.progress([i], { part: i });
      return count;
    });
    const parts = [];
    const result = await within(new Promise((done, fail) => {
      b.session.call(name, [5], {}, { receive_progress: true }).then(done, fail, (part) => parts.push([part.args, part.kwargs]));
    }), 'the result');
    assert.equal(result, 5);
    assert.deepEqual(parts, [0, 1, 2, 3, 4].map((i) => [[i], { part: i }]));
    assert.equal(await b.call(name, [3]), 3);
    assert.deepEqual(sawProgress, [true, false]);
  }),

  'a pattern registration is told the procedure; exact comes before prefix before wildcard': () => peers(2, async (a, b) => {
    const base = unique('rpc');
    const tells = (kind) => (args, kwargs, details) => [kind, details.procedure];
    await a.register(`${base}.a.b`, tells('exact'));
    await a.register(`${base}.a`, tells('short prefix'), { match: 'prefix' });
    await a.register(`${base}.a.b.c`, tells('long prefix'), { match: 'prefix' });
    await a.register(`${base}..b`, tells('wildcard'), { match: 'wildcard' });
    assert.deepEqual(await b.call(`${base}.a.b`), ['exact', `${base}.a.b`]);
    assert.deepEqual(await b.call(`${base}.a.b.x`), ['short prefix', `${base}.a.b.x`]);
    assert.deepEqual(await b.call(`${base}.a.b.c.d`), ['long prefix', `${base}.a.b.c.d`]);
    assert.deepEqual(await b.call(`${base}.z.b`), ['wildcard', `${base}.z.b`]);
    assert.equal((await refused(b.call(`${base}.z.c`))).error, 'wamp.error.no_such_procedure');
  }),

  'a shared registration is called by its policy': () => peers(4, async (a, b, c, caller) => {
    const all = async (invoke) => {
      const name = unique(invoke);
      const ids = [];
      for (const [text, peer] of [['a', a], ['b', b], ['c', c]]) {
        ids.push((await peer.register(name, () => text, { invoke })).id);
      }
      assert.equal(new Set(ids).size, 1);
      const got = [];
      for (let i = 0; i < (invoke === 'random' ? 60 : 6); i++) got.push(await caller.call(name));
      assert.equal((await refused(a.register(name, () => 1, { invoke }))).error, 'wamp.error.procedure_already_exists');
      const other = invoke === 'first' ? 'last' : 'first';
      assert.equal((await refused(caller.register(name, () => 1, { invoke: other }))).error, 'wamp.error.procedure_already_exists');
      return got.join('');
    };
    assert.equal(await all('roundrobin'), 'abcabc');
    assert.equal(await all('first'), 'aaaaaa');
    assert.equal(await all('last'), 'cccccc');
    assert.equal(new Set(await all('random')).size, 3);
    assert.equal((await refused(a.register(unique('policy'), () => 1, { invoke: 'best' }))).error, 'wamp.error.invalid_argument');
  }),

  'a callee is told who calls, if the caller or the callee says so': () => peers(2, async (a, b) => {
    const who = (args, kwargs, { caller, caller_authid, caller_authrole }) => [caller ?? null, caller_authid ?? null, caller_authrole ?? null];
    const [plain, asks] = [unique('plain'), unique('asks')];
    await a.register(plain, who);
    await a.register(asks, who, { disclose_caller: true });
    const full = [b.session.id, b.details.authid, role];
    assert.deepEqual(await b.call(plain), [null, null, null]);
    assert.deepEqual(await b.call(asks), full);
    b.session.caller_disclose_me = true;
    assert.deepEqual(await b.call(plain), full);
  }),

  'a call that takes longer than its timeout ends': () => peers(2, async (a, b) => {
    const name = unique('slow');
    let finish;
    await a.register(name, () => new Promise((done) => { finish = done; }));
    const error = await refused(b.call(name, [], {}, { timeout: 100 }));
    assert.equal(error.error, 'wamp.error.timeout');
    finish('late');
    assert.equal((await refused(b.call(unique('after')))).error, 'wamp.error.no_such_procedure');
    assert.ok(a.connection.isOpen && b.connection.isOpen);
  }),

  'a canceled call ends with canceled': () => peers(2, async (a, b) => {
    const name = unique('cancel');
    const begun = new Inbox();
    await a.register(name, () => { begun.put(1); return new Promise(() => {}); });
    const call = b.session.call(name);
    await begun.take('the invocation');
    call.cancel({ mode: 'kill' });
    assert.equal((await refused(call)).error, 'wamp.error.canceled');
    assert.ok(b.connection.isOpen);
  }),

  'concurrency limits the calls of a callee': () => peers(2, async (a, b) => {
    const name = unique('concurrency');
    const begun = new Inbox();
    await a.register(name, () => new Promise((done) => { begun.put(done); }), { concurrency: 1, invoke: 'roundrobin' });
    const first = b.call(name);
    const finish = await begun.take('the first invocation');
    const second = await refused(b.call(name));
    assert.match(second.error, /^wamp\.error\./);
    finish('one');
    assert.equal(await first, 'one');
    const third = b.call(name);
    (await begun.take('the third invocation'))('three');
    assert.equal(await third, 'three');
  }),

  'force_reregister takes a procedure over, and tells who had it': () => peers(3, async (a, b, c) => {
    const name = unique('force');
    const old = await a.register(name, () => 'old');
    await b.register(name, () => 'new', { force_reregister: true });
    await within(old.on_unregister, 'UNREGISTERED of the old one');
    assert.equal(await c.call(name), 'new');
  }),

  'bytes stay bytes': () => peers(2, async (a, b) => {
    const [topic, name] = [unique('bytes'), unique('bytes')];
    const inbox = await a.subscribe(topic);
    await a.register(name, ([data]) => data);
    for (const hex of ['10e3ff9053075c526f5fc06d4fe37cdb', '', '00', 'ff'.repeat(300)]) {
      const data = Buffer.from(hex, 'hex');
      const sent = isText ? `\u0000${data.toString('base64')}` : data;
      await b.publish(topic, [sent], { data: sent });
      const { args, kwargs } = await inbox.take();
      const result = await b.call(name, [sent]);
      for (const got of [args[0], kwargs.data, result]) {
        if (isText) assert.equal(got, sent);
        else assert.equal(bytesOf(got), hex);
      }
    }
  }),

  'numbers, texts and nested values come as they went': () => peers(2, async (a, b) => {
    const name = unique('values');
    await a.register(name, ([value]) => [value]);
    const values = [0, -1, 127, 128, 255, 256, 65535, 65536, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 0.5, -1e300, 1e-7,
      '', 'ä', '\u{1f600}', '"\\/\b\f\n\r\t', 'x'.repeat(isPoll ? 20000 : 70000), [], {}, [[[[]]]], { a: { b: [{ c: null }] } }, true, false, null];
    for (const value of values) assert.deepEqual((await b.call(name, [value]))[0], value);
  }),

  'a large message goes through': () => peers(2, async (a, b) => {
    const topic = unique('large');
    const inbox = await a.subscribe(topic);
    const text = 'ab'.repeat(isPoll ? 10_000 : 500_000);
    await b.publish(topic, [text]);
    assert.equal((await inbox.take()).args[0], text);
  }),

  'options of payload passthru and custom ones are carried': () => peers(2, async (a, b) => {
    const [topic, name] = [unique('ppt'), unique('ppt')];
    const inbox = await a.subscribe(topic);
    await b.publish(topic, ['sealed'], {}, { ppt_scheme: 'x_walk', ppt_serializer: 'cbor', ppt_cipher: 'none', ppt_keyid: 'k1', x_trace: 't1' });
    assert.deepEqual((await inbox.take()).args, ['sealed']);
    await a.register(name, ([x]) => x);
    assert.equal(await b.call(name, ['sealed'], {}, { ppt_scheme: 'x_walk', x_trace: 't2' }), 'sealed');
  }),

  'GOODBYE is answered before the connection closes': async () => {
    const peer = await new Peer().open();
    peer.connection.close('wamp.close.normal', 'enough');
    const { details } = await peer.closed.take();
    assert.equal(details.reason, 'wamp.close.goodbye_and_out');
  },

  'the meta API counts, lists and tells sessions': () => peers(2, async (a, b) => {
    const ids = await a.call('wamp.session.list');
    for (const peer of [a, b]) assert.ok(ids.includes(peer.session.id));
    assert.ok(await a.call('wamp.session.count') >= 2);
    assert.equal(await a.call('wamp.session.count', [['nobody']]), 0);
    const details = await a.call('wamp.session.get', [b.session.id]);
    assert.deepEqual([details.session, details.authid, details.authrole], [b.session.id, b.details.authid, role]);
    assert.equal((await refused(a.call('wamp.session.get', [123456789]))).error, 'wamp.error.no_such_session');
  }),

  'joining and leaving are told': () => peers(1, async (a) => {
    const joins = await a.subscribe('wamp.session.on_join');
    const leaves = await a.subscribe('wamp.session.on_leave');
    const b = await new Peer().open();
    const { id } = b.session;
    const until = async (inbox, fits) => {
      for (;;) {
        const event = await inbox.take('a meta event');
        if (fits(event)) return event;
      }
    };
    const { args: [details] } = await until(joins, ({ args }) => args[0].session === id);
    assert.equal(details.authid, b.details.authid);
    await b.close();
    const { args } = await until(leaves, (event) => event.args[0] === id);
    assert.deepEqual(args.slice(1), [b.details.authid, role]);
  }),

  'the meta API tells registrations': () => peers(2, async (a, b) => {
    const name = unique('meta');
    const registration = await a.register(name, () => 1, { invoke: 'roundrobin' });
    assert.equal(await b.call('wamp.registration.lookup', [name]), registration.id);
    assert.equal(await b.call('wamp.registration.match', [name]), registration.id);
    assert.equal(await b.call('wamp.registration.match', [unique('none')]), null);
    const { id, uri, match, invoke, created } = await b.call('wamp.registration.get', [registration.id]);
    assert.deepEqual([id, uri, match, invoke], [registration.id, name, 'exact', 'roundrobin']);
    assert.ok(!Number.isNaN(Date.parse(created)));
    assert.ok((await b.call('wamp.registration.list')).exact.includes(registration.id));
    assert.deepEqual(await b.call('wamp.registration.list_callees', [registration.id]), [a.session.id]);
    assert.equal(await b.call('wamp.registration.count_callees', [registration.id]), 1);
    assert.equal((await refused(b.call('wamp.registration.get', [1]))).error, 'wamp.error.no_such_registration');
  }),

  'the meta API tells subscriptions': () => peers(2, async (a, b) => {
    const topic = unique('meta');
    const { subscription } = await a.subscribe(topic);
    assert.equal(await b.call('wamp.subscription.lookup', [topic]), subscription.id);
    assert.ok((await b.call('wamp.subscription.match', [topic])).includes(subscription.id));
    const { id, uri, match } = await b.call('wamp.subscription.get', [subscription.id]);
    assert.deepEqual([id, uri, match], [subscription.id, topic, 'exact']);
    assert.ok((await b.call('wamp.subscription.list')).exact.includes(subscription.id));
    assert.deepEqual(await b.call('wamp.subscription.list_subscribers', [subscription.id]), [a.session.id]);
    assert.equal(await b.call('wamp.subscription.count_subscribers', [subscription.id]), 1);
    assert.equal((await refused(b.call('wamp.subscription.get', [1]))).error, 'wamp.error.no_such_subscription');
  }),

  'meta events of registrations and subscriptions come in order': () => peers(2, async (a, b) => {
    const [name, seen] = [unique('metaevents'), []];
    const watch = async (kind) => {
      for (const what of kind === 'registration' ? ['create', 'register', 'unregister', 'delete'] : ['create', 'subscribe', 'unsubscribe', 'delete']) {
        await a.session.subscribe(`wamp.${kind}.on_${what}`, ([session, about]) => {
          if (session === b.session.id) seen.push([kind, what, about.id ?? about]);
        });
      }
    };
    await watch('registration');
    await watch('subscription');
    const registration = await b.register(name, () => 1);
    await within(registration.unregister(), 'UNREGISTERED');
    const { subscription } = await b.subscribe(name);
    await within(subscription.unsubscribe(), 'UNSUBSCRIBED');
    const end = new Inbox();
    await a.session.subscribe(`${name}.end`, end.put);
    const at = async (count) => { for (let i = 0; i < 500 && seen.length < count; i++) await b.call('wamp.session.count'); };
    await at(8);
    assert.deepEqual(seen, [
      ['registration', 'create', registration.id], ['registration', 'register', registration.id],
      ['registration', 'unregister', registration.id], ['registration', 'delete', registration.id],
      ['subscription', 'create', subscription.id], ['subscription', 'subscribe', subscription.id],
      ['subscription', 'unsubscribe', subscription.id], ['subscription', 'delete', subscription.id]]);
  }),

  'a testament is published when its session ends': () => peers(1, async (a) => {
    const topic = unique('testament');
    const inbox = await a.subscribe(topic);
    const b = await new Peer().open();
    await b.call('wamp.session.add_testament', [topic, ['flushed'], {}], { scope: 'detached' });
    await b.call('wamp.session.flush_testaments', [], { scope: 'detached' });
    await b.call('wamp.session.add_testament', [topic, ['last words'], { k: 1 }]);
    assert.equal((await refused(b.call('wamp.session.add_testament', [topic, [], {}], { scope: 'never' }))).error, 'wamp.error.invalid_argument');
    await b.close();
    const event = await inbox.take('the testament');
    assert.deepEqual([event.args, event.kwargs], [['last words'], { k: 1 }]);
  }),
  ...(configured ? more : {}),
}, process.argv.slice(3));
