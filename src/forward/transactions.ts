import { Breaks } from '../waiting.ts';
import type { Changes } from './changes.ts';
import type { ChangeGate } from './gate.ts';
import type { RuleSpec } from './rule.ts';
import type { RuleChange, Series, Step } from './series.ts';

/** Changes of the rules: each is stored before it takes effect, and undone in the store when it then fails. What comes while others are stored is stored together. */
export class Transactions {
  readonly #options: TransactionsOptions;
  /** Settled when the last change of the stored rules is through. */
  #settled: Promise<void> = Promise.resolve();
  /** What the next write stores; null: no write is due. */
  #next: Chain[] | null = null;

  constructor(options: TransactionsOptions) {
    this.#options = options;
  }

  /** Resolves when every change that has begun is through; never rejects. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /**
   * Store the rules as they will be, then make them so; where that fails they are stored as they were. Changes of
   * one rule come one at a time (gate.ts); those of different rules do not depend on one another. One of a
   * series waits for `store`.
   */
  async commit(change: RuleChange, apply: () => void, series?: Series): Promise<void> {
    const step = { change, apply, end: Promise.withResolvers<void>() };
    if (series?.isOpen) series.add(step);
    else this.#enqueue([step]);
    await step.end.promise;
  }

  /** Store the changes of a series with one write, and make them so up to the first that fails. Resolves when that is through; never rejects. */
  async store(series: Series): Promise<void> {
    const steps = series.close();
    if (steps.length === 0) return;
    this.#enqueue(steps);
    await Promise.allSettled(steps.map(({ end }) => end.promise));
  }

  #enqueue(chain: Chain): void {
    if (this.#next) return void this.#next.push(chain);
    const chains = (this.#next = [chain]);
    this.#settled = this.#settled.then(async () => {
      this.#next = null;
      await this.#write(chains);
    });
  }

  /** Never rejects: whoever asked for a change hears of it. */
  async #write(chains: readonly Chain[]): Promise<void> {
    const { gate, specs, save, changes } = this.#options;
    try {
      gate.mustBeOpen();
      const before = specs();
      const { stored, due } = folded(before, chains);
      if (due.length === 0) return;
      await save(stored);
      const done: Chain[] = [];
      const breaks = new Breaks();
      for (const chain of due) done.push(await applied(chain, breaks));
      const isAll = done.every((chain, index) => chain.length === due[index]!.length);
      // One that has not taken effect is not to be stored either; where that cannot be written, the next write does it.
      if (!isAll) await save(folded(before, done).stored).catch(() => {});
      for (const { end } of done.flat()) end.resolve();
      changes.notify();
    } catch (error) {
      // What stands in the way of one, as its size, need not stand in the way of the others.
      if (chains.length > 1) for (const chain of chains) await this.#write([chain]);
      else for (const { end } of chains.flat()) end.reject(error);
    }
  }
}

/** Changes of which each takes effect only if those before it did. */
type Chain = readonly Step[];

/** The rules as they are when these changes have been made, and those of them that can be. */
function folded(before: readonly RuleSpec[], chains: readonly Chain[]): { stored: RuleSpec[]; due: Chain[] } {
  let stored = [...before];
  const due = chains.map((chain) => untilFailure(chain, ({ change }) => void (stored = change([...stored]))));
  return { stored, due: due.filter((chain) => chain.length > 0) };
}

/** The first one that fails ends with its error, and those after it with the same. Returns those before it. */
function untilFailure(chain: Chain, act: (step: Step) => void): Chain {
  for (const [index, step] of chain.entries()) {
    try {
      act(step);
    } catch (error) {
      return cutOff(chain, index, error);
    }
  }
  return chain;
}

/** The same of taking effect, while others have their turns in between. */
async function applied(chain: Chain, breaks: Breaks): Promise<Chain> {
  for (const [index, { apply }] of chain.entries()) {
    await breaks.take();
    try {
      apply();
    } catch (error) {
      return cutOff(chain, index, error);
    }
  }
  return chain;
}

function cutOff(chain: Chain, index: number, error: unknown): Chain {
  for (const each of chain.slice(index)) each.end.reject(error);
  return chain.slice(0, index);
}

/** `specs`: every rule that is stored at the moment. */
export type TransactionsOptions = {
  save(rules: readonly RuleSpec[]): Promise<void>;
  changes: Changes;
  gate: ChangeGate;
  specs(): RuleSpec[];
};
