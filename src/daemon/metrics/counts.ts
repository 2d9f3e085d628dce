/**
 * What one or more processes of a daemon have counted, by names: as it travels to a successor, lies in the state dir
 * and is added up. Counts are only ever added to, so that the sum over all processes never goes back.
 */
import type { Counts, SourceCounts } from '../../control/shapes.ts';
import type { SourceTally } from '../../forward/ledger.ts';
import { tallyFields } from '../../engine/tally.ts';

/** Nothing counted yet. */
export function noCounts(): Counts {
  return { sources: [], daemon: {} };
}

/** The counts of a process, of what it forwarded and of itself. Zeros are left out. */
export function countsOf(tallies: readonly SourceTally[], daemon: Readonly<Record<string, number>>): Counts {
  const sources = tallies.map(({ key, src, tally, connections }): SourceCounts => {
    const numbers: Record<string, number> = {};
    tallyFields.forEach((name, at) => {
      if (tally[at] !== 0) numbers[name] = tally[at]!;
    });
    return { key, src, connections, numbers };
  });
  return { sources, daemon: { ...daemon } };
}

/** The same for another process or a file, where a source of which nothing was counted says nothing. */
export function withoutUnused({ sources, daemon }: Counts): Counts {
  const isUsed = ({ connections, numbers }: SourceCounts) => connections > 0 || Object.keys(numbers).length > 0;
  return { daemon, sources: sources.filter(isUsed) };
}

/** Both together. A source goes by the name that the first one has for it. */
export function addCounts(first: Counts, second: Counts): Counts {
  const sources = new Map(first.sources.map((each) => [each.key, each]));
  for (const each of second.sources) {
    const known = sources.get(each.key);
    sources.set(each.key, known === undefined ? each : addSources(known, each));
  }
  return { sources: [...sources.values()], daemon: addNumbers(first.daemon, second.daemon) };
}

function addSources(first: SourceCounts, second: SourceCounts): SourceCounts {
  return {
    key: first.key,
    src: first.src,
    connections: first.connections + second.connections,
    numbers: addNumbers(first.numbers, second.numbers),
  };
}

function addNumbers(first: Record<string, number>, second: Record<string, number>): Record<string, number> {
  const sum = { ...first };
  for (const [name, number] of Object.entries(second)) sum[name] = (sum[name] ?? 0) + number;
  return sum;
}

/** The last counts of a process that has ended. What it had open when it said so ended without a word. */
export function countsOfEnded({ sources, daemon }: Counts): Counts {
  return {
    daemon,
    sources: sources.map(({ connections, numbers, ...source }) => ({
      ...source,
      connections: 0,
      numbers: connections === 0 ? numbers : addNumbers(numbers, { 'end crash': connections }),
    })),
  };
}
