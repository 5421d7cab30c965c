/** Tokens for tests and small tools. A real application's come from where its users log in. */
const words = new TextEncoder();

function base64url(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

async function subtle(): Promise<SubtleCrypto> {
  const found = globalThis.crypto ?? (await import('node:crypto')).webcrypto;
  return found.subtle as SubtleCrypto;
}

export interface TokenOptions {
  /** Seconds from now; without it the token has no end. */
  expires?: number;
  claims?: Record<string, unknown>;
}

/** HS256. */
async function sign(secret: string, claims: object, { expires, claims: more }: TokenOptions): Promise<string> {
  const iat = Math.floor(Date.now() / 1000);
  const all = { ...claims, iat, ...(expires === undefined ? {} : { exp: iat + expires }), ...more };
  const text = [{ alg: 'HS256', typ: 'JWT' }, all]
    .map((part) => base64url(words.encode(JSON.stringify(part)))).join('.');
  const tool = await subtle();
  const key = await tool.importKey('raw', words.encode(secret), { name: 'HMAC', hash: 'SHA-256' },
    false, ['sign']);
  return `${text}.${base64url(new Uint8Array(await tool.sign('HMAC', key, words.encode(text))))}`;
}

/** Of a device: it hears what is below its user's id. */
export function deviceToken(secret: string, userId: string | number, options: TokenOptions = {}): Promise<string> {
  return sign(secret, { user_id: userId }, options);
}

/** Of a handler: it hears everything. */
export function handlerToken(
  secret: string,
  handler: Record<string, unknown> = { name: 'handler' },
  options: TokenOptions = {},
): Promise<string> {
  return sign(secret, { handler }, options);
}
