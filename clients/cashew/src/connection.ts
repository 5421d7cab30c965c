import mqtt, { type IClientOptions as MqttOptions, type IConnackPacket, type MqttClient } from 'mqtt';
import { ConnectError, isRefusal, isVersion, SubscribeError } from './errors.js';
import { Subscription } from './subscription.js';
import { randomName } from './topics.js';
import type { ConnectOptions, Logger, Qos, State, SubscribeOptions, Token } from './types.js';

/** mqtt.js shall keep what is open, and leave to us when it tries again. */
const NEVER_MS = 2 ** 31 - 1;

interface Events {
  state: (state: State) => void;
  error: (error: Error) => void;
  reconnect: (attempt: number) => void;
}

/** Subscriptions of one filter; the server knows them as one. */
interface Filter {
  id: number | undefined;
  qos: Qos; // the highest that was asked for
  subscriptions: Set<Subscription>;
}

type Resolved = ConnectOptions & Required<Pick<ConnectOptions, 'brokerUrl' | 'clientId' | 'parse'>>
  & { keepalive: number };

function resolved(options: ConnectOptions, log: (text: string) => void): Resolved {
  const misspelt = (options as { keeyalive?: number | string }).keeyalive;
  if (misspelt !== undefined) log('cashew: the option is spelt keepalive, not keeyalive');
  const keepalive = Number(options.keepalive ?? misspelt ?? 60);
  return {
    ...options,
    brokerUrl: options.brokerUrl ?? 'ws://localhost:8883',
    clientId: options.clientId ?? randomName('device_'),
    keepalive: Number.isInteger(keepalive) && keepalive >= 0 && keepalive <= 65535 ? keepalive : 60,
    parse: options.parse ?? JSON.parse,
  };
}

export class Connection {
  /** mqtt.js', as Cashew had it. */
  client!: MqttClient;
  readonly options: Resolved;
  connack: IConnackPacket | undefined;
  private current: State = 'connecting';
  private readonly filters = new Map<string, Filter>();
  private readonly listeners = new Map<keyof Events, Set<Events[keyof Events]>>();
  private lastId = 0;
  private attempts = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private refusal: ConnectError | undefined;
  private closing: Promise<void> | undefined;

  private constructor(private readonly token: Token, options: ConnectOptions) {
    this.options = resolved(options, (text) => (options.logger ?? console).warn?.(text));
  }

  static async open(token: Token, options: ConnectOptions = {}): Promise<Connection> {
    const connection = new Connection(token, options);
    const { protocolVersion, signal } = options;
    signal?.throwIfAborted();
    try {
      await connection.dial(protocolVersion ?? 5).catch((error: unknown) => {
        const isOld = error instanceof ConnectError && (isVersion(error.code) || error.code === 'closed');
        if (protocolVersion || !isOld || signal?.aborted) throw error;
        return connection.dial(4);
      });
    } catch (error) {
      connection.turn('closed');
      throw error;
    }
    signal?.addEventListener('abort', () => void connection.close(), { once: true });
    return connection;
  }

  get state(): State {
    return this.current;
  }

  log(level: keyof Logger, ...words: unknown[]): void {
    const { logger } = this.options;
    if (logger) logger[level]?.(...words);
    else if (level === 'error' || level === 'warn') console[level](...words);
  }

  on<E extends keyof Events>(event: E, listener: Events[E]): this {
    let set = this.listeners.get(event);
    if (!set) this.listeners.set(event, set = new Set());
    set.add(listener);
    return this;
  }

  off<E extends keyof Events>(event: E, listener: Events[E]): this {
    this.listeners.get(event)?.delete(listener);
    return this;
  }

  private emit<E extends keyof Events>(event: E, ...words: Parameters<Events[E]>): void {
    for (const listener of [...this.listeners.get(event) ?? []]) {
      (listener as (...words: unknown[]) => void)(...words);
    }
  }

