import { innerEndpoint } from '../endpoint/inner.ts';
import type { ServerEndpoint, ServerExtras } from '../endpoint/model.ts';
import type { AdoptOptions } from '../engine/engine.ts';
import type { Listener } from '../net/listener.ts';
import type { CarriedStats, DestinationSpec } from './destination.ts';
import type { Draining } from './draining.ts';
import type { RuleOpener } from './opener.ts';
import { destinationsOf, routingOf } from './routing.ts';
import type { RoutingSpec } from './routing.ts';
import type { ForwarderOptions } from './options.ts';
import type { RuleSpec, SourceSpec } from './rule.ts';
import type { RuleTable } from './table.ts';
import { Trial } from './trial.ts';
import type { Trials } from './trials.ts';

/** What has a part in it. */
export type AdoptionOptions = Pick<ForwarderOptions, 'observe' | 'changes' | 'total'> & {
  table: RuleTable;
  opener: RuleOpener;
  draining: Draining;
  trials: Trials;
};

/** What comes with a rule: counters of its destination, and of the others that it has or may go back to. */
export type AdoptedRule = CarriedStats & {
  others?: readonly (CarriedStats & { dst: DestinationSpec })[] | undefined;
  /** A switch that is on trial: where the rule goes back to, what is watched, and what is left of the time, in milliseconds. */
  trial?: { before: RoutingSpec; watched: DestinationSpec; leftMs: number } | undefined;
  /** It is held: so many clients may wait. */
  maxWaiting?: number | undefined;
};

/** Takes over what other processes of the daemon have or had: rules with their listeners, places of clients, open connections, counters. */
export class Adoption {
  readonly #options: AdoptionOptions;

  constructor(options: AdoptionOptions) {
    this.#options = options;
  }

  /**
   * Take over a rule with the listener it had in an earlier process. One with a limit accepts nobody
   * before `reserve` has said how many connections other processes have.
   */
  adoptRule(spec: RuleSpec, listener: Listener, { others = [], trial, maxWaiting, ...carried }: AdoptedRule): void {
    const { table, opener, trials } = this.#options;
    const { src } = spec;
    for (const { dst, ...stats } of others) opener.carry({ src, dst }, stats);
    const rule = opener.serve({ ...spec, listener, carried, isFull: true, maxWaiting });
    table.add(rule);
    if (!trial) return;
    const before = routingOf(
      trial.before,
      (dst) =>
        rule.destination(dst.key) ??
        opener.openDestination(
          { src, dst },
          others.find((each) => each.dst.key === dst.key),
        ),
    );
    for (const { spec: dst } of destinationsOf(before)) opener.forget({ src, dst });
    const destination = rule.destination(trial.watched.key) ?? rule.current;
    const adopted = new Trial({ destination, before, forMs: trial.leftMs });
    rule.adoptTrial(adopted);
    trials.follow(rule, adopted);
  }

  /** No other process accepts on the sockets of the rules any more. */
  acceptAlone(): void {
    for (const { frontend } of this.#options.table.rules) frontend.lookInQueue?.();
  }

  /** So many connections of each rule with a limit are other processes'. */
  reserve(countOf: (src: SourceSpec) => number): void {
    for (const { src, slots } of this.#options.table.rules) slots?.reserve(countOf(src));
  }

  /** So many connections, of all rules together and of each, are other processes'. */
  reserveTotal({ all, of }: { all: number; of: (src: SourceSpec) => number }): void {
    const { total, table } = this.#options;
    if (!total) return;
    for (const { src, frontend } of table.rules) frontend.countElsewhere?.(of(src));
    total.rules = table.rules.length;
    total.reserve(all);
  }

  /** What addresses have in other processes counts for the limits of a rule: rows of numbers; null leaves what was said before. */
  reserveAddresses(rowsOf: (src: SourceSpec) => readonly (readonly number[])[] | null): void {
    for (const { src, admission } of this.#options.table.rules) {
      const rows = admission?.isCounting ? rowsOf(src) : null;
      if (rows !== null) admission?.setElsewhere(rows);
    }
  }

  /** Whether places are reserved for connections of other processes. */
  get hasReserved(): boolean {
    if ((this.#options.total?.reserved ?? 0) > 0) return true;
    return this.#options.table.rules.some(
      ({ slots, admission }) => (slots !== null && slots.reserved > 0) || admission?.hasElsewhere,
    );
  }

  /**
   * Connections of an earlier process come over: `adopt` is called with where they belong, which is
   * the destination of their rule, one that it had before, or one of a rule that was stopped. Throws
   * what `adopt` throws.
   */
  receive({ src, dst }: RuleSpec, since: string, adopt: (options: AdoptOptions) => void): void {
    const { table, opener, draining, observe, changes, total } = this.#options;
    const rule = table.get(src);
    const known = table.destination({ src, dst });
    const destination = known ?? opener.openDestination({ src, dst }, { since, bytesIn: 0, bytesOut: 0 });
    const { idle: idleMs = null, lifetime: lifetimeMs = null, buffer: bufferBytes = null } = extrasOf(src.endpoint);
    try {
      const slots = rule?.slots ?? null;
      const before = destination.stats().connections;
      adopt({
        upstream: destination.upstream,
        frontend: rule?.frontend ?? null,
        observer: observe(src),
        idleMs,
        lifetimeMs,
        bufferBytes,
        slots,
        admission: rule?.admission ?? null,
        hold: rule?.hold ?? null,
      });
      // They have places of their own now.
      const adopted = destination.stats().connections - before;
      for (const places of [slots, total]) places?.reserve(Math.max(0, places.reserved - adopted));
    } catch (error) {
      if (!known) destination.forget();
      throw error;
    }
    if (!known && rule) rule.addEarlier(destination);
    else if (!known) table.addOrphan(src, destination);
    if (destination !== rule?.current) draining.watch(destination);
    changes.notify();
  }

  /** What an earlier process counted of a destination in all. Returns whether it is known here. */
  carry(spec: RuleSpec, carried: CarriedStats): boolean {
    const destination = this.#options.table.destination(spec);
    destination?.carry(carried);
    return destination !== undefined;
  }

  /** What a process moved that has ended since, of a rule that is served here; of any other nothing is said any more. */
  add({ srcKey, dstKey }: { srcKey: string; dstKey: string }, bytes: Pick<CarriedStats, 'bytesIn' | 'bytesOut'>): void {
    if (bytes.bytesIn + bytes.bytesOut === 0) return;
    this.#options.table.viewed(srcKey, dstKey)?.add(bytes);
  }
}

function extrasOf(endpoint: ServerEndpoint): ServerExtras {
  const inner = innerEndpoint(endpoint);
  return inner.type === 'stdio' ? {} : inner;
}
