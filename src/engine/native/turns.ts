/** Legs that wait for something of which no event tells: their next turn, or memory. */
import { FROZEN, QUEUED } from './connection-table.ts';
import type { Thread } from './thread.ts';

/** Pause before a call is tried again that found no memory, of which no event tells. */
const NO_MEMORY_PAUSE_MS = 20;

/** The legs of one thread that wait so. */
export class Turns {
  readonly #thread: Thread;
  /** Legs that had more to read than their turn allowed. */
  #queue: number[] = [];
  /** Legs whose call found no memory, and when they are tried again. */
  readonly #starved = new Set<number>();
  #retryAt = Infinity;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Whether legs wait for their next turn. */
  get hasQueue(): boolean {
    return this.#queue.length > 0;
  }

  /** When `run` has something to do of which no event tells. */
  get wakeAt(): number {
    return this.#retryAt;
  }

  /** A leg has more to read than its turn allows. */
  enqueue(fd: number): void {
    const { table } = this.#thread;
    if (table.has(fd, QUEUED)) return;
    table.set(fd, QUEUED);
    this.#queue.push(fd);
  }

  /** A call for a leg found no memory. */
  starve(fd: number): void {
    this.#starved.add(fd);
    this.#retryAt = this.#thread.now + NO_MEMORY_PAUSE_MS;
  }

  /** A leg is about to be closed. */
  forget(fd: number): void {
    this.#starved.delete(fd);
  }

  /** Give those that wait their turn: `retry` where there was no memory, `read` where there is more to read. */
  run({ retry, read }: { retry: (fd: number) => void; read: (fd: number) => void }): void {
    const { table, now } = this.#thread;
    if (now >= this.#retryAt) this.#retry(retry);
    if (this.#queue.length === 0) return;
    const queue = this.#queue;
    this.#queue = [];
    for (const fd of queue) {
      // A descriptor that was closed, and perhaps opened anew, has lost the mark.
      if (!table.has(fd, QUEUED)) continue;
      table.clear(fd, QUEUED);
      read(fd);
    }
  }

  #retry(retry: (fd: number) => void): void {
    const starved = [...this.#starved];
    this.#starved.clear();
    this.#retryAt = Infinity;
    for (const fd of starved) if (!this.#thread.table.has(fd, FROZEN)) retry(fd);
  }
}
