// ioredis. One that subscribes cannot publish, so tests use two.
import { readFileSync } from 'node:fs';
import Redis from 'ioredis';
import { base64, event, serve } from './driver.mjs';

let client;

// Buffers in answers become text where they are text, so that tests can read them.
const readable = (value) => (Array.isArray(value) ? value.map(readable)
  : Buffer.isBuffer(value) ? value.toString() : value);

serve({
  // options: ioredis's own; ca is the path of a PEM file.
  connect({ ca, tls, ...options }) {
    return new Promise((resolve, reject) => {
      client = new Redis({
        retryStrategy: null,
        lazyConnect: true,
        ...options,
        ...(ca ? { tls: { ca: readFileSync(ca), ...tls } } : {}),
      });
      client.on('error', (error) => event('error', { error: error.message }));
      client.on('close', () => event('closed', {}));
      client.on('messageBuffer', (channel, data) => event('message', {
        channel: channel.toString(), data: base64(data), pattern: null }));
      client.on('smessageBuffer', (channel, data) => event('message', {
        channel: channel.toString(), data: base64(data), pattern: null, sharded: true }));
      client.on('pmessageBuffer', (pattern, channel, data) => event('message', {
        channel: channel.toString(), data: base64(data), pattern: pattern.toString() }));
      client.connect().then(() => resolve(null), reject);
    });
  },
  async subscribe({ channels }) {
    return { count: await client.subscribe(...channels) };
  },
  async psubscribe({ patterns }) {
    return { count: await client.psubscribe(...patterns) };
  },
  async ssubscribe({ channels }) {
    return { count: await client.ssubscribe(...channels) };
  },
  async unsubscribe({ channels = [] }) {
    return { count: await client.unsubscribe(...channels) };
  },
  async punsubscribe({ patterns = [] }) {
    return { count: await client.punsubscribe(...patterns) };
  },
  async publish({ channel, data }) {
    return { receivers: await client.publish(channel, Buffer.from(data, 'base64')) };
  },
  async publishMany({ channel, count, prefix = '' }) {
    const done = [];
    for (let i = 0; i < count; i++) done.push(client.publish(channel, `${prefix}${i}`));
    await Promise.all(done);
  },
  // Any command, as a list of words.
  async call({ words }) {
    return { answer: readable(await client.callBuffer(...words)) };
  },
  async close() {
    client.disconnect();
  },
});
