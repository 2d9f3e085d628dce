import { errorMessage } from '../error.ts';
import type { Draining } from './draining.ts';
import type { ChangeGate } from './gate.ts';
import { destinationsOf, routingSpec } from './routing.ts';
import type { Rule } from './rule.ts';
import type { Transactions } from './transactions.ts';
import type { Trial } from './trial.ts';
import type { Changes } from './changes.ts';

/** What has a part in it. */
export type TrialsOptions = { gate: ChangeGate; transactions: Transactions; draining: Draining; changes: Changes };

/** Ends trials: one that passes is stored, after one that fails the rule goes where it went before. Open connections stay either way. */
export class Trials {
  readonly #options: TrialsOptions;

  constructor(options: TrialsOptions) {
    this.#options = options;
  }

  /** A trial has begun, which is the rule's. */
  follow(rule: Rule, trial: Trial): void {
    void this.#finish(rule, trial).catch((error: unknown) => trial.abandon(error));
  }

  async #finish(rule: Rule, trial: Trial): Promise<void> {
    const why = await trial.verdict;
    await this.#options.gate.pass(rule.src.listenKey, async () => {
      if (rule.trial !== trial) return;
      if (why !== null) return this.#rollBack(rule, trial, why);
      try {
        await this.#pass(rule, trial);
      } catch (error) {
        if (rule.trial === trial) this.#rollBack(rule, trial, errorMessage(error));
      }
    });
  }

  async #pass(rule: Rule, trial: Trial): Promise<void> {
    const { transactions, draining } = this.#options;
    await transactions.commit(
      (specs) => specs.map((each) => (each.src === rule.src ? { src: each.src, ...routingSpec(rule.routing) } : each)),
      () => rule.endTrial({ result: 'passed' }),
    );
    for (const destination of destinationsOf(trial.before)) draining.watch(destination);
  }

  /** Without a word to the disk, which has never heard of the trial: it must not stand in the way. */
  #rollBack(rule: Rule, trial: Trial, why: string): void {
    const { draining, changes } = this.#options;
    const failed = destinationsOf(rule.routing);
    rule.route(trial.before, { outcome: { result: 'rolled back', why } });
    for (const destination of failed) draining.watch(destination);
    changes.notify();
  }
}
