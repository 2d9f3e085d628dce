/**
 * The places of one source with a limit (`maxconn`). Whoever serves a client of the source has one: the
 * threads of the native engine, the portable engine, a frontend that follows another one, and other
 * processes, whose connections are reserved for. One number in shared memory, which all of them count.
 */
import { innerEndpoint } from '../endpoint/inner.ts';
import type { ServerEndpoint } from '../endpoint/model.ts';

const TAKEN = 0;
const LIMIT = 1;

/** The places of a source: those that are given, or its own if it has a limit; null without one. */
export function slotsOf(endpoint: ServerEndpoint, given?: Slots | null): Slots | null {
  if (given !== undefined) return given;
  const inner = innerEndpoint(endpoint);
  const limit = inner.type === 'stdio' ? undefined : inner.maxconn;
  return limit === undefined ? null : new Slots({ limit });
}

/** What a thread needs to take part. */
export type SlotsPlan = { memory: SharedArrayBuffer };

/** The places of one source. Counts in shared memory; whoever waits in the main thread is told when there is room. */
export class Slots {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;
  readonly #waiting = new Set<() => void>();
  #reserved = 0;

  /** New ones with a limit, in so many bytes if more is counted than that; or in a thread those of its plan. */
  constructor(from: { limit: number; size?: number } | SlotsPlan) {
    this.memory = 'memory' in from ? from.memory : new SharedArrayBuffer(from.size ?? 8);
    this.#cells = new Int32Array(this.memory);
    if ('limit' in from) Atomics.store(this.#cells, LIMIT, from.limit);
  }

  get limit(): number {
    return Atomics.load(this.#cells, LIMIT);
  }

  /** Those who have places keep them and count, also beyond the new limit. */
  set limit(limit: number) {
    Atomics.store(this.#cells, LIMIT, limit);
    if (!this.isFull) this.notify();
  }

  get plan(): SlotsPlan {
    return { memory: this.memory };
  }

  get taken(): number {
    return Atomics.load(this.#cells, TAKEN);
  }

  get isFull(): boolean {
    return this.taken >= this.limit;
  }

  /** Also beyond the limit: a client that was accepted has to be served. */
  take(count = 1): void {
    Atomics.add(this.#cells, TAKEN, count);
  }

  /** Take one if fewer than so many are taken, whoever takes some at the same time. Returns whether it was taken. */
  protected takeBelow(ceiling: number): boolean {
    for (let taken = this.taken; taken < ceiling;) {
      const seen = Atomics.compareExchange(this.#cells, TAKEN, taken, taken + 1);
      if (seen === taken) return true;
      taken = seen;
    }
    return false;
  }

  /** Returns how many are taken then. Nobody is told. */
  protected giveBack(count: number): number {
    return Atomics.sub(this.#cells, TAKEN, count) - count;
  }

  /** Returns whether there is room now that was not before. In the main thread, those that wait for it are told. */
  release(count = 1): boolean {
    const after = this.giveBack(count);
    const hasRoom = after + count >= this.limit && after < this.limit;
    if (hasRoom) this.notify();
    return hasRoom;
  }

  /** So many, in place of as many as before, are for connections that other processes have. */
  reserve(count: number): void {
    const more = count - this.#reserved;
    this.#reserved = count;
    if (more > 0) this.take(more);
    else if (more < 0) this.release(-more);
  }

  get reserved(): number {
    return this.#reserved;
  }

  /** Be told when there is room. Returns what ends that. */
  onRoom(look: () => void): () => void {
    this.#waiting.add(look);
    return () => this.#waiting.delete(look);
  }

  /** A thread says that there is room. */
  notify(): void {
    for (const look of this.#waiting) look();
  }
}
