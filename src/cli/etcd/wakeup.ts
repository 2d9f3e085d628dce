import { setTimeout as delay } from 'node:timers/promises';

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
  async next({ signal, withinMs }: { signal: AbortSignal; withinMs?: number | undefined }): Promise<boolean> {
    signal.throwIfAborted();
    if (!this.#isAsked) {
      const over = new AbortController();
      const asked = new Promise<void>((resolve) => (this.#wake = resolve));
      const either = AbortSignal.any([signal, over.signal]);
      // A timer is what hears the signal.
      const late = delay(withinMs ?? 2 ** 31 - 1, undefined, { signal: either });
      try {
        await Promise.race([asked, late]);
      } finally {
        this.#wake = () => {};
        over.abort();
        late.catch(() => {}); // it was called off
      }
    }
    const wasAsked = this.#isAsked;
    this.#isAsked = false;
    return wasAsked;
  }
}
