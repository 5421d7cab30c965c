// What the drivers share: commands come as JSON lines on stdin, answers and events go as JSON lines
// to stdout.
//
//   → {"id": 1, "do": "publish", "topic": "a", "data": "aGk="}
//   ← {"id": 1, "ok": {…}}   or   {"id": 1, "error": "text", "code": "…"}
//   ← {"event": "message", …}
//
// Bytes are base64 under "data"; other Buffers in answers and events become {"base64": "…"}, and the
// other way round in commands. The driver ends when stdin does.
import { createInterface } from 'node:readline';

export const bytes = (text) => Buffer.from(text ?? '', 'base64');
export const base64 = (data) => Buffer.from(data ?? '').toString('base64');

function outward(value) {
  if (value instanceof Uint8Array) return { base64: base64(value) };
  if (Array.isArray(value)) return value.map(outward);
  if (value instanceof Map) return outward(Object.fromEntries(value));
  if (typeof value === 'bigint') return Number(value);
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, outward(item)]));
  }
  return value;
}

function inward(value) {
  if (Array.isArray(value)) return value.map(inward);
  if (value && typeof value === 'object') {
    if (typeof value.base64 === 'string') return bytes(value.base64);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, inward(item)]));
  }
  return value;
}

const say = (line) => process.stdout.write(`${JSON.stringify(outward(line))}\n`);

export const event = (name, fields) => say({ event: name, ...fields });

// Commands may overlap: one that waits does not hold up the next.
export function serve(commands) {
  const lines = createInterface({ input: process.stdin, terminal: false });
  lines.on('line', async (line) => {
    const { id, do: verb, ...fields } = inward(JSON.parse(line));
    try {
      if (!commands[verb]) throw new Error(`no such command: ${verb}`);
      say({ id, ok: (await commands[verb](fields)) ?? null });
    } catch (error) {
      say({ id, error: String(error?.message ?? error), code: error?.code ?? null });
    }
  });
  lines.on('close', () => process.exit(0));
}

// A library that throws in a callback is a result too.
process.on('uncaughtException', (error) => event('crashed', { error: String(error?.stack ?? error) }));
