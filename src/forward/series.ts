/**
 * Changes that one request asks for: prepared in order up to the first that cannot be, stored together with one write,
 * and then made in the same order up to the first that fails.
 */
import type { RuleSpec } from './rule.ts';

/** What becomes of the stored rules; it may change the list that it gets. Throws why it cannot be. */
export type RuleChange = (specs: RuleSpec[]) => RuleSpec[];

/** One change on its way into the store: what becomes of the stored rules, what makes it so, and how it ends. */
export type Step = { change: RuleChange; apply: () => void; end: PromiseWithResolvers<void> };

/** The changes of a request that are ready to be stored. */
export class Series {
  readonly #steps: Step[] = [];
  #added = Promise.withResolvers<void>();
  #isOpen = true;

  /** False: its changes are being stored; what comes later is stored by itself. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  add(step: Step): void {
    step.end.promise.catch(() => {}); // whoever asked for the change hears of it
    this.#steps.push(step);
    this.#added.resolve();
  }

  /** Resolves when the change that has just begun is ready to be stored, or over. Returns false when it has failed. */
  async isReady(change: Promise<unknown>): Promise<boolean> {
    const over = change.then(
      () => true,
      () => false,
    );
    const isReady = await Promise.race([this.#added.promise.then(() => true), over]);
    this.#added = Promise.withResolvers();
    return isReady;
  }

  /** No more changes come. Returns all of them. */
  close(): readonly Step[] {
    this.#isOpen = false;
    return this.#steps;
  }
}
