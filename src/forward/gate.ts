/**
 * Lets changes to one rule pass one at a time, changes to different rules side by side, and none at
 * all while the gate is shut (a hand-over takes a picture of all rules that must stay true).
 */
export class Gate {
  readonly #last = new Map<string, Promise<unknown>>();
  #shut: Promise<void> | null = null;

  #closedBecause: Error | null = null;

  get isBusy(): boolean {
    return this.#last.size > 0 || this.#shut !== null;
  }

  /** Run a change of the rule with this key when its turn comes. Rejects with the reason of a closed gate. */
  async pass<T>(key: string, change: () => Promise<T>): Promise<T> {
    while (this.#shut) await this.#shut;
    if (this.#closedBecause) throw this.#closedBecause;
    const turn = (this.#last.get(key) ?? Promise.resolve()).catch(() => {}).then(change);
    this.#last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    }
  }

  /**
   * Hold further changes back and wait for those that run. Returns what opens the gate again or, given
   * a reason, closes it for ever: the changes that were held back and all further ones fail with it.
   */
  async shut(): Promise<(closedBecause?: Error) => void> {
    while (this.#shut) await this.#shut;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#shut = promise;
    await Promise.allSettled(this.#last.values());
    return (closedBecause) => {
      this.#closedBecause ??= closedBecause ?? null;
      this.#shut = null;
      resolve();
    };
  }
}
