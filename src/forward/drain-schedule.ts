/** When connections that are to be closed over some time are closed, so that those who connect again do not come all at once. */

/** Shortest time between two closings, in milliseconds; of many connections several are closed at a time. */
const shortestSlotMs = 100;

/** Farthest from the middle of its slot that a closing is, as a part of the slot. */
const maxJitter = 0.25;

/** The next closing: at which time, in milliseconds since the beginning, and of how many. */
export type Closing = { atMs: number; count: number };

/**
 * Spreads closings evenly over a time, each somewhere in the middle half of a slot of its own. No second has more than twice the mean
 * of the beginning (but one); of connections that end by themselves meanwhile the others have the time.
 */
export class DrainSchedule {
  readonly #overMs: number;
  readonly #random: () => number;
  /** Closings in a second at most. */
  readonly #most: number;
  #slotEnd = 0;
  #lastAt = -Infinity;
  /** What is due, of connections that do not make a whole one. */
  #due = 0;

  /** @param connections how many there are at the beginning */
  constructor({
    connections,
    overMs,
    random = Math.random,
  }: {
    connections: number;
    overMs: number;
    random?: () => number;
  }) {
    this.#overMs = overMs;
    this.#random = random;
    this.#most = Math.max(1, Math.floor((2000 * connections) / overMs));
  }

  /** What is to be done next, of so many that are `left` so long after the beginning. Asked when the closing before is done. */
  next({ left, elapsedMs }: { left: number; elapsedMs: number }): Closing {
    const gapMs = 1000 / this.#most;
    const from = Math.max(this.#slotEnd, elapsedMs);
    const remainingMs = Math.max(0, this.#overMs - from);
    const slotMs = Math.max(remainingMs / left, Math.min(gapMs, this.#overMs), Math.min(shortestSlotMs, this.#overMs));
    const rate = Math.min(remainingMs > 0 ? left / remainingMs : Infinity, this.#most / 1000);
    this.#due = Math.min(this.#due + rate * slotMs, left);
    const count = Math.max(1, Math.floor(this.#due + 1e-9));
    this.#due = Math.max(0, this.#due - count);
    const jitter = count > 1 ? maxJitter : Math.min(maxJitter, Math.max(0, (1 - gapMs / slotMs) / 2));
    const wanted = from + slotMs * (0.5 + (2 * this.#random() - 1) * jitter);
    const atMs = count > 1 ? wanted : Math.max(wanted, this.#lastAt + gapMs);
    this.#slotEnd = from + slotMs;
    this.#lastAt = atMs;
    return { atMs, count };
  }
}
