import { GraceError } from '../../error.ts';
import { TimeLimit, unlessAborted } from '../../waiting.ts';

/** The time limit of a restart, over several waits, which can be cut short. `clear` it in any case. */
export class Deadline {
  readonly #timeoutMs: number;
  readonly #limit: TimeLimit;
  /** Why it was cut short, if it was. */
  #why: string | null = null;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#limit = new TimeLimit(timeoutMs);
  }

  /** Aborts when time is up. */
  get signal(): AbortSignal {
    return this.#limit.signal;
  }

  /** What a wait brings. Rejects with GraceError when time is up before, and then nobody hears what it brings. */
  async bound<T>(wait: Promise<T>, whatWasLate: string): Promise<T> {
    const { signal } = this;
    wait.catch(() => {}); // once time is up its failure is no news
    try {
      return await unlessAborted(wait, signal);
    } catch (error) {
      if (!signal.aborted || error !== signal.reason) throw error;
      throw new GraceError(`cannot restart: ${this.#why ?? `${whatWasLate} within ${this.#timeoutMs / 1000} s`}`);
    }
  }

  cancel(why: string): void {
    this.#why ??= why;
    this.#limit.abort(new Error(why));
  }

  clear(): void {
    this.#limit.clear();
  }
}
