/** The limits of rules and of all connections (`maxconn`) over processes: connections that older generations serve have their places too. */
import { within } from '../../waiting.ts';
import type { KeyedRow } from '../../control/shapes.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import type { Service } from '../service.ts';

/** Older generations are asked so often how many connections they still have, in milliseconds; only while a limit hangs on it. */
const askMs = 1000;

/** Keep the places of all rules up to date until the signal comes. Rejects with its reason. */
export async function followPlaces(
  { forwarder, generations, changes }: Pick<Service, 'forwarder' | 'generations' | 'changes'>,
  signal: AbortSignal,
): Promise<never> {
  for (;;) {
    await generations.refresh();
    signal.throwIfAborted();
    const rows = generations.reports.flatMap((report) => report.rows);
    const of = connectionsOf(rows);
    forwarder.adoption.reserve(of);
    forwarder.adoption.reserveTotal({ all: sumOf(rows), of });
    const addresses = generations.reports.flatMap((report) => report.addresses ?? []);
    forwarder.adoption.reserveAddresses(({ key }) =>
      addresses.filter(({ srcKey }) => srcKey === key).map(({ row }) => row),
    );
    const next = new AbortController();
    const change = changes.next(AbortSignal.any([signal, next.signal]));
    try {
      await (forwarder.adoption.hasReserved ? within(change, askMs, { ref: false }) : change);
    } finally {
      next.abort(new Error('over'));
    }
  }
}

/** Tells how many connections of a source are in these rows. */
export function connectionsOf(rows: readonly KeyedRow[]): (src: SourceSpec) => number {
  const sums = new Map<string, number>();
  for (const { srcKey, row } of rows) sums.set(srcKey, (sums.get(srcKey) ?? 0) + row.connections);
  return ({ key }) => sums.get(key) ?? 0;
}

/** How many connections are in these rows. */
export function sumOf(rows: readonly KeyedRow[]): number {
  return rows.reduce((sum, { row }) => sum + row.connections, 0);
}
