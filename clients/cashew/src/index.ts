/**
 * Cashew's client. Code that was written for cashew-mqtt runs after a changed import:
 *
 *     import { connect, subscribe, publish } from 'parley-cashew';
 *
 *     const conn = await connect(token, { brokerUrl: 'ws://localhost:8883' });
 *     subscribe('+/get_apples', conn).observe(({ user_id }) => {
 *       publish(`${user_id}/got_apples`, ['red', 'yellow', 'blue'], conn);
 *     });
 */
import { Connection } from './connection.js';
import type { ConnectOptions, Token } from './types.js';

/** Resolves when the server has accepted the token; rejects with a ConnectError. */
export function connect(token: Token, options: ConnectOptions = {}): Promise<Connection> {
  return Connection.open(token, options);
}

export { Connection };
export type IClientConnection = Connection;
export { ConnectError, RequestError, SubscribeError } from './errors.js';
export { publish, reply, request, subscribe, type RequestOptions } from './messages.js';
export { start, type Server, type StartOptions } from './start.js';
export { Stream, type Sink } from './stream.js';
export { deviceToken, handlerToken, type TokenOptions } from './tokens.js';
export type * from './types.js';
