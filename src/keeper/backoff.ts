/** When a daemon that crashed is started again: at once, and later and later when it crashes soon after each start. */
export class Backoff {
  readonly #limits: BackoffLimits;
  readonly #now: () => number;
  #servedAt: number | null = null;
  /** Crashes in a row before it served. */
  #failedStarts = 0;
  /** Crashes in a row soon after a start. */
  #quickCrashes = 0;

  constructor(limits: Partial<BackoffLimits> = {}, now: () => number = () => performance.now()) {
    this.#limits = { ...defaultLimits, ...limits };
    this.#now = now;
  }

  /** The daemon serves. */
  served(): void {
    this.#servedAt = this.#now();
    this.#failedStarts = 0;
  }

  /** Milliseconds to wait before the next start, or null when there is no use in another one. */
  crashed(): number | null {
    const { steadyMs, maxFailedStarts, maxQuickCrashes, firstPauseMs, maxPauseMs, withoutPause } = this.#limits;
    const isQuick = this.#servedAt === null || this.#now() - this.#servedAt < steadyMs;
    if (this.#servedAt === null) this.#failedStarts++;
    this.#quickCrashes = isQuick ? this.#quickCrashes + 1 : 0;
    this.#servedAt = null;
    if (this.#failedStarts >= maxFailedStarts || this.#quickCrashes >= maxQuickCrashes) return null;
    const step = this.#failedStarts > 0 ? this.#failedStarts : this.#quickCrashes - withoutPause;
    return step <= 0 ? 0 : Math.min(firstPauseMs * 2 ** (step - 1), maxPauseMs);
  }
}

/** When and how often a daemon is started again; times in milliseconds. */
export type BackoffLimits = {
  /** Who has served so long did not crash because of its start. */
  steadyMs: number;
  maxFailedStarts: number;
  maxQuickCrashes: number;
  /** So many crashes soon after a start are answered at once. */
  withoutPause: number;
  firstPauseMs: number;
  maxPauseMs: number;
};

/** Five starts that never served take some two seconds; clients wait in the queues meanwhile. */
const defaultLimits: BackoffLimits = {
  steadyMs: 1000,
  maxFailedStarts: 5,
  maxQuickCrashes: 50,
  withoutPause: 5,
  firstPauseMs: 100,
  maxPauseMs: 400,
};
