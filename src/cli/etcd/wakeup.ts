import { unlessAborted, within } from '../../waiting.ts';

/** Something to do that may be asked for at any time, also while it is being done. */
export class Wakeup {
  #isAsked = false;
  #wake = (): void => {};

  /** Ask for it. */
  ask(): void {
    this.#isAsked = true;
    this.#wake();
  }

  /** Resolves with true when it is asked for, or has been since the last time; with false when that takes too long (milliseconds). */
  async next({
    signal,
    withinMs = Infinity,
  }: {
    signal: AbortSignal;
    withinMs?: number | undefined;
  }): Promise<boolean> {
    signal.throwIfAborted();
    if (!this.#isAsked) {
      const asked = new Promise<void>((resolve) => (this.#wake = resolve));
      try {
        await unlessAborted(within(asked, withinMs), signal);
      } finally {
        this.#wake(); // the timer goes, after an abort too
        this.#wake = () => {};
      }
    }
    const wasAsked = this.#isAsked;
    this.#isAsked = false;
    return wasAsked;
  }
}
