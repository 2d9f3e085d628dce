/**
 * The heart: which rules there are, what switching and stopping does to their connections, and who
 * still has to end. It opens nothing itself: listeners come from `openListener`, bytes are moved by
 * the engine, and every change is stored by `save` before it takes effect.
 *
 * The rules are in table.ts. What a person or program asks for is done here, a change of one rule at a
 * time (gate.ts, transactions.ts, switching.ts, redescribe.ts), or in holding.ts and timed-drains.ts; what comes by itself,
 * in adoption.ts and restoration.ts.
 */
import { GraceError } from '../error.ts';
import { Adoption } from './adoption.ts';
import type { Destination, DestinationSpec } from './destination.ts';
import { Draining } from './draining.ts';
import { ChangeGate } from './gate.ts';
import { Holding } from './holding.ts';
import { Ledger } from './ledger.ts';
import { RuleOpener } from './opener.ts';
import type { ForwarderOptions } from './options.ts';
import { redescribe } from './redescribe.ts';
import { Restoration } from './restoration.ts';
import { isSameRouting, routingWith } from './routing.ts';
import type { RoutingSpec } from './routing.ts';
import { routeRule } from './switching.ts';
import { standStill } from './standstill.ts';
import type { Standstill } from './standstill.ts';
import { Rule } from './rule.ts';
import { makeInSeries } from './in-series.ts';
import type { Series } from './series.ts';
import { Starting, mustBeFreeIn } from './starting.ts';
import type { RuleSpec, SourceSpec } from './rule.ts';
import { RuleTable, alreadyForwarded } from './table.ts';
import type { BrokenRule, DestinationView } from './table.ts';
import { TimedDrains } from './timed-drains.ts';
import { Transactions } from './transactions.ts';
import type { Trial } from './trial.ts';
import { Trials } from './trials.ts';

/** How much of the new connections is switched (default: all, 100), and for how long they are watched first. */
export type SwitchOptions = { percent?: number | undefined; trialMs?: number | undefined };

/** `isUpsert`: a rule that is on the address already is changed. */
type StartOptions = { isUpsert?: boolean; series?: Series | undefined };

/** All rules of a daemon, and how they are changed: started, switched, stopped. */
export class Forwarder {
  readonly adoption: Adoption;
  readonly restoration: Restoration;
  readonly holding: Holding;
  readonly timedDrains: TimedDrains;
  readonly #options: ForwarderOptions;
  readonly #gate = new ChangeGate();
  readonly #table = new RuleTable();
  readonly #transactions: Transactions;
  readonly #parts: { gate: ChangeGate; transactions: Transactions };
  readonly #opener: RuleOpener;
  readonly #starting: Starting;
  /** What this process counts of the connections of each source. */
  readonly ledger: Ledger;
  readonly #draining: Draining;
  readonly #trials: Trials;

