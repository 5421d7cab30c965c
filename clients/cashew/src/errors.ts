/** The connection was not made, or has ended. code is the CONNACK's or the system's. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
  constructor(
    readonly code: number | string | undefined,
    readonly reason: string,
    /** Whether the same could succeed later. A refused token cannot. */
    readonly retryable: boolean,
  ) {
    super(`${reason}${code === undefined ? '' : ` (${code})`}`);
  }
}

/** The server does not let this client hear the topic. */
export class SubscribeError extends Error {
  override readonly name = 'SubscribeError';
  constructor(
    readonly topic: string,
    readonly code: number,
    readonly reason: string,
  ) {
    super(`${topic}: ${reason} (${code})`);
  }
}

/** A request was not answered, or answered with an error. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  constructor(
    readonly topic: string,
    readonly reason: string,
  ) {
    super(`${topic}: ${reason}`);
  }
}

/** CONNACK and DISCONNECT: the token is what is wrong, in MQTT 3.1.1 and 5. */
export const isRefusal = (code: unknown): boolean =>
  code === 4 || code === 5 || code === 0x86 || code === 0x87 || code === 0x8c;

/** The server does not know this version of MQTT. */
export const isVersion = (code: unknown): boolean => code === 1 || code === 0x84;
