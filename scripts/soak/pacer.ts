/** Pauses that end early when the run comes to its end. */
export class Pacer {
  readonly #pausing = new Set<() => void>();
  #isHurrying = false;

  /** No pause lasts any longer from now on. */
  hurry(): void {
    this.#isHurrying = true;
    for (const end of this.#pausing) end();
  }

  /** Whether what is not necessary is to be left out. */
  get isHurrying(): boolean {
    return this.#isHurrying;
  }

  /** Resolves after so many milliseconds, or when the run hurries. */
  pause(ms: number): Promise<void> {
    if (this.#isHurrying) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#pausing.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#pausing.add(end);
    });
  }
}