  private turn(state: State): void {
    if (state === this.current) return;
    this.current = state;
    this.log('debug', 'cashew:', state);
    this.emit('state', state);
  }

  private async password(): Promise<string> {
    return typeof this.token === 'function' ? this.token() : this.token;
  }

  // ---- connecting ----

  /** The first connection, with this version. */
  private async dial(protocolVersion: 4 | 5): Promise<void> {
    const { brokerUrl, clientId, keepalive, tls, signal } = this.options;
    const options: MqttOptions = {
      protocolVersion,
      clientId,
      keepalive,
      username: 'JWT',
      password: await this.password(),
      clean: true,
      reconnectPeriod: NEVER_MS,
      connectTimeout: this.options.connectTimeout ?? 30_000,
      resubscribe: true,
      ...(tls as object),
      ...(protocolVersion === 5 ? { properties: { requestResponseInformation: true } } : {}),
    };
    const client = mqtt.connect(brokerUrl, options);
    this.client = client;
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        signal?.removeEventListener('abort', onAbort);
        client.off('connect', onConnect).off('error', onError).off('close', onClose);
      };
      const fail = (error: ConnectError) => {
        leave();
        client.on('error', () => {}); // what it still has to say
        client.end(true);
        reject(error);
      };
      const onConnect = (connack: IConnackPacket) => {
        leave();
        this.begin(connack);
        resolve();
      };
      const onError = (error: Error) => fail(this.connectError(error));
      const onClose = () => fail(new ConnectError(
        'closed', 'the connection was closed before it was accepted', true));
      const onAbort = () => fail(new ConnectError('aborted', 'aborted', false));
      signal?.addEventListener('abort', onAbort);
      client.on('connect', onConnect).on('error', onError).on('close', onClose);
    });
  }

  private connectError(error: Error & { code?: number | string }): ConnectError {
    const { code } = error;
    return new ConnectError(code, error.message || String(code), !isRefusal(code) && !isVersion(code));
  }

  private begin(connack: IConnackPacket): void {
    const { client } = this;
    this.accept(connack);
    client.on('connect', (again) => this.accept(again));
    client.on('message', (topic, payload, packet) => {
      for (const { id, subscriptions } of [...this.filters.values()]) {
        for (const subscription of [...subscriptions]) {
          if (subscription.wants(topic, packet, id)) subscription.take(topic, payload, packet);
        }
      }
    });
    client.on('error', (error) => {
      const told = this.connectError(error);
      if (!told.retryable) this.refusal = told;
      this.log('warn', 'cashew:', told.message);
    });
    client.on('disconnect', ({ reasonCode, properties }) => {
      this.log('info', 'cashew: the server ends the connection:', reasonCode,
        properties?.reasonString ?? '');
    });
    client.on('close', () => this.lost());
  }

  private accept(connack: IConnackPacket): void {
    this.connack = connack;
    this.attempts = 0;
    this.turn('connected');
  }

  // ---- losing it ----

  private lost(): void {
    if (this.current === 'closed' || this.closing || this.timer !== undefined) return;
    const { reconnect } = this.options;
    if (this.refusal) {
      this.finish(this.refusal);
    } else if (reconnect === false) {
      this.finish(new ConnectError('closed', 'the connection was lost', true));
    } else {
      this.turn('reconnecting');
      const least = reconnect?.min ?? 1000;
      const most = reconnect?.max ?? 60_000;
      const wait = Math.min(most, least * 2 ** Math.min(this.attempts++, 20)) * (0.5 + Math.random() / 2);
      this.timer = setTimeout(() => void this.again(), wait);
    }
  }

  private async again(): Promise<void> {
    let password: string;
    try {
      password = await this.password();
    } catch (error) {
      this.log('warn', 'cashew: no token:', error);
      this.timer = undefined;
      this.lost();
      return;
    }
    this.timer = undefined;
    if (this.closing || this.current === 'closed') return;
    this.emit('reconnect', this.attempts);
    const { client } = this;
    client.options.password = password;
    // With the stores that it has: what was not acknowledged is sent again.
    client.reconnect({ incomingStore: client.incomingStore, outgoingStore: client.outgoingStore });
  }

  /** The end, by the server or the network. */
  private finish(error: ConnectError): void {
    this.stop(error);
    this.client.end(true);
    this.emit('error', error);
    this.log('error', 'cashew:', error.message);
  }

  private stop(error?: Error): void {
    clearTimeout(this.timer);
    this.turn('closed');
    for (const { subscriptions } of [...this.filters.values()]) {
      for (const subscription of [...subscriptions]) subscription.end(error);
    }
    this.filters.clear();
  }

  /** Sends what is left and ends; streams complete. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      if (this.current === 'closed') return;
      const wasConnected = this.current === 'connected';
      this.stop();
      await this.client.endAsync(!wasConnected);
    })();
    return this.closing;
  }

  // ---- subscriptions ----

  /** Sends SUBSCRIBE before it returns. */
  add(topic: string, options: SubscribeOptions): Subscription {
    const filter = options.queue === undefined ? topic : `$share/${options.queue}/${topic}`;
    const subscription = new Subscription(this, filter, options);
    if (this.current === 'closed') {
      subscription.end(new ConnectError('closed', 'the connection has ended', false));
      return subscription;
    }
    let known = this.filters.get(filter);
    if (!known) {
      const hasIds = this.client.options.protocolVersion === 5
        && this.connack?.properties?.subscriptionIdentifiersAvailable !== false;
      known = { id: hasIds ? ++this.lastId : undefined, qos: 0, subscriptions: new Set() };
      this.filters.set(filter, known);
    }
    const first = [...known.subscriptions][0];
    known.subscriptions.add(subscription);
    if (first && (options.qos ?? 0) <= known.qos) {
      // mqtt.js asks no second time for what it has.
      first.granted.then((qos) => subscription.settle(qos), (error) => subscription.end(error));
    } else {
      known.qos = options.qos ?? 0;
      this.ask(subscription, known, options);
    }
    return subscription;
  }

  private ask(subscription: Subscription, { id }: Filter, options: SubscribeOptions): void {
    const { filter } = subscription;
    const properties = { ...options.properties, ...(id === undefined ? {} : { subscriptionIdentifier: id }) };
    this.client.subscribe(filter, { qos: options.qos ?? 0, properties }, (error, _, packet) => {
      const code: unknown = packet?.granted?.[0];
      if (typeof code === 'number' && code >= 0x80) {
        subscription.settle(new SubscribeError(filter, code, code === 0x87 ? 'not authorized' : 'refused'));
      } else if (!error) {
        subscription.settle(code as Qos);
      } else if (this.current !== 'closed' && this.filters.get(filter)?.subscriptions.has(subscription)) {
        this.log('info', 'cashew:', filter, error.message);
        this.waitToAsk(subscription, options);
      }
    });
  }

  /** The connection was lost before SUBACK: asks again on the next. */
  private waitToAsk(subscription: Subscription, options: SubscribeOptions): void {
    const onState = (state: State) => {
      if (state === 'reconnecting') return;
      this.off('state', onState);
      const known = this.filters.get(subscription.filter);
      if (state === 'connected' && known?.subscriptions.has(subscription)) {
        this.ask(subscription, known, options);
      }
    };
    this.on('state', onState);
  }

  /** UNSUBSCRIBE with the filter's last subscription. */
  async drop(subscription: Subscription): Promise<void> {
    const known = this.filters.get(subscription.filter);
    if (!known?.subscriptions.delete(subscription) || known.subscriptions.size) return;
    this.filters.delete(subscription.filter);
    if (this.current === 'closed') return;
    await this.client.unsubscribeAsync(subscription.filter).catch(() => {});
  }
}
