// autobahn-js over WebSocket. Arguments of events and calls are told as {args, kwargs, details};
// binary ones are Buffers.
import autobahn from 'autobahn';
import { event, serve } from './driver.mjs';

autobahn.log.warn = () => {};
const serializers = { json: 'JSONSerializer', msgpack: 'MsgpackSerializer', cbor: 'CBORSerializer' };
let session;
let isText;

// autobahn-js keeps JSON's binary as it stands in the text.
function plain(value) {
  if (typeof value === 'string' && value.startsWith('\u0000')) {
    return Buffer.from(value.slice(1), 'base64');
  }
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}

// Buffers as its serializer takes them.
function wire(value) {
  if (Buffer.isBuffer(value)) return isText ? `\u0000${value.toString('base64')}` : Uint8Array.from(value);
  if (Array.isArray(value)) return value.map(wire);
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, wire(item)]));
  }
  return value;
}

// What autobahn-js makes of a result: nothing, the one argument, or all of it.
function result(value) {
  if (value instanceof autobahn.Result) return { args: plain(value.args), kwargs: plain(value.kwargs) };
  return { args: value === null || value === undefined ? [] : [plain(value)], kwargs: {} };
}

function failed(error) {
  const told = new Error(error.error ?? String(error));
  told.code = { args: plain(error.args ?? []), kwargs: plain(error.kwargs ?? {}) };
  return told;
}

const told = (promise) => promise.catch((error) => { throw failed(error); });

// How a procedure answers: {kind: echo | error | silent | progress}.
const answers = {
  echo: (args, kwargs) => new autobahn.Result(args, kwargs),
  error: (args, kwargs, { uri }) => { throw new autobahn.Error(uri, args, kwargs); },
  silent: () => new Promise(() => {}),
  progress(args, _kwargs, { parts }, details) {
    for (const part of parts) {
      if (details.progress) details.progress([part]);
    }
    return new autobahn.Result(args);
  },
};

serve({
  connect({ url, serializer = 'json', realm = 'realm1' }) {
    return new Promise((resolve, reject) => {
      const connection = new autobahn.Connection({
        transports: [{ type: 'websocket', url,
          serializers: [new autobahn.serializer[serializers[serializer]]()] }],
        realm,
        max_retries: 0,
        on_user_error: () => {},
      });
      connection.onopen = (opened) => {
        session = opened;
        isText = serializer === 'json';
        resolve({ session: opened.id });
      };
      connection.onclose = (reason, details) => {
        event('closed', { reason, details });
        reject(new Error(`${reason} ${details.reason}`));
        return true;
      };
      connection.open();
    });
  },
  async subscribe({ topic, options }) {
    await told(session.subscribe(topic, (args, kwargs, details) => event('message', {
      topic: details.topic ?? topic, args: plain(args ?? []), kwargs: plain(kwargs ?? {}),
      details: { retained: details.retained ?? false } }), options ?? {}));
  },
  async publish({ topic, args = [], kwargs = {}, options = {} }) {
    await told(session.publish(topic, wire(args), wire(kwargs),
      { acknowledge: true, exclude_me: false, ...options }));
  },
  async register({ procedure, answer, options }) {
    await told(session.register(procedure, (args, kwargs, details) => {
      event('invocation', { args: plain(args ?? []), kwargs: plain(kwargs ?? {}) });
      return answers[answer.kind](args ?? [], kwargs ?? {}, answer, details);
    }, options ?? {}));
  },
  async call({ procedure, args = [], kwargs = {}, options = {} }) {
    const parts = [];
    try {
      const value = await session.call(procedure, wire(args), wire(kwargs), options).then(
        (done) => done, (error) => { throw failed(error); }, (part) => parts.push(plain(part)));
      return { ...result(value), parts };
    } catch (error) {
      throw error.code ? error : failed(error);
    }
  },
});
