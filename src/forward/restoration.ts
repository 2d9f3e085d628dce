import type { CarriedStats } from './destination.ts';
import type { ChangeGate } from './gate.ts';
import type { RuleOpener } from './opener.ts';
import type { ForwarderOptions } from './options.ts';
import { specsOf } from './routing.ts';
import type { Rule, RuleSpec, SourceSpec } from './rule.ts';
import type { RuleTable } from './table.ts';

/** What has a part in it. */
export type RestorationOptions = Pick<
  ForwarderOptions,
  'openListener' | 'check' | 'closeListener' | 'isLost' | 'replaceListener' | 'changes'
> & { gate: ChangeGate; table: RuleTable; opener: RuleOpener };

/** Brings back what is stored and is not served as it should be: the rules of an earlier daemon, those that could not be served, and listeners that are lost. */
export class Restoration {
  readonly #options: RestorationOptions;

  constructor(options: RestorationOptions) {
    this.#options = options;
  }

  /** What was counted of a destination of a rule that is to be served again. */
  carry(spec: RuleSpec, carried: CarriedStats): void {
    this.#options.opener.carry(spec, carried);
  }

  /** Serve a stored rule again, with what was counted of it; one that cannot be served, or fails the check, stays, with its error, and does not throw. */
  async restore(
    spec: RuleSpec,
    { carried, isToBeChecked = true }: { carried?: CarriedStats | undefined; isToBeChecked?: boolean } = {},
  ): Promise<Error | null> {
    const { gate, table, opener } = this.#options;
    if (carried) opener.carry(spec, carried);
    return gate.pass(spec.src.listenKey, async () =>
      table.sameAddress(spec.src) ? null : await this.#tryToOpen(spec, isToBeChecked),
    );
  }

  /** Try a rule again that could not be served, if it still is to be. Returns whether it is served now. */
  retry(spec: RuleSpec): Promise<boolean> {
    const { gate, table } = this.#options;
    return gate.pass(spec.src.listenKey, async () => {
      if (table.getBroken(spec.src)?.spec !== spec) return false;
      return (await this.#tryToOpen(spec, true)) === null;
    });
  }

  /** Have a rule listen where its clients look for it, if that is lost. Returns whether it was. Throws what prevents it. */
  repair(src: SourceSpec): Promise<boolean> {
    const { gate, table } = this.#options;
    return gate.pass(src.listenKey, async () => {
      const rule = table.get(src);
      return rule !== undefined && (await this.listenAnew(rule));
    });
  }

  /** A rule that is to be, and cannot be served at the moment. */
  addBroken(spec: RuleSpec, error: Error): void {
    this.#options.table.addBroken(spec, error);
    this.#options.changes.notify();
  }

  /** For a change that has passed the gate: {@link repair} without a turn of its own. Nobody comes to a listener that is lost; open connections stay. */
  async listenAnew(rule: Rule): Promise<boolean> {
    const { isLost, openListener, closeListener, replaceListener, changes, gate, opener } = this.#options;
    if (!isLost?.(rule.listener)) return false;
    const listener = await openListener(rule.src);
    try {
      gate.mustBeOpen();
      const frontend = opener.openFrontend({
        src: rule.src,
        listener,
        routing: rule.routing,
        slots: rule.slots,
        admission: rule.admission,
        hold: rule.hold,
      });
      await rule.pause();
      replaceListener?.(rule.moveTo(listener, frontend));
    } catch (error) {
      closeListener(rule.src, listener);
      throw error;
    }
    changes.notify();
    return true;
  }

  async #tryToOpen(spec: RuleSpec, isToBeChecked: boolean): Promise<Error | null> {
    const { table, opener, changes, check } = this.#options;
    try {
      const rule = await opener.open(spec, async (listener) => {
        if (!isToBeChecked) return;
        for (const dst of specsOf(spec))
          await check?.({ src: spec.src, dst, listener }, table.rules, { isStored: true });
      });
      table.add(rule);
      changes.notify();
      return null;
    } catch (error) {
      const problem = error instanceof Error ? error : new Error(String(error));
      this.addBroken(spec, problem);
      return problem;
    }
  }
}
