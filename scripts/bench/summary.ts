/** Medians, and ratios to a peer that is known. */
import type { Rounds } from './interleave.ts';
import type { Figures } from './measure.ts';

export type Figure = {
  /** Over the rounds. */
  median: number;
  /** Median of the ratios to the reference in each single round, in which the machine was equally busy with other things; null without one. */
  ratio: number | null;
};

export type Row = {
  peer: string;
  figures: Readonly<Record<string, Figure>>;
  /** Rounds that it failed in. */
  failures: number;
};

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A row for each peer that came through one round at least. */
export function summarize(rounds: Rounds, reference: string | null): Row[] {
  const base = reference === null ? undefined : rounds.get(reference);
  return [...rounds].flatMap(([peer, all]) => {
    const done = all.filter((figures) => figures !== null);
    const [first] = done;
    if (!first) return [];
    const ratioOf = (name: string) =>
      median(all.flatMap((figures, round) => ratioIn(figures, base?.[round] ?? null, name)));
    const figures = Object.keys(first).map((name) => [
      name,
      { median: median(done.map((each) => each[name]!)), ratio: finiteOrNull(ratioOf(name)) },
    ]);
    return [{ peer, figures: Object.fromEntries(figures), failures: all.length - done.length }];
  });
}

function ratioIn(figures: Figures | null, base: Figures | null, name: string): number[] {
  const [value, reference] = [figures?.[name], base?.[name]];
  return value === undefined || reference === undefined ? [] : [value / reference];
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** The same table of several runs as one: medians of the medians, and of the ratios. */
export function combine(runs: readonly (readonly Row[])[]): Row[] {
  const peers = [...new Set(runs.flat().map(({ peer }) => peer))];
  return peers.map((peer) => {
    const rows = runs.flat().filter((row) => row.peer === peer);
    const names = Object.keys(rows[0]!.figures);
    const figures = names.map((name) => {
      const each = rows.flatMap((row) => row.figures[name] ?? []);
      const ratios = each.flatMap(({ ratio }) => ratio ?? []);
      return [
        name,
        { median: median(each.map((figure) => figure.median)), ratio: ratios.length === 0 ? null : median(ratios) },
      ];
    });
    return { peer, figures: Object.fromEntries(figures), failures: rows.reduce((sum, row) => sum + row.failures, 0) };
  });
}
