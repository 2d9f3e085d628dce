/**
 * Where a frontend sends the clients that it accepts: a few shared cells, so that a change holds for
 * the very next client, whichever thread accepts it.
 *
 * While a thread accepts, and until it has counted the client, its own flag is up. Who changes or
 * closes the route waits for the flags, and knows then that every client that was accepted on the old
 * terms is counted, and that there will be no more. (Both sides write before they read, in the
 * sequentially consistent order of Atomics, so that one of them always sees the other.)
 */
import { hashOfSockaddr } from '../share.ts';
import type { ShareKey } from '../share.ts';

const UPSTREAM = 0;
/** The upstream of a share of the clients, and which: see share.ts. A threshold of 0: none. */
const SHARED_UPSTREAM = 1;
const THRESHOLD = 2;
const KEY = 3;
const FIRST_FLAG = 5;

/** An accept takes microseconds, and however busy the system is, not so long. */
const HUNG_AFTER_MS = 1000;

/** Nobody accepts any more. */
export const CLOSED_ROUTE = -1;

/** Where to: the number of an upstream, and that of another one for a share of the clients. */
export type ThreadRouting = { upstream: number; share?: { upstream: number; threshold: number; key: ShareKey } | null };

/** The cells and the flags. Made in the main thread, and again of its memory in the others. */
export class Route {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#cells = new Int32Array(memory);
  }

  static open(routing: ThreadRouting, { threads }: { threads: number }): Route {
    const route = new Route(new SharedArrayBuffer(4 * (FIRST_FLAG + threads)));
    route.#lead(routing);
    return route;
  }

  /** Number of the upstream, or CLOSED_ROUTE. */
  get upstream(): number {
    return Atomics.load(this.#cells, UPSTREAM);
  }

  /** Number of the upstream for a client, by its `struct sockaddr`. */
  upstreamFor(sockaddr: Uint8Array): number {
    const cells = this.#cells;
    const threshold = Atomics.load(cells, THRESHOLD) >>> 0;
    if (threshold === 0) return this.upstream;
    const hash = hashOfSockaddr(sockaddr, [Atomics.load(cells, KEY), Atomics.load(cells, KEY + 1)]);
    return hash < threshold ? Atomics.load(cells, SHARED_UPSTREAM) : this.upstream;
  }

  /** Whatever a thread reads in between is where a client of it may go, before or after. */
  #lead({ upstream, share = null }: ThreadRouting): void {
    const cells = this.#cells;
    const isSameShare =
      share !== null &&
      Atomics.load(cells, UPSTREAM) === upstream &&
      Atomics.load(cells, SHARED_UPSTREAM) === share.upstream &&
      Atomics.load(cells, KEY) === share.key[0] &&
      Atomics.load(cells, KEY + 1) === share.key[1];
    // Who is of a share stays of it when that grows, at any moment; and when it becomes all.
    if (share === null) Atomics.store(cells, UPSTREAM, upstream);
    if (!isSameShare) Atomics.store(cells, THRESHOLD, 0);
    if (share === null) return;
    Atomics.store(cells, UPSTREAM, upstream);
    Atomics.store(cells, SHARED_UPSTREAM, share.upstream);
    Atomics.store(cells, KEY, share.key[0]);
    Atomics.store(cells, KEY + 1, share.key[1]);
    Atomics.store(cells, THRESHOLD, share.threshold);
  }

  /** Lead elsewhere, and wait the few microseconds that an accept under way takes. */
  set(routing: ThreadRouting, { timeoutMs = HUNG_AFTER_MS }: { timeoutMs?: number } = {}): void {
    this.#lead(routing);
    const until = performance.now() + timeoutMs;
    for (let flag = FIRST_FLAG; flag < this.#cells.length; flag++) {
      // A thread that died or hangs with its flag up accepts no more either.
      while (Atomics.load(this.#cells, flag) !== 0 && performance.now() < until) Atomics.wait(this.#cells, flag, 1, 1);
    }
  }

  /** Accept no more; waits as `set` does. */
  close(options: { timeoutMs?: number } = {}): void {
    this.set({ upstream: CLOSED_ROUTE }, options);
  }

  /** Raise the flag of a thread, which must be lowered as soon as the client of its accept(2) is counted. */
  raise(thread: number): void {
    Atomics.store(this.#cells, FIRST_FLAG + thread, 1);
  }

  lower(thread: number): void {
    Atomics.store(this.#cells, FIRST_FLAG + thread, 0);
  }
}
