/**
 * Where an entrance sends the clients that it accepts: one shared cell, so that a change holds for
 * the very next client, whichever thread accepts it.
 *
 * While a thread accepts, its own flag is up. Who closes the route waits for the flags, and knows
 * then that no client is accepted on the old terms any more. (Both sides write before they read, in
 * the sequentially consistent order of Atomics, so that one of them always sees the other.)
 */
const UPSTREAM = 0;
const FIRST_FLAG = 1;

/** An accept takes microseconds, and however busy the system is, not so long. */
const HUNG_AFTER_MS = 1000;

/** Nobody accepts any more. */
export const CLOSED_ROUTE = -1;

export class Route {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#cells = new Int32Array(memory);
  }

  static open(upstream: number, { threads }: { threads: number }): Route {
    const route = new Route(new SharedArrayBuffer(4 * (FIRST_FLAG + threads)));
    route.set(upstream);
    return route;
  }

  /** Number of the upstream, or CLOSED_ROUTE. */
  get upstream(): number {
    return Atomics.load(this.#cells, UPSTREAM);
  }

  set(upstream: number): void {
    Atomics.store(this.#cells, UPSTREAM, upstream);
  }

  /** Close it, and wait the few microseconds that an accept under way takes. */
  close({ timeoutMs = HUNG_AFTER_MS }: { timeoutMs?: number } = {}): void {
    this.set(CLOSED_ROUTE);
    const until = performance.now() + timeoutMs;
    for (let flag = FIRST_FLAG; flag < this.#cells.length; flag++) {
      // A thread that died or hangs with its flag up accepts no more either.
      while (Atomics.load(this.#cells, flag) !== 0 && performance.now() < until) Atomics.wait(this.#cells, flag, 1, 1);
    }
  }

  /** Raise the flag of a thread, which must be lowered right after its accept(2). */
  raise(thread: number): void {
    Atomics.store(this.#cells, FIRST_FLAG + thread, 1);
  }

  lower(thread: number): void {
    Atomics.store(this.#cells, FIRST_FLAG + thread, 0);
  }
}
