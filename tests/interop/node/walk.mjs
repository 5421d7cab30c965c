// What the walkers share: a step is a sentence and a function, run in order, each told as a JSON
// line; the last line counts them.
//
//   ← {"step": "a subscriber gets the event", "ok": true}   or   {"step": …, "error": "text"}
//   ← {"done": 31}
import assert from 'node:assert/strict';

export { assert };

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const TIMEOUT_MS = 10_000;

// Fails what never ends; says what it was that was waited for.
export function within(promise, what, ms = TIMEOUT_MS) {
  let timer;
  return Promise.race([promise, new Promise((_, refuse) => {
    timer = setTimeout(() => refuse(new Error(`waited ${ms} ms: ${what}`)), ms);
  })]).finally(() => clearTimeout(timer));
}

// What arrives, in order: put by handlers, taken by steps.
export class Inbox {
  #items = [];
  #waiting = [];

  put = (item) => {
    const next = this.#waiting.shift();
    if (next) next(item);
    else this.#items.push(item);
  };

  take(what = 'an event') {
    if (this.#items.length) return Promise.resolve(this.#items.shift());
    return within(new Promise((done) => this.#waiting.push(done)), what);
  }

  get size() { return this.#items.length; }
}

// The promise is refused; returns the reason.
export async function refused(promise) {
  let value;
  try {
    value = await within(promise, 'a refusal');
  } catch (error) {
    if (error instanceof Error && /^waited /.test(error.message)) throw error;
    return error;
  }
  throw new Error(`not refused: ${JSON.stringify(value)}`);
}

export const bytesOf = (value) => Buffer.from(value).toString('hex');

// words: only steps that have one of them in their sentence.
export async function walk(steps, words = []) {
  let count = 0;
  for (const [step, run] of Object.entries(steps)) {
    if (words.length && !words.some((word) => step.includes(word))) continue;
    count++;
    try {
      await within(run(), step, 20_000);
      say({ step, ok: true });
    } catch (error) {
      const text = error?.errorUri ? `${error.stack.split("\n")[0]} ${error.errorUri} ${JSON.stringify(error.argsList)}` : error?.stack ?? (typeof error === 'object' ? JSON.stringify(error) : String(error));
      say({ step, error: text });
    }
  }
  process.stdout.write(`${JSON.stringify({ done: count })}\n`, () => process.exit(0));
}

process.on('uncaughtException', (error) => say({ step: 'no callback throws', error: String(error?.stack ?? error) }));
process.on('unhandledRejection', (error) => say({ step: 'no promise is forgotten', error: String(error?.stack ?? JSON.stringify(error)) }));
