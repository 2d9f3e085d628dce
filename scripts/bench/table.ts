/** Tables as text. */
import type { Figure, Row } from './summary.ts';

/** Columns of text, the first one to the left, the others to the right. */
export function alignColumns(cells: readonly (readonly string[])[]): string[] {
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells.map((row) =>
    row
      .map((text, column) => (column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  );
}

export function printTable(title: string, rows: readonly Row[]): string {
  const names = Object.keys(rows[0]?.figures ?? {});
  const cells = [
    ['', ...names],
    ...rows.map(({ peer, figures }) => [peer, ...names.map((name) => cell(figures[name]))]),
  ];
  return [title, ...alignColumns(cells).map((line) => `  ${line}`)].join('\n');
}

function cell(figure: Figure | undefined): string {
  if (!figure || !Number.isFinite(figure.median)) return '-';
  const { median: value, ratio } = figure;
  const text = Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
  return ratio === null ? text : `${text} (${ratio.toFixed(2)})`;
}
