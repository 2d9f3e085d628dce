import type { Changes } from './changes.ts';
import type { ChangeGate } from './gate.ts';
import type { RuleSpec } from './rule.ts';

/** What becomes of the stored rules; it may change the list that it gets. */
export type RuleChange = (specs: RuleSpec[]) => RuleSpec[];

/** Changes of the rules, one at a time: each is stored before it takes effect, and undone in the store when it then fails. */
export class Transactions {
  readonly #options: TransactionsOptions;
  /** Settled when the last change of the stored rules is through. */
  #settled: Promise<void> = Promise.resolve();

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /** Resolves when every change that has begun is through; never rejects. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /**
   * Store the rules as they will be, then make them so; where that fails they are stored as they were. One
   * change at a time, whichever rules they are of: each starts from what the one before has left.
   */
  async commit(change: RuleChange, apply: () => void): Promise<void> {
    const { gate, specs, save, changes } = this.#options;
    const turn = this.#settled.then(async () => {
      gate.mustBeOpen();
      const before = specs();
      await save(change([...before]));
      try {
        apply();
      } catch (error) {
        await save(before);
        throw error;
      }
      changes.notify();
    });
    this.#settled = turn.catch(() => {}); // whoever asked for the change hears of it
    await turn;
  }
}

/** `specs`: every rule that is stored at the moment. */
export type TransactionsOptions = {
  save(rules: readonly RuleSpec[]): Promise<void>;
  changes: Changes;
  gate: ChangeGate;
  specs(): RuleSpec[];
};
