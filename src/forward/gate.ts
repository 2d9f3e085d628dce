import { unlessAborted } from '../waiting.ts';

/**
 * Lets changes to one rule pass one at a time, changes to different rules side by side, and none at
 * all while the gate is shut (a hand-over takes a snapshot of all rules that must stay true) or once
 * it is closed (nothing is to change any more).
 */
export class ChangeGate {
  readonly #last = new Map<string, Promise<unknown>>();
  #shut: Promise<void> | null = null;

  #closedBecause: Error | null = null;

  get isBusy(): boolean {
    return this.#last.size > 0 || this.#shut !== null;
  }

  /** Throws the reason of a closed gate. For a change on its way, before it does what cannot be undone. */
  mustBeOpen(): void {
    if (this.#closedBecause) throw this.#closedBecause;
  }

  /** Run a change of the rule with this key, or of all these rules, when its turn comes. Rejects with the reason of a closed gate. */
  async pass<T>(keys: string | readonly string[], change: () => Promise<T>): Promise<T> {
    while (this.#shut) await this.#shut;
    this.mustBeOpen();
    const all = typeof keys === 'string' ? [keys] : keys;
    const before = Promise.allSettled(all.flatMap((key) => this.#last.get(key) ?? []));
    const turn = before.then(() => {
      this.mustBeOpen();
      return change();
    });
    for (const key of all) this.#last.set(key, turn);
    try {
      return await turn;
    } finally {
      for (const key of all) if (this.#last.get(key) === turn) this.#last.delete(key);
    }
  }

  /** No further change begins, now or ever; those that run are not waited for. The first reason stays. */
  close(because: Error): void {
    this.#closedBecause ??= because;
  }

  /**
   * Hold further changes back and wait for those that run. Returns what opens the gate again or, given
   * a reason, closes it for ever: the changes that were held back and all further ones fail with it.
   * Rejects with the signal's reason, and the gate is open then.
   */
  async shut({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<(closedBecause?: Error) => void> {
    while (this.#shut) await this.#shut;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#shut = promise;
    const open = (closedBecause?: Error) => {
      if (closedBecause) this.close(closedBecause);
      this.#shut = null;
      resolve();
    };
    try {
      await unlessAborted(Promise.allSettled(this.#last.values()), signal);
      return open;
    } catch (error) {
      open();
      throw error;
    }
  }
}
