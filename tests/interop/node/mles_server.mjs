// A small Mles server on the ws package, as the original behaves on the wire: the first frame is the
// header, it stands in the history as a frame, the history is replayed to who joins, then everyone
// hears everyone else. What its clients send is told as messages.
import { base64, bytes, event, serve } from './driver.mjs';
import { WebSocketServer } from 'ws';

let server;
let channels = new Map();

function channelOf(name) {
  if (!channels.has(name)) channels.set(name, { history: [], members: new Set() });
  return channels.get(name);
}

function distribute(channel, from, data, isBinary) {
  channel.history.push({ data, isBinary });
  for (const member of channel.members) if (member !== from) member.send(data, { binary: isBinary });
}

function onHeader(socket, data) {
  const header = JSON.parse(data.toString());
  const channel = channelOf(header.channel);
  event('joined', header);
  for (const { data: old, isBinary } of channel.history) socket.send(old, { binary: isBinary });
  channel.history.push({ data, isBinary: false });
  channel.members.add(socket);
  socket.on('close', () => {
    channel.members.delete(socket);
    event('left', { uid: header.uid });
  });
  socket.on('message', (frame, isBinary) => {
    event('message', { channel: header.channel, data: base64(frame), text: !isBinary });
    distribute(channel, socket, frame, isBinary);
  });
}

serve({
  listen: ({ port = 0, refuse = false }) => new Promise((done) => {
    server = new WebSocketServer({ host: '127.0.0.1', port, handleProtocols: () => 'mles-websocket' });
    server.on('connection', (socket) => {
      socket.once('message', (data) => (refuse ? socket.close() : onHeader(socket, data)));
    });
    server.on('listening', () => done({ port: server.address().port }));
  }),

  // As one of its other clients does.
  header({ channel, uid }) {
    distribute(channelOf(channel), null, Buffer.from(JSON.stringify({ uid, channel })), false);
  },
  say({ channel, data, text }) {
    distribute(channelOf(channel), null, bytes(data), !text);
  },

  // It reads nothing of what its clients send, until it does.
  pause() {
    for (const socket of server.clients) socket.pause();
  },
  resume() {
    for (const socket of server.clients) socket.resume();
  },

  // It ends, and has forgotten everything when it listens again.
  restart: () => new Promise((done) => {
    for (const socket of server.clients) socket.terminate();
    channels = new Map();
    server.close(() => done({}));
  }),
});
