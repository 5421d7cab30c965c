// The ws package itself, below any protocol: frames as it makes them, with and without compression.
import { base64, bytes, event, serve } from './driver.mjs';
import WebSocket from 'ws';

let socket;
let received = [];
let pongs = [];

async function until(condition) {
  for (const end = Date.now() + 10_000; !condition();) {
    if (Date.now() > end) throw new Error('nothing more came');
    await new Promise((done) => setTimeout(done, 5));
  }
}

const all = () => Buffer.concat(received);

serve({
  connect: ({ url, protocols, options }) => new Promise((done, refuse) => {
    socket = new WebSocket(url, protocols ?? [], options);
    socket.on('message', (data) => received.push(data));
    socket.on('pong', (data) => pongs.push(data.toString()));
    socket.on('close', (code, reason) => event('closed', { code, reason: reason.toString() }));
    socket.on('error', refuse);
    socket.on('open', () => done({ protocol: socket.protocol, extensions: socket.extensions }));
  }),

  // parts: one message in as many fragments.
  send: ({ parts, text }) => new Promise((done) => {
    parts.forEach((part, i) => socket.send(text ? part : bytes(part),
      { fin: i === parts.length - 1, binary: !text, compress: true },
      i === parts.length - 1 ? () => done() : undefined));
  }),

  async ping({ data }) {
    socket.ping(data);
    await until(() => pongs.includes(data));
  },

  // Takes exactly so many bytes of what came, whatever the frames were.
  async take({ size }) {
    await until(() => all().length >= size);
    const frames = received.length;
    const taken = all();
    received = [taken.subarray(size)];
    return { data: base64(taken.subarray(0, size)), frames };
  },

  close({ code, reason }) {
    socket.close(code, reason);
  },
});
