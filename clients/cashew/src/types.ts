import type { IClientSubscribeProperties, IPublishPacket } from 'mqtt';

/** Where the client writes to; what is missing is not written. */
export interface Logger {
  error(...words: unknown[]): void;
  warn(...words: unknown[]): void;
  info(...words: unknown[]): void;
  debug(...words: unknown[]): void;
}

/** A token, or what gives one for each attempt to connect, so that an expired one is renewed. */
export type Token = string | (() => string | Promise<string>);

export interface ConnectOptions {
  /** ws, wss, mqtt or mqtts; "ws://localhost:8883". */
  brokerUrl?: string;
  /** Random without it. The server keeps clients of different users apart. */
  clientId?: string;
  /** Seconds; 60. A number, or a text as Cashew had it. */
  keepalive?: number | string;
  /** JSON.parse. What it throws goes to the stream's onError. */
  parse?: (text: string) => any;
  logger?: Partial<Logger>;
  /** Of Node; a browser has its own. Certificates are checked unless rejectUnauthorized is false. */
  tls?: {
    ca?: string | Uint8Array;
    cert?: string | Uint8Array;
    key?: string | Uint8Array;
    rejectUnauthorized?: boolean;
  };
  /** 5, and 4 where the server does not know 5. */
  protocolVersion?: 4 | 5;
  /** How long a connection that was lost is waited for, in milliseconds: from min (1000), doubled up
   * to max (60000), with jitter. false: not at all. */
  reconnect?: false | { min?: number; max?: number };
  /** How long the server may take to answer; 30000 ms. */
  connectTimeout?: number;
  /** Ends the attempt, or the connection. */
  signal?: AbortSignal;
}

export type State = 'connecting' | 'connected' | 'reconnecting' | 'closed';

export type Qos = 0 | 1 | 2;

export type Properties = NonNullable<IPublishPacket['properties']>;

/** A message, as a stream gives it. */
export interface Item<T = any> {
  /** The first level of its topic. */
  user_id: string;
  /** What parse made of it. */
  payload: T;
  topic: string;
  raw: Uint8Array;
  qos: Qos;
  retain: boolean;
  /** Of MQTT 5; empty before. */
  properties: Properties;
  /** Who published it, as the server knows; where the server tells. */
  sender?: string;
}

export interface SubscribeOptions {
  /** 0. */
  qos?: Qos;
  /** Instead of the connection's. */
  parse?: (text: string) => any;
  /** Name of a group: each message goes to one of those who share it. */
  queue?: string;
  /** Items that are kept before anyone observes, and for each `for await`; 1000. */
  buffer?: number;
  /** What happens when more come; drop-oldest. error ends the stream. */
  overflow?: 'drop-oldest' | 'drop-newest' | 'error';
  /** What could not be parsed, and what an observer threw; the logger's warn without it. */
  onError?: (error: unknown, item: Item<unknown>) => void;
  /** Of SUBSCRIBE, in MQTT 5. */
  properties?: IClientSubscribeProperties['properties'];
}

export interface PublishOptions {
  /** 0. */
  qos?: Qos;
  retain?: boolean;
  /** Seconds, in MQTT 5. */
  expiry?: number;
  properties?: Properties;
  /** Correlation data, in MQTT 5. */
  correlation?: string | Uint8Array;
}

/** Names of cashew-mqtt. */
export type IClientOptions = ConnectOptions;
export interface ITopicResponse<T = any> {
  user_id?: string;
  payload: T;
}
