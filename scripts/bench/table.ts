/** Medians, ratios, and the table they are shown in. */
import type { Figures } from './measure.ts';

/** Of one section: for each peer the figures of each round. */
export type Rounds = ReadonlyMap<string, readonly Figures[]>;

export type Row = { peer: string; figures: Record<string, { median: number; ratio: number | null }> };

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Ratios are medians of the ratios of single rounds, in which the machine was equally busy with other things. */
export function summarize(rounds: Rounds, reference: string): Row[] {
  const base = rounds.get(reference);
  return [...rounds].map(([peer, figures]) => {
    const names = Object.keys(figures[0] ?? {});
    return {
      peer,
      figures: Object.fromEntries(names.map((name) => {
        const ratios = figures.map((each, round) => each[name]! / (base?.[round]?.[name] ?? NaN));
        return [name, { median: median(figures.map((each) => each[name]!)), ratio: base ? median(ratios) : null }];
      })),
    };
  });
}

export function printTable(title: string, rows: readonly Row[]): string {
  const names = Object.keys(rows[0]?.figures ?? {});
  const cells = [['', ...names], ...rows.map(({ peer, figures }) => [peer, ...names.map((name) => cell(figures[name]))])];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const lines = cells.map((row) => row.map((text, column) => (column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!))).join('  ').trimEnd());
  return [title, ...lines.map((line) => `  ${line}`)].join('\n');
}

function cell(figure: { median: number; ratio: number | null } | undefined): string {
  if (!figure || !Number.isFinite(figure.median)) return '-';
  const { median: value, ratio } = figure;
  const text = value >= 100 ? value.toFixed(0) : value.toPrecision(3);
  return ratio === null || !Number.isFinite(ratio) ? text : `${text} (${ratio.toFixed(2)})`;
}
