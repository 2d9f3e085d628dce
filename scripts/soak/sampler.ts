/** What the processes of grace use, looked at again and again, and whether it grows. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Daemon } from './daemon.ts';

/** What one process has. */
export type Use = { pssMb: number; descriptors: number; threads: number };

/** One look. Predecessors that still finish connections are counted as one. */
export type Sample = {
  /** Seconds since the beginning. */
  at: number;
  /** Connections that the clients have open. */
  open: number;
  daemon: Use;
  keeper: Use;
  predecessors: Use & { count: number };
};

/** What a process uses now; null when it has ended. */
export function useOf(pid: number): Use | null {
  try {
    const pss = /^Pss: +([0-9]+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
    if (pss === undefined) return null;
    return {
      pssMb: Number(pss) / 1024,
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
      threads: threadsOf(pid),
    };
  } catch {
    return null;
  }
}

/** Without the pool of libuv, all of which comes with the first lookup of a name or use of a file. */
function threadsOf(pid: number): number {
  const isOwn = (tid: string) => !readFileSync(`/proc/${pid}/task/${tid}/comm`, 'latin1').startsWith('libuv-worker');
  return readdirSync(`/proc/${pid}/task`).filter(isOwn).length;
}

/** Look at all processes of a daemon; null when one that serves is not there at the moment. */
export function takeSample(daemon: Daemon, { at, open }: { at: number; open: number }): Sample | null {
  const [serving, keeper] = [useOf(daemon.pid), useOf(daemon.keeper.pid ?? 0)];
  if (!serving || !keeper) return null;
  const others = daemon.predecessors.flatMap((pid) => useOf(pid) ?? []);
  const sum = (of: (use: Use) => number) => others.reduce((total, use) => total + of(use), 0);
  return {
    at,
    open,
    daemon: serving,
    keeper,
    predecessors: {
      count: others.length,
      pssMb: sum((use) => use.pssMb),
      descriptors: sum((use) => use.descriptors),
      threads: sum((use) => use.threads),
    },
  };
}

/** A straight line through points by least squares. */
export type Line = { slope: number; slopeError: number; mean: number; first: number; last: number; count: number };

/** A value at a time, while so many predecessors were there. */
export type Point = { x: number; y: number; predecessors: number };

/**
 * The line with the least squares through these points; its slope is per unit of x, its error one standard error. What a
 * value owes to the number of predecessors, each of which has a share of its own, is taken off first, of it and
 * of x (the theorem of Frisch and Waugh): so the slope is that of times at which there were equally many.
 */
export function fitLine(points: readonly Point[]): Line {
  const count = points.length;
  const predecessors = deviations(points.map((point) => point.predecessors));
  const xs = without(deviations(points.map(({ x }) => x)), predecessors);
  const ys = without(deviations(points.map(({ y }) => y)), predecessors);
  const spread = product(xs, xs);
  const slope = spread === 0 ? 0 : product(xs, ys) / spread;
  const rest = without(ys, xs);
  return {
    slope,
    slopeError: count > 3 && spread > 0 ? Math.sqrt(product(rest, rest) / (count - 3) / spread) : 0,
    mean: points.reduce((sum, { y }) => sum + y, 0) / count,
    first: points[0]?.y ?? NaN,
    last: points.at(-1)?.y ?? NaN,
    count,
  };
}

function deviations(values: readonly number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

function product(left: readonly number[], right: readonly number[]): number {
  return left.reduce((sum, value, index) => sum + value * right[index]!, 0);
}

/** What is left of deviations when the part that goes with others is taken off. */
function without(values: readonly number[], others: readonly number[]): number[] {
  const size = product(others, others);
  const share = size === 0 ? 0 : product(values, others) / size;
  return values.map((value, index) => value - share * others[index]!);
}

/** A figure that is not to grow: by how much it may within a run, before it is called steep. */
export type Watched = { name: string; unit: string; mayGrow: number; of: (sample: Sample) => number };

/** What is watched. Each open connection has two descriptors in one process or another: the rest is what may leak. */
export const watched: readonly Watched[] = [
  { name: 'daemon, memory', unit: 'MB', mayGrow: 24, of: ({ daemon }) => daemon.pssMb },
  { name: 'keeper, memory', unit: 'MB', mayGrow: 4, of: ({ keeper }) => keeper.pssMb },
  {
    name: 'daemon, descriptors besides connections',
    unit: '',
    mayGrow: 200,
    of: ({ daemon, predecessors, open }) => daemon.descriptors + predecessors.descriptors - 2 * open,
  },
  { name: 'keeper, descriptors', unit: '', mayGrow: 8, of: ({ keeper }) => keeper.descriptors },
  { name: 'daemon, threads', unit: '', mayGrow: 2, of: ({ daemon }) => daemon.threads },
  { name: 'keeper, threads', unit: '', mayGrow: 2, of: ({ keeper }) => keeper.threads },
];

/** How a figure went over the samples after the warm-up. */
export type Trend = { watched: Watched; line: Line; growth: number; isSteep: boolean };

/** Fewest samples that a slope is computed of. */
export const fewestSamples = 10;

/**
 * The trends of all that is watched, over samples after the warm-up; none where they are too few. Steep is what has
 * grown by more than it may, with twice the error of the slope taken off.
 */
export function trendsOf(samples: readonly Sample[], { warmUpSeconds }: { warmUpSeconds: number }): Trend[] {
  const warm = samples.filter(({ at }) => at >= warmUpSeconds);
  if (warm.length < fewestSamples) return [];
  const seconds = warm.at(-1)!.at - warm[0]!.at;
  return watched.map((each) => {
    const line = fitLine(
      warm.map((sample) => ({ x: sample.at, y: each.of(sample), predecessors: sample.predecessors.count })),
    );
    const growth = line.slope * seconds;
    return { watched: each, line, growth, isSteep: growth - 2 * line.slopeError * seconds > each.mayGrow };
  });
}
