import { GraceError } from '../error.ts';
import type { Changes } from './changes.ts';
import type { DestinationSpec } from './destination.ts';
import type { Draining } from './draining.ts';
import type { ChangeGate } from './gate.ts';
import type { RuleOpener } from './opener.ts';
import { Rule } from './rule.ts';
import type { SourceSpec } from './rule.ts';
import type { RuleTable } from './table.ts';

/** What has a part in it. */
export type HoldingOptions = {
  gate: ChangeGate;
  table: RuleTable;
  opener: RuleOpener;
  draining: Draining;
  changes: Changes;
};

/** Rules whose clients are accepted and wait, here and in processes that were replaced. */
export class Holding {
  readonly #gate: ChangeGate;
  readonly #table: RuleTable;
  readonly #opener: RuleOpener;
  readonly #draining: Draining;
  readonly #changes: Changes;

  constructor({ gate, table, opener, draining, changes }: HoldingOptions) {
    this.#gate = gate;
    this.#table = table;
    this.#opener = opener;
    this.#draining = draining;
    this.#changes = changes;
  }

  /** Have the clients of a rule wait from now on, so many at most. Returns false when they did already. */
  begin(src: SourceSpec, { maxWaiting }: { maxWaiting: number }): Promise<boolean> {
    return this.#gate.pass(src.listenKey, async () => {
      const rule = this.#table.find(src);
      if (!(rule instanceof Rule))
        throw new GraceError(`cannot hold ${rule.spec.src.typed}: it is not served: ${rule.error.message}`);
      const wasOn = rule.hold.isOn;
      rule.hold.begin({ limit: maxWaiting });
      this.#changes.notify();
      return !wasOn;
    });
  }

  /** Let the clients of a rule that wait go on. Returns how many did; null when none was to wait. */
  release(src: SourceSpec): Promise<number | null> {
    return this.#gate.pass(src.listenKey, async () => {
      const rule = this.#table.find(src);
      if (!(rule instanceof Rule) || !rule.hold.isOn) return null;
      const waiting = rule.hold.end();
      this.#changes.notify();
      return waiting;
    });
  }

  /**
   * In a process that was replaced: clients of these rules that wait are to go to `dst` (default: where they were to
   * go), and unless the rule is still held they go on. Returns how many did.
   */
  settle(
    isMeant: (src: SourceSpec) => boolean,
    { dst, isHeld }: { dst?: DestinationSpec | undefined; isHeld: boolean },
  ): number {
    const orphans = this.#table.heldOrphans().filter(({ src }) => isMeant(src));
    let waiting = 0;
    for (const { src: source, destination, hold } of orphans) {
      if (dst && destination.spec.key !== dst.key) {
        const next =
          this.#table.destination({ src: source, dst }) ?? this.#opener.openDestination({ src: source, dst });
        this.#table.moveHold(hold, { src: source, destination: next });
        hold.route(next.upstream);
        this.#draining.watch(next);
      }
      if (!isHeld) waiting += hold.end();
    }
    if (orphans.length > 0) this.#changes.notify();
    return waiting;
  }
}
