// A member of an Mles channel, on the ws package. Frames come as messages, text or binary.
import { base64, bytes, event, serve } from './driver.mjs';
import WebSocket from 'ws';

let socket;
let asked; // of the last connect

// header: the first frame as text, or null: none is sent. more: text frames right behind it.
const connect = ({ url, header, more = [], options = {} }) => new Promise((done, refuse) => {
  asked = { url, header, options };
  const mine = new WebSocket(url, 'mles-websocket', options);
  socket = mine;
  mine.on('message', (data, isBinary) => event('message', { data: base64(data), text: !isBinary }));
  mine.on('ping', () => event('ping'));
  mine.on('close', (code, reason) => event('closed', { code, reason: reason.toString() }));
  mine.on('unexpected-response', (_, response) => refuse(new Error(`status ${response.statusCode}`)));
  mine.on('error', refuse);
  mine.on('open', () => {
    if (header !== null) mine.send(header);
    for (const frame of more) mine.send(frame);
    done({ protocol: mine.protocol, extensions: mine.extensions });
  });
});

serve({
  connect,

  // Closes and comes again with the same names, without waiting for the end.
  resync() {
    socket.close();
    return connect(asked);
  },

  send: ({ data, text }) => new Promise((done) => {
    const frame = bytes(data);
    socket.send(text ? frame.toString() : frame, { binary: !text }, () => done());
  }),

  // One frame in fragments.
  fragments({ parts }) {
    parts.forEach((part, i) => socket.send(part, { fin: i === parts.length - 1, binary: false }));
  },

  // As a connection whose other end has gone: nothing is read or answered any more.
  mute() {
    socket._socket.pause();
  },

  ping() {
    socket.ping('control frames are not forwarded');
  },

  close({ code, reason }) {
    socket.close(code, reason);
  },
});
