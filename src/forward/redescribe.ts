import { openAdmission } from '../engine/admission/admission.ts';
import { slotsOf } from '../engine/slots.ts';
import type { Listener } from '../net/listener.ts';
import type { RuleOpener } from './opener.ts';
import type { ForwarderOptions } from './options.ts';
import type { Rule, SourceSpec } from './rule.ts';
import type { Series } from './series.ts';
import type { RuleTable } from './table.ts';
import type { Transactions } from './transactions.ts';

/** What has a part in it. */
export type RedescribeOptions = {
  table: RuleTable;
  transactions: Transactions;
  opener: RuleOpener;
  describeListener: ForwarderOptions['describeListener'];
  /** What it is stored with. */
  series?: Series | undefined;
};

/**
 * Have a rule that is served listen as `src` says from now on, on the same socket; it keeps its name
 * unless that says another. When it fails the rule accepts again as before.
 */
export async function redescribe(
  rule: Rule,
  src: SourceSpec,
  { table, transactions, opener, describeListener, series }: RedescribeOptions,
): Promise<void> {
  const name = src.name ?? rule.src.name;
  const from = rule.src;
  const to = { ...src, ...(name === undefined ? {} : { name }) };
  if (from.key === to.key && from.name === name) return;
  const before = rule.slots;
  const fresh = slotsOf(to.endpoint);
  const limit = before?.limit;
  // The clients that are there count for another limit too; for the first one they do not, having no places.
  const slots = fresh && before ? before : fresh;
  const admission = from.key === to.key ? rule.admission : openAdmission(to.endpoint, rule.admission);
  const wasAdmission = rule.admission;
  if (fresh && before) before.limit = fresh.limit;
  // Clients wait in the queue of the socket meanwhile.
  if (from.key !== to.key) await rule.pause();
  let isDescribed = false;
  try {
    await transactions.commit(
      (specs) => specs.map((each) => (each.src === from ? { ...each, src: to } : each)),
      () => {
        if (from.key !== to.key) {
          describeListener?.(rule.listener, { from, to });
          isDescribed = true;
          const { listener, routing, hold } = rule;
          rule.resume(opener.openFrontend({ src: to, listener, routing, slots, admission, hold }), {
            slots,
            admission,
          });
        }
        table.describe(rule, to);
      },
      series,
    );
  } catch (error) {
    if (before && limit !== undefined) before.limit = limit;
    if (from.key !== to.key) {
      await rule.pause();
      if (isDescribed) describeBack(rule.listener, { from: to, to: from }, describeListener);
      rule.resume(
        opener.openFrontend({
          src: from,
          listener: rule.listener,
          routing: rule.routing,
          slots: before,
          admission: wasAdmission,
          hold: rule.hold,
        }),
        { slots: before, admission: wasAdmission },
      );
    }
    throw error;
  }
}

/** A change came to nothing. Whatever the socket cannot take back stays: the rule has to accept again in any case. */
function describeBack(
  listener: Listener,
  change: { from: SourceSpec; to: SourceSpec },
  describeListener: RedescribeOptions['describeListener'],
): void {
  try {
    describeListener?.(listener, change);
  } catch {
    // Whoever asked for the change hears why it failed.
  }
}
