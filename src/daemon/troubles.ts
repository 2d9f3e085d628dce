import { describeError } from '../sys/system-error.ts';
import type { Phase } from './lifecycle.ts';

/** Before something is tried again that did not work, in milliseconds. */
const defaultRetryMs = 2000;

/**
 * What a daemon goes on without: a log file, a pid file, a name in the state dir. A start needs them, and
 * serving does not, so that a disk which is full, read-only or gone costs nobody a connection. `status` tells.
 */
export class Troubles {
  readonly #texts = new Map<string, string>();
  /** What is tried again, by what it is. */
  readonly #pending = new Map<string, NodeJS.Timeout>();
  readonly #report: (text: string) => void;
  readonly #phase: () => Phase;
  readonly #retryMs: number;

  /** `report` hears of each trouble once. Only a process that serves tries again: what it would write may be another's by now. */
  constructor(
    report: (text: string) => void,
    { phase = () => 'serving', retryMs = defaultRetryMs }: { phase?: () => Phase; retryMs?: number } = {},
  ) {
    this.#report = report;
    this.#phase = phase;
    this.#retryMs = retryMs;
  }

  /** A sentence each, in the order in which they came. */
  get texts(): string[] {
    return [...this.#texts.values()];
  }

  /** Do something that serving does not need. It is over with the first time that it works. */
  attempt(what: string, act: () => void): void {
    try {
      act();
      this.#texts.delete(what);
    } catch (error) {
      this.add(what, `${what}: ${describeError(error)}`);
    }
  }

  /** The same of what is to be so at last: it is tried again until it works, or something else is attempted in its place. */
  attemptUntilDone(what: string, act: () => void): void {
    clearTimeout(this.#pending.get(what));
    this.#pending.delete(what);
    this.attempt(what, act);
    if (!this.#texts.has(what)) return;
    const again = () => {
      const phase = this.#phase();
      if (phase === 'serving') return this.attemptUntilDone(what, act);
      if (phase === 'starting' || phase === 'restarting') wait();
    };
    const wait = () => void this.#pending.set(what, setTimeout(again, this.#retryMs).unref());
    wait();
  }

  /** It is over. */
  remove(what: string): void {
    this.#texts.delete(what);
  }

  /** Something goes wrong, for this reason; null: it does no more. */
  set(what: string, why: string | null): void {
    if (why === null) this.remove(what);
    else this.add(what, `${what}: ${why}`);
  }

  add(what: string, text: string): void {
    const isNews = this.#texts.get(what) !== text;
    this.#texts.set(what, text);
    if (isNews) this.#report(text);
  }
}

/** Do something that nobody is hurt by when it fails: the state dir is read-only, or gone. */
export function attempt(act: () => void): void {
  try {
    act();
  } catch {
    // What matters of it is told where it matters.
  }
}
