/** The filter of a shared subscription without "$share/group/". */
export function plainFilter(filter: string): string {
  return filter.startsWith('$share/') ? filter.split('/').slice(2).join('/') : filter;
}

/** Whether a topic matches a filter, as MQTT says. */
export function matches(filter: string, topic: string): boolean {
  const wanted = plainFilter(filter).split('/');
  const levels = topic.split('/');
  if (topic.startsWith('$') && (wanted[0] === '#' || wanted[0] === '+')) return false;
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true;
    if (i >= levels.length || (level !== '+' && level !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

/** What a payload is on the wire: text and bytes as they are, all else as JSON. */
export function encode(payload: unknown): string | Uint8Array {
  if (typeof payload === 'string' || payload instanceof Uint8Array) return payload;
  if (payload instanceof ArrayBuffer) return new Uint8Array(payload);
  return payload === undefined ? '' : JSON.stringify(payload);
}

export function randomName(prefix: string): string {
  const bytes = new Uint8Array(12);
  const source = globalThis.crypto;
  if (source) source.getRandomValues(bytes);
  else bytes.forEach((_, i) => { bytes[i] = Math.floor(Math.random() * 256); });
  return prefix + Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
