import type { Item, Qos } from './types.js';

/** Whoever listens to a stream. */
export interface Sink<T> {
  next(value: T): void;
  error?(error: unknown): void;
  complete?(): void;
}

/** What a subscription is to its streams. */
export interface Root {
  readonly granted: Promise<Qos>;
  readonly overflow: 'drop-oldest' | 'drop-newest' | 'error';
  readonly buffer: number;
  unsubscribe(): Promise<void>;
  report(error: unknown, item: unknown): void;
}

/** A promise that may be ignored: that it rejects ends no process. */
export function ignorable<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

const observable: symbol = (Symbol as { observable?: symbol }).observable ?? Symbol.for('observable');

/**
 * The messages of a subscription. As in `most`, nothing is lost between subscribe and observe, and
 * several may observe; each of them sees each item.
 */
export class Stream<T = Item> implements AsyncIterable<T> {
  constructor(
    private readonly root: Root,
    private readonly listen: (sink: Sink<T>) => () => void,
  ) {}

  /** The granted QoS; rejects with a SubscribeError if the server refuses. */
  get granted(): Promise<Qos> {
    return this.root.granted;
  }

  /** Ends this stream and those made from it. */
  unsubscribe(): Promise<void> {
    return this.root.unsubscribe();
  }

  /**
   * Calls fn with each item. Settles when the stream ends: rejects if by an error. What fn throws goes
   * to the subscription's onError, and the next item is given to it all the same.
   */
  observe(fn: (value: T) => unknown): Promise<void> {
    return ignorable(new Promise((resolve, reject) => {
      this.listen({
        next: (value) => {
          try {
            const done = fn(value);
            if (done instanceof Promise) done.catch((error) => this.root.report(error, value));
          } catch (error) {
            this.root.report(error, value);
          }
        },
        error: reject,
        complete: resolve,
      });
    }));
  }

  /** The same, by its other name. */
  forEach(fn: (value: T) => unknown): Promise<void> {
    return this.observe(fn);
  }

  /** A stream of what fn makes of the items. An item for which it throws is left out. */
  map<U>(fn: (value: T) => U): Stream<U> {
    return this.with<U>((value, next) => next(fn(value)));
  }

  filter(fn: (value: T) => boolean): Stream<T> {
    return this.with<T>((value, next) => {
      if (fn(value)) next(value);
    });
  }

  /** The same items, after fn has seen each. */
  tap(fn: (value: T) => unknown): Stream<T> {
    return this.with<T>((value, next) => {
      fn(value);
      next(value);
    });
  }

  private with<U>(step: (value: T, next: (value: U) => void) => void): Stream<U> {
    return new Stream<U>(this.root, (sink) => this.listen({
      next: (value) => {
        let made: U[] = [];
        try {
          step(value, (one) => { made = [one]; });
        } catch (error) {
          this.root.report(error, value);
          return;
        }
        for (const one of made) sink.next(one);
      },
      error: (error) => sink.error?.(error),
      complete: () => sink.complete?.(),
    }));
  }

  /** As an Observable (TC39's proposal, RxJS). unsubscribe of what it returns leaves the stream alive. */
  subscribe(observer: Sink<T> | ((value: T) => void)): { unsubscribe(): void } {
    const sink = typeof observer === 'function' ? { next: observer } : observer;
    return { unsubscribe: this.listen(sink) };
  }

  /** Leaving a `for await` ends the subscription. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    const items: T[] = [];
    let wake: () => void = () => {};
    let ended = false;
    let failure: { error: unknown } | undefined;
    const stop = this.listen({
      next: (value) => {
        if (items.length >= this.root.buffer) {
          if (this.root.overflow === 'drop-newest') return;
          if (this.root.overflow === 'drop-oldest') items.shift();
          else failure ??= { error: new Error('the stream was read too slowly') };
        }
        if (!failure) items.push(value);
        wake();
      },
      error: (error) => {
        failure ??= { error };
        wake();
      },
      complete: () => {
        ended = true;
        wake();
      },
    });
    try {
      for (;;) {
        while (items.length) yield items.shift() as T;
        if (failure) throw failure.error;
        if (ended) return;
        await new Promise<void>((resolve) => { wake = resolve; });
      }
    } finally {
      stop();
      await this.root.unsubscribe();
    }
  }
}

Object.defineProperty(Stream.prototype, observable, {
  value(this: unknown) {
    return this;
  },
  configurable: true,
});
Object.defineProperty(Stream.prototype, '@@observable', {
  value(this: unknown) {
    return this;
  },
  configurable: true,
});
