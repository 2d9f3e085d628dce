import type { Destination, DestinationSpec } from './destination.ts';
import type { Draining } from './draining.ts';
import type { Ledger } from './ledger.ts';
import type { RuleOpener } from './opener.ts';
import { destinationsOf, isSameRouting, routingOf, routingSpec, specsOf } from './routing.ts';
import type { RoutingSpec } from './routing.ts';
import type { Listener } from '../net/listener.ts';
import type { Rule, RuleSpec } from './rule.ts';
import type { Series } from './series.ts';
import type { Transactions } from './transactions.ts';
import { Trial } from './trial.ts';
import type { Trials } from './trials.ts';

/** What has a part in a switch. */
export type RoutingParts = {
  check: (rule: RuleSpec & { listener: Listener }) => Promise<void>;
  transactions: Transactions;
  opener: RuleOpener;
  trials: Trials;
  draining: Draining;
  ledger: Ledger;
};

/** For how long it is tried, in milliseconds, and which destination is; and with which other changes it is stored. */
export type RouteOptions = {
  trialMs?: number | undefined;
  watched?: DestinationSpec;
  series?: Series | undefined;
};

/**
 * New connections of a rule go as `next` says from now on; what was opened for it and is not used is given back. `watched`: with
 * `trialMs`, the destination that is tried. Throws GraceError when it cannot be opened or stored; nothing has changed then.
 */
export async function routeRule(
  rule: Rule,
  next: RoutingSpec,
  { trialMs, watched = next.dst, series }: RouteOptions,
  { transactions, opener, trials, draining, ledger, check }: RoutingParts,
): Promise<void> {
  for (const dst of specsOf(next)) await check({ src: rule.src, dst, listener: rule.listener });
  const fresh = new Map<string, Destination>();
  const destinationOf = (dst: DestinationSpec): Destination => {
    const known = rule.destination(dst.key) ?? fresh.get(dst.key);
    if (known) return known;
    const opened = opener.openDestination({ src: rule.src, dst });
    fresh.set(dst.key, opened);
    return opened;
  };
  const previous = rule.routing;
  const before = rule.trial?.before ?? previous;
  // Back to where it goes for good there is nothing to try.
  const isTrial = trialMs !== undefined && !isSameRouting(next, routingSpec(before));
  try {
    for (const dst of specsOf(next)) destinationOf(dst);
    await transactions.commit(
      (specs) => (isTrial ? specs : specs.map((each) => (each.src === rule.src ? { src: each.src, ...next } : each))),
      // Whether an earlier one still has connections is asked now: it may have drained while the change was stored.
      () => {
        const routing = routingOf(next, destinationOf);
        const trial = isTrial ? new Trial({ destination: destinationOf(watched), before, forMs: trialMs }) : null;
        rule.route(routing, { trial });
        if (trial) trials.follow(rule, trial);
        ledger.switches++;
      },
      series,
    );
  } finally {
    const used = destinationsOf(rule.routing);
    for (const each of fresh.values()) if (!used.includes(each)) each.forget();
  }
  for (const each of new Set([...destinationsOf(previous), ...destinationsOf(before)])) draining.watch(each);
}
