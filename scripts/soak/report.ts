/** What a soak prints while it runs, and at its end. */
import { alignColumns } from '../bench/table.ts';
import type { Accounts } from './accounts.ts';
import type { Sample, Trend } from './sampler.ts';
import type { Use } from './sampler.ts';

/** Most failures that are printed one by one. */
const failuresShown = 40;

/** One line of what is used. */
export function sampleLine({ daemon, keeper, predecessors, open }: Sample): string {
  const use = ({ pssMb, descriptors, threads }: Use) =>
    `${pssMb.toFixed(0)} MB, ${descriptors} descriptors, ${threads} threads`;
  const before = predecessors.count === 0 ? '' : `; ${predecessors.count} before it ${use(predecessors)}`;
  return `${open} open; daemon ${use(daemon)}${before}; keeper ${use(keeper)}`;
}

/** The summary at the end. */
export function summary({
  accounts,
  events,
  trends,
}: {
  accounts: Accounts;
  events: ReadonlyMap<string, number>;
  trends: readonly Trend[];
}): string {
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);
  const rows = [...accounts.tallies].map(([kind, { done, bytesUp, bytesDown, explained, failed }]) => [
    kind,
    ...[done, explained, failed].map(String),
    megabytes(bytesUp),
    megabytes(bytesDown),
  ]);
  const total = [...accounts.tallies.values()].reduce(
    (sum, { done, explained, failed, bytesUp, bytesDown }) => [
      sum[0]! + done,
      sum[1]! + explained,
      sum[2]! + failed,
      sum[3]! + bytesUp,
      sum[4]! + bytesDown,
    ],
    [0, 0, 0, 0, 0],
  );
  const connections = alignColumns([
    ['connections', 'in order', 'explained', 'unexplained', 'MB up', 'MB down'],
    ...rows,
    ['all', ...total.slice(0, 3).map(String), ...total.slice(3).map(megabytes)],
  ]);
  const happened = alignColumns([
    ['events', 'times', 'connections that they cost'],
    ...[...events].map(([name, times]) => [name, String(times), String(accounts.explained.get(name) ?? 0)]),
  ]);
  const figures =
    trends.length === 0
      ? ['too few samples for slopes: run it for longer']
      : alignColumns([
          ['figures, after the warm-up', 'mean', 'first', 'last', 'slope per minute', 'grown by', 'may', ''],
          ...trends.map(({ watched: { name, unit, mayGrow }, line, growth, isSteep }) => {
            const text = (value: number) => `${value.toFixed(1)}${unit === '' ? '' : ` ${unit}`}`;
            return [
              name,
              ...[line.mean, line.first, line.last].map(text),
              `${(60 * line.slope).toFixed(2)} ± ${(60 * line.slopeError).toFixed(2)}`,
              ...[growth, mayGrow].map(text),
              isSteep ? 'STEEP' : 'flat',
            ];
          }),
        ]);
  return [...connections, '', ...happened, '', ...figures].join('\n');
}

/** The failures, as many as a person reads. */
export function failureLines(failures: readonly string[]): string {
  const more = failures.length - failuresShown;
  return [...failures.slice(0, failuresShown), ...(more > 0 ? [`and ${more} more`] : [])]
    .map((text) => `  ${text}`)
    .join('\n');
}