  constructor(options: ForwarderOptions) {
    const parts = { ...options, gate: this.#gate, table: this.#table, ledger: new Ledger() };
    this.ledger = parts.ledger;
    this.#options = options;
    this.#transactions = new Transactions({ ...parts, specs: () => this.stored });
    this.#parts = { gate: this.#gate, transactions: this.#transactions };
    this.#opener = new RuleOpener(parts);
    this.#starting = new Starting({ ...parts, transactions: this.#transactions, opener: this.#opener });
    this.#draining = new Draining(parts);
    this.timedDrains = new TimedDrains(parts);
    this.#trials = new Trials({ ...parts, transactions: this.#transactions, draining: this.#draining });
    this.adoption = new Adoption({ ...parts, opener: this.#opener, draining: this.#draining, trials: this.#trials });
    this.restoration = new Restoration({ ...parts, opener: this.#opener });
    this.holding = new Holding({ ...parts, opener: this.#opener, draining: this.#draining });
  }

  get rules(): readonly Rule[] {
    return this.#table.rules;
  }

  get broken(): readonly BrokenRule[] {
    return this.#table.broken;
  }

  /** Every rule as it is, served or not, in the order in which they were started. */
  get specs(): RuleSpec[] {
    return this.#table.specs;
  }

  /** Every rule as it is stored: a switch on trial is not. */
  get stored(): RuleSpec[] {
    return this.#table.stored;
  }

  get hasRules(): boolean {
    return !this.#table.isEmpty;
  }

  /** Every destination: of each rule the current one first, then earlier ones that have connections; then those of stopped rules. */
  views(): DestinationView[] {
    return this.#table.views();
  }

  get connections(): number {
    return this.views().reduce((sum, { destination }) => sum + destination.stats().connections, 0);
  }

  /** The rule of this source, by meaning or else by the address it listens on. Throws when there is none. */
  find(src: SourceSpec): SourceSpec {
    const rule = this.#table.find(src);
    return rule instanceof Rule ? rule.src : rule.spec.src;
  }

  /** The rule that is served on the address of this source. */
  servedAt(src: SourceSpec): Rule | undefined {
    return this.#table.sameAddress(src);
  }

  /** The source of the rule with this name. Throws when there is none (exit code 4). */
  named(name: string): SourceSpec {
    return this.#table.named(name);
  }

  /** Whether a switch of `src` to `dst` would change nothing. Throws when there is no such rule, or it cannot be. */
  isCurrent(src: SourceSpec, dst: DestinationSpec, { percent = 100 }: SwitchOptions = {}): boolean {
    const { spec } = this.#table.find(src);
    return isSameRouting(spec, routingWith(spec, { dst, percent }));
  }

  /** Where a rule goes. Throws when there is no such rule. */
  routing(src: SourceSpec): RoutingSpec {
    return this.#table.find(src).spec;
  }

  /** The switch of `src` that is not for good yet; null when there is none. Throws when there is no such rule. */
  trialOf(src: SourceSpec): Trial | null {
    const rule = this.#table.find(src);
    return rule instanceof Rule ? rule.trial : null;
  }

  /** Whether a rule is being started, switched or stopped. */
  get isChanging(): boolean {
    return this.#gate.isBusy;
  }

  /**
   * Forward `src` to `dst`. Returns false when just this rule is being served already. A rule that is on
   * the address already is changed with `isUpsert`, without its socket being closed, and an error otherwise.
   */
  start(rule: RuleSpec, how: Pick<StartOptions, 'isUpsert'> = {}): Promise<boolean> {
    return this.#gate.pass(rule.src.listenKey, () => this.#start(rule, how));
  }

  /** The same of many rules, in order up to the first that fails, and stored with one write. Returns how each went, of that one as well. */
  startMany(
    rules: readonly RuleSpec[],
    how: Pick<StartOptions, 'isUpsert'> = {},
  ): Promise<PromiseSettledResult<boolean>[]> {
    return makeInSeries(rules, {
      ...this.#parts,
      sourceOf: ({ src }) => src,
      change: (rule, series) => this.#start(rule, { ...how, series }),
    });
  }

  async #start({ src, dst }: RuleSpec, { isUpsert = false, series }: StartOptions): Promise<boolean> {
    if (src.name !== undefined) mustBeFreeIn(this.specs, src);
    const existing = this.#table.sameAddress(src);
    if (!existing) {
      await this.#starting.start({ src, dst }, series);
      return true;
    }
    const isSame = existing.src.key === src.key && existing.current.spec.key === dst.key;
    if (isSame && (src.name ?? existing.src.name) === existing.src.name)
      return await this.restoration.listenAnew(existing);
    if (!isSame && !isUpsert) throw alreadyForwarded(existing, src);
    // Whoever calls it by the name that it has must go on finding it.
    if (existing.src.name !== undefined && !isUpsert)
      throw new GraceError(`${existing.src.typed} has the name ${existing.src.name} already`, {
        hint: `to give it the name ${src.name} instead, add --switch`,
      });
    await this.#change(existing, { src, dst }, series);
    return true;
  }

  /** The rule listens as `src` says from now on, on the same socket, and sends new connections to `dst`. */
  async #change(rule: Rule, { src, dst }: RuleSpec, series?: Series | undefined): Promise<void> {
    if (rule.current.spec.key !== dst.key) await this.#route(rule, { dst }, { series });
    const { describeListener } = this.#options;
    await redescribe(rule, src, {
      table: this.#table,
      transactions: this.#transactions,
      opener: this.#opener,
      describeListener,
      series,
    });
  }

  /**
   * New connections of `src` go to `dst`, or `percent` of them; open ones stay. Returns false when they did already.
   * With `trialMs` not for good, but on trial: see {@link trialOf} for how that goes.
   */
  switch(src: SourceSpec, dst: DestinationSpec, { trialMs, percent = 100 }: SwitchOptions = {}): Promise<boolean> {
    return this.#gate.pass(src.listenKey, async () => {
      const rule = this.#table.find(src);
      const next = routingWith(rule.spec, { dst, percent });
      const isOnTrial = rule instanceof Rule && rule.trial !== null;
      if (isSameRouting(rule.spec, next) && (!isOnTrial || trialMs !== undefined)) return false;
      if (rule instanceof Rule) await this.#route(rule, next, { trialMs, watched: dst });
      else {
        const spec = { src: rule.spec.src, ...next };
        await this.#transactions.commit(
          (specs) => specs.map((each) => (each === rule.spec ? spec : each)),
          () => this.restoration.addBroken(spec, rule.error),
        );
      }
      return true;
    });
  }

  #route(rule: Rule, next: RoutingSpec, how: Parameters<typeof routeRule>[2]): Promise<void> {
    return routeRule(rule, next, how, {
      transactions: this.#transactions,
      opener: this.#opener,
      trials: this.#trials,
      draining: this.#draining,
      ledger: this.ledger,
      check: (change) => this.#starting.check(change),
    });
  }

  /** Stop a rule: new connections are refused from now on. Returns the destinations whose connections go on. */
  stop(src: SourceSpec): Promise<Destination[]> {
    return this.#gate.pass(src.listenKey, () => this.#stop(src));
  }

  /** The same of many rules, as {@link startMany}. */
  stopMany(sources: readonly SourceSpec[]): Promise<PromiseSettledResult<Destination[]>[]> {
    return makeInSeries(sources, {
      ...this.#parts,
      sourceOf: (src) => src,
      change: (src, series) => this.#stop(src, series),
    });
  }

  async #stop(src: SourceSpec, series?: Series | undefined): Promise<Destination[]> {
    const rule = this.#table.find(src);
    const source = rule instanceof Rule ? rule.src : rule.spec.src;
    await this.#transactions.commit(
      (specs) => specs.filter((spec) => spec.src.key !== source.key),
      () => {
        if (rule instanceof Rule) rule.endTrial({ result: 'superseded' });
        this.#table.remove(source);
        if (!(rule instanceof Rule)) this.#opener.forget(rule.spec);
      },
      series,
    );
    return rule instanceof Rule ? await this.#draining.end([rule]) : [];
  }

  /**
   * Stop accepting on every rule, for ever: a change that has not been stored yet fails with the reason.
   * The rules stay stored. Returns all destinations with connections.
   */
  async stopAll(reason: Error): Promise<Destination[]> {
    this.#gate.close(reason);
    await this.#draining.end(this.#table.takeRules());
    await this.#transactions.settled; // a change that was being written down has taken effect
    await this.#draining.end(this.#table.takeRules());
    return this.views().map(({ destination }) => destination);
  }

  /** Hold changes back while a successor is made from the snapshot of all rules. Rejects with the signal's reason. */
  standStill(options: { signal?: AbortSignal } = {}): Promise<Standstill> {
    return standStill(
      {
        gate: this.#gate,
        table: this.#table,
        opener: this.#opener,
        draining: this.#draining,
        changes: this.#options.changes,
      },
      options,
    );
  }
}
