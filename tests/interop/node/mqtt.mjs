// mqtt.js: TCP, TLS and WebSocket by the url's scheme (mqtt, mqtts, ws, wss).
import { readFileSync } from 'node:fs';
import mqtt from 'mqtt';
import { base64, bytes, event, serve } from './driver.mjs';

let client;
let closed; // rejects when the connection ends: the library itself would wait for another
let window = 1000; // open publishes; the server's receive maximum, which mqtt.js leaves to its user
let answers = 0;
const responders = []; // {topic, prefix}
const waiting = []; // {topic, correlation, resolve}, one for each request

const described = (topic, payload, packet) => ({
  topic,
  data: base64(payload),
  qos: packet.qos,
  retain: packet.retain,
  dup: packet.dup,
  properties: packet.properties ?? {},
});

function onMessage(topic, payload, packet) {
  const { responseTopic, correlationData } = packet.properties ?? {};
  // A responder of another protocol may have no place for correlation data.
  const request = waiting.findIndex((item) => item.topic === topic
    && (!correlationData || item.correlation === correlationData.toString('latin1')));
  if (request >= 0 && !responseTopic) {
    waiting.splice(request, 1)[0].resolve(described(topic, payload, packet));
    return;
  }
  event('message', described(topic, payload, packet));
  const responder = responders.find((item) => item.matches(topic));
  if (responder && responseTopic) {
    client.publish(responseTopic, Buffer.concat([Buffer.from(responder.prefix), payload]), {
      qos: responder.qos,
      properties: correlationData ? { correlationData } : {},
    });
  }
}

// Enough for the patterns of tests: + and #, and a shared subscription's filter.
function matcher(filter) {
  const levels = filter.replace(/^\$share\/[^/]*\//, '').split('/');
  return (topic) => {
    const names = topic.split('/');
    return levels.every((level, i) => level === '#' || level === '+' || level === names[i])
      && (levels.at(-1) === '#' || levels.length === names.length);
  };
}

serve({
  // options: mqtt.js's own; ca is the path of a PEM file. connack is what the server said.
  connect({ url, ca, ...options }) {
    return new Promise((resolve, reject) => {
      client = mqtt.connect(url, {
        reconnectPeriod: 0,
        connectTimeout: 10_000,
        ...options,
        ...(ca ? { ca: readFileSync(ca) } : {}),
      });
      closed = new Promise((_, fail) => {
        client.once('close', () => fail(new Error('the connection closed')));
      });
      closed.catch(() => {});
      client.once('connect', (connack) => {
        window = Math.min(window, connack.properties?.receiveMaximum ?? window);
        resolve({ connack });
      });
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed before CONNACK')));
      client.on('error', (error) => event('error', { error: error.message, code: error.code }));
      client.on('disconnect', (packet) => event('disconnect', {
        reasonCode: packet.reasonCode, properties: packet.properties ?? {} }));
      client.on('close', () => event('closed', {}));
      client.on('message', onMessage);
    });
  },
  async subscribe({ topic, ...options }) {
    return { granted: await client.subscribeAsync(topic, options) };
  },
  async unsubscribe({ topic }) {
    await client.unsubscribeAsync(topic);
  },
  // Resolves when the QoS says that it is done.
  async publish({ topic, data, ...options }) {
    const packet = await Promise.race([client.publishAsync(topic, bytes(data), options), closed]);
    return { reasonCode: packet?.reasonCode ?? null };
  },
  // count messages with the payload "<prefix><number>", from 0 on, as fast as they go.
  async publishMany({ topic, count, prefix = '', ...options }) {
    const open = [];
    for (let i = 0; i < count; i++) {
      if (open.length === window) await Promise.race([open.shift(), closed]);
      open.push(client.publishAsync(topic, `${prefix}${i}`, options));
    }
    await Promise.race([Promise.all(open), closed]);
  },
  // Subscribes; a message with a response topic is answered there with prefix and its payload.
  async respond({ topic, prefix = '', qos = 1 }) {
    responders.push({ matches: matcher(topic), prefix, qos });
    return { granted: await client.subscribeAsync(topic, { qos }) };
  },
  // MQTT 5's request: response topic and correlation data.
  async request({ topic, data, response, timeout = 10_000, qos = 1, properties = {} }) {
    await client.subscribeAsync(response, { qos });
    const correlationData = Buffer.from(`request-${answers++}`);
    const answer = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no answer')), timeout);
      waiting.push({
        topic: response,
        correlation: correlationData.toString('latin1'),
        resolve(message) {
          clearTimeout(timer);
          resolve(message);
        },
      });
    });
    const packet = await client.publishAsync(topic, bytes(data), {
      qos, properties: { ...properties, responseTopic: response, correlationData } });
    return { reasonCode: packet?.reasonCode ?? null, reply: await answer };
  },
  // force: without DISCONNECT.
  async close({ force = false, ...options }) {
    if (force) client.stream.destroy();
    else await client.endAsync(false, options);
  },
});
