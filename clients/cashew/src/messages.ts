import type { Connection } from './connection.js';
import { ConnectError, RequestError } from './errors.js';
import { ignorable, type Stream } from './stream.js';
import { encode, randomName } from './topics.js';
import type { Item, Properties, PublishOptions, Qos, SubscribeOptions } from './types.js';

/** SUBSCRIBE is sent before it returns, so a publish that follows comes after it. */
export function subscribe<T = any>(
  topic: string,
  conn: Connection,
  options: SubscribeOptions = {},
): Stream<Item<T>> {
  return conn.add(topic, options).stream as Stream<Item<T>>;
}

/** Resolves when it is written (QoS 0) or acknowledged. It may be ignored. */
export function publish(
  topic: string,
  payload: unknown,
  conn: Connection,
  options: PublishOptions = {},
): Promise<void> {
  const { qos = 0, retain = false, expiry, correlation } = options;
  const properties: Properties = { ...options.properties };
  if (expiry !== undefined) properties.messageExpiryInterval = expiry;
  if (correlation !== undefined) properties.correlationData = correlation as Buffer; // a text is as good
  const has = conn.client.options.protocolVersion === 5 && Object.keys(properties).length > 0;
  return ignorable(new Promise((resolve, reject) => {
    if (conn.state === 'closed') {
      reject(new ConnectError('closed', 'the connection has ended', false));
      return;
    }
    conn.client.publish(topic, encode(payload) as string, { qos, retain, ...(has ? { properties } : {}) },
      (error) => {
        if (error) reject(error);
        else resolve();
      });
  }));
}

// ---- requests ----

const words = new TextDecoder();

/** PUBACK: no matching subscribers. */
const NOBODY = 0x10;

interface Waiting {
  resolve(item: Item): void;
  reject(error: unknown): void;
}

/** Where a connection's answers come in; made with its first request. */
interface Answers {
  topic: string;
  ready: Promise<Qos>;
  waiting: Map<string, Waiting>;
  /** Message id → what to do if its PUBACK says that nobody hears it. */
  sent: Map<number, () => void>;
}

const answersOf = new WeakMap<Connection, Answers>();

/** The user that the token names: without the server's word for a place, answers go below it. */
function userOf(conn: Connection): string | undefined {
  try {
    const claims = String(conn.client.options.password).split('.')[1] as string;
    const text = atob(claims.replaceAll('-', '+').replaceAll('_', '/'));
    const id = (JSON.parse(text) as { user_id?: string | number }).user_id;
    return id === undefined ? undefined : String(id);
  } catch {
    return undefined;
  }
}

function answers(conn: Connection): Answers {
  const known = answersOf.get(conn);
  if (known) return known;
  if (conn.client.options.protocolVersion !== 5) throw new Error('requests need MQTT 5');
  const told = conn.connack?.properties?.responseInformation;
  const topic = told ?? `${userOf(conn) ?? conn.options.clientId}/answers/${randomName('')}`;
  const waiting = new Map<string, Waiting>();
  const sent = new Map<number, () => void>();
  // mqtt.js tells the reason codes of errors alone.
  conn.client.on('packetreceive', (packet) => {
    if (packet.cmd !== 'puback' && packet.cmd !== 'pubrec') return;
    const id = packet.messageId as number;
    if ((packet as { reasonCode?: number }).reasonCode === NOBODY) sent.get(id)?.();
    sent.delete(id);
  });
  const stream = subscribe(topic, conn, { parse: (text) => text });
  void stream.observe((item) => {
    const id = item.properties.correlationData;
    if (id) waiting.get(words.decode(id))?.resolve(item);
  });
  const made = { topic, ready: stream.granted, waiting, sent };
  answersOf.set(conn, made);
  conn.on('state', (state) => {
    if (state !== 'closed') return;
    for (const { reject } of waiting.values()) {
      reject(new ConnectError('closed', 'the connection has ended', false));
    }
  });
  return made;
}

export interface RequestOptions extends PublishOptions {
  /** Milliseconds; 30000. */
  timeout?: number;
  parse?: (text: string) => any;
}

/** Publishes and waits for the answer to it, by MQTT 5's response topic and correlation data. */
export async function request<T = any>(
  topic: string,
  payload: unknown,
  conn: Connection,
  options: RequestOptions = {},
): Promise<T> {
  const { topic: responseTopic, ready, waiting, sent } = answers(conn);
  await ready;
  const id = randomName('');
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const item = await new Promise<Item>((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      timer = setTimeout(() => reject(new RequestError(topic, 'no answer in time')),
        options.timeout ?? 30_000);
      publish(topic, payload, conn, {
        qos: 1,
        ...options,
        correlation: id,
        properties: { ...options.properties, responseTopic },
      }).catch(reject);
      sent.set(conn.client.getLastMessageId(), () => {
        reject(new RequestError(topic, 'nobody is there to answer'));
      });
    });
    const failed = item.properties.userProperties?.['parley-error'];
    const text = words.decode(item.raw);
    if (failed !== undefined) throw new RequestError(topic, text || String(failed));
    return (options.parse ?? conn.options.parse)(text) as T;
  } finally {
    clearTimeout(timer);
    waiting.delete(id);
  }
}

/** Answers each request that comes for the topic with what fn returns, or with what it throws. Those who
 * answer the same topic share the work, as members of the group `queue` ("handlers"). Returns the stream:
 * unsubscribe ends it. */
export function reply<T = any>(
  topic: string,
  conn: Connection,
  fn: (item: Item<T>) => unknown,
  options: SubscribeOptions = {},
): Stream<Item<T>> {
  const stream = subscribe<T>(topic, conn, { queue: 'handlers', ...options });
  void stream.observe(async (item) => {
    const { responseTopic, correlationData } = item.properties;
    const properties: Properties = correlationData ? { correlationData } : {};
    let answer: unknown;
    try {
      answer = await fn(item);
    } catch (error) {
      answer = error instanceof Error ? error.message : String(error);
      properties.userProperties = { 'parley-error': 'error' };
    }
    if (responseTopic) await publish(responseTopic, answer ?? null, conn, { properties });
  });
  return stream;
}
