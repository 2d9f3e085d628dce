/**
 * Where a frontend sends the clients that it accepts: one shared cell, so that a change holds for
 * the very next client, whichever thread accepts it.
 *
 * While a thread accepts, and until it has counted the client, its own flag is up. Who changes or
 * closes the route waits for the flags, and knows then that every client that was accepted on the old
 * terms is counted, and that there will be no more. (Both sides write before they read, in the
 * sequentially consistent order of Atomics, so that one of them always sees the other.)
 */
const UPSTREAM = 0;
const FIRST_FLAG = 1;

/** An accept takes microseconds, and however busy the system is, not so long. */
const HUNG_AFTER_MS = 1000;

/** Nobody accepts any more. */
export const CLOSED_ROUTE = -1;

/** The cell and the flags. Made in the main thread, and again of its memory in the others. */
export class Route {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#cells = new Int32Array(memory);
  }

  static open(upstream: number, { threads }: { threads: number }): Route {
    const route = new Route(new SharedArrayBuffer(4 * (FIRST_FLAG + threads)));
    Atomics.store(route.#cells, UPSTREAM, upstream);
    return route;
  }

  /** Number of the upstream, or CLOSED_ROUTE. */
  get upstream(): number {
    return Atomics.load(this.#cells, UPSTREAM);
  }

  /** Lead to another upstream, and wait the few microseconds that an accept under way takes. */
  set(upstream: number, { timeoutMs = HUNG_AFTER_MS }: { timeoutMs?: number } = {}): void {
    Atomics.store(this.#cells, UPSTREAM, upstream);
    const until = performance.now() + timeoutMs;
    for (let flag = FIRST_FLAG; flag < this.#cells.length; flag++) {
      // A thread that died or hangs with its flag up accepts no more either.
      while (Atomics.load(this.#cells, flag) !== 0 && performance.now() < until) Atomics.wait(this.#cells, flag, 1, 1);
    }
  }

  /** Accept no more; waits as `set` does. */
  close(options: { timeoutMs?: number } = {}): void {
    this.set(CLOSED_ROUTE, options);
  }

  /** Raise the flag of a thread, which must be lowered as soon as the client of its accept(2) is counted. */
  raise(thread: number): void {
    Atomics.store(this.#cells, FIRST_FLAG + thread, 1);
  }

  lower(thread: number): void {
    Atomics.store(this.#cells, FIRST_FLAG + thread, 0);
  }
}
