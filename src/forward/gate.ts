/**
 * Lets changes to one rule pass one at a time, changes to different rules side by side, and none at
 * all while the gate is shut (a hand-over takes a picture of all rules that must stay true).
 */
export class Gate {
  readonly #last = new Map<string, Promise<unknown>>();
  #shut: Promise<void> | null = null;

  /** Run a change of the rule with this key when its turn comes. */
  async pass<T>(key: string, change: () => Promise<T>): Promise<T> {
    while (this.#shut) await this.#shut;
    const turn = (this.#last.get(key) ?? Promise.resolve()).catch(() => {}).then(change);
    this.#last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (this.#last.get(key) === turn) this.#last.delete(key);
    }
  }

  /** Hold further changes back and wait for those that run. Returns what opens the gate again. */
  async shut(): Promise<() => void> {
    while (this.#shut) await this.#shut;
    let open = () => {};
    this.#shut = new Promise((resolve) => {
      open = () => {
        this.#shut = null;
        resolve();
      };
    });
    await Promise.allSettled(this.#last.values());
    return open;
  }
}
