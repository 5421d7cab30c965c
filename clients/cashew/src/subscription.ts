import type { IPublishPacket } from 'mqtt';
import type { Connection } from './connection.js';
import { SubscribeError } from './errors.js';
import { ignorable, Stream, type Root, type Sink } from './stream.js';
import { matches } from './topics.js';
import type { Item, Qos, SubscribeOptions } from './types.js';

const words = new TextDecoder();

/** One call of subscribe: what comes for its filter goes to those who listen. */
export class Subscription implements Root {
  readonly granted: Promise<Qos>;
  readonly stream: Stream<Item>;
  readonly buffer: number;
  readonly overflow: 'drop-oldest' | 'drop-newest' | 'error';
  private readonly sinks = new Set<Sink<Item>>();
  private kept: Item[] | undefined = []; // before anyone listened
  private ending: { error?: unknown } | undefined;
  private grant!: (qos: Qos) => void;
  private refuse!: (error: unknown) => void;

  constructor(
    private readonly connection: Connection,
    readonly filter: string,
    private readonly options: SubscribeOptions,
  ) {
    this.buffer = options.buffer ?? 1000;
    this.overflow = options.overflow ?? 'drop-oldest';
    this.granted = ignorable(new Promise((resolve, reject) => {
      this.grant = resolve;
      this.refuse = reject;
    }));
    this.stream = new Stream(this, (sink) => this.listen(sink));
  }

  /** id: the filter's in MQTT 5, by which the server tells for whom a copy is. */
  wants(topic: string, packet: IPublishPacket, id: number | undefined): boolean {
    const told = packet.properties?.subscriptionIdentifier;
    if (id === undefined || told === undefined) return matches(this.filter, topic);
    return Array.isArray(told) ? told.includes(id) : told === id;
  }

  take(topic: string, raw: Uint8Array, packet: IPublishPacket): void {
    const item: Item = {
      user_id: topic.split('/', 1)[0] as string,
      payload: undefined,
      topic,
      raw,
      qos: packet.qos,
      retain: packet.retain,
      properties: packet.properties ?? {},
    };
    const sender = packet.properties?.userProperties?.['parley-user'];
    if (typeof sender === 'string') item.sender = sender;
    try {
      item.payload = (this.options.parse ?? this.connection.options.parse)(words.decode(raw));
    } catch (error) {
      this.report(error, item);
      return;
    }
    if (this.kept) this.keep(item);
    else for (const sink of [...this.sinks]) sink.next(item);
  }

  private keep(item: Item): void {
    const kept = this.kept as Item[];
    if (kept.length >= this.buffer) {
      if (this.overflow === 'drop-newest') return;
      if (this.overflow === 'error') {
        this.end(new Error('nobody observes the stream'));
        return;
      }
      kept.shift();
    }
    kept.push(item);
  }

  private listen(sink: Sink<Item>): () => void {
    const kept = this.kept ?? [];
    this.kept = undefined;
    this.sinks.add(sink);
    const ending = this.ending;
    if (kept.length || ending) {
      queueMicrotask(() => {
        for (const item of kept) if (this.sinks.has(sink) || ending) sink.next(item);
        if (ending) this.tell(sink, ending);
      });
    }
    if (ending) this.sinks.delete(sink);
    return () => { this.sinks.delete(sink); };
  }

  private tell(sink: Sink<Item>, ending: { error?: unknown }): void {
    if (ending.error === undefined) sink.complete?.();
    else sink.error?.(ending.error);
  }

  report(error: unknown, item: unknown): void {
    if (this.options.onError) this.options.onError(error, item as Item<unknown>);
    else this.connection.log('warn', 'cashew:', (item as Partial<Item>)?.topic ?? this.filter, error);
  }

  /** What SUBACK says. */
  settle(answer: Qos | SubscribeError): void {
    if (typeof answer === 'number') {
      this.grant(answer);
      return;
    }
    this.connection.log('warn', 'cashew: refused:', answer.message);
    this.refuse(answer);
    void this.connection.drop(this);
    this.end(answer);
  }

  end(error?: unknown): void {
    if (this.ending) return;
    this.ending = error === undefined ? {} : { error };
    this.refuse(error ?? new Error('unsubscribed'));
    for (const sink of [...this.sinks]) this.tell(sink, this.ending);
    this.sinks.clear();
  }

  async unsubscribe(): Promise<void> {
    if (this.ending) return;
    this.end();
    await this.connection.drop(this);
  }
}
