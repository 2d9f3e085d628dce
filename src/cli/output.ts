/** How everything that commands print looks: tables, JSON, errors, sizes. */
import { stripVTControlCharacters, styleText } from 'node:util';
import { GraceError, errorMessage } from '../error.ts';
import { oneLine, visible, visibleJson } from '../one-line.ts';
import type { Context, Output } from './context.ts';

/** A line, or several, and the newline after it. */
export function printLine(output: Output, text: string): void {
  output.write(`${text}\n`);
}

/** JSON as a program reads it, on one line; indented on a terminal. */
export function printJson({ stdout, isTTY }: Context, value: unknown): void {
  printLine(stdout, visibleJson(JSON.stringify(value, null, isTTY ? 2 : 0)));
}

/** A line that is no result, for a person: on stderr. */
export function printNote({ stderr }: Context, note: string): void {
  printLine(stderr, `note: ${oneLine(note)}`);
}

/** `grace: what is wrong`, and the hint on a line of its own. A stack trace is for GRACE_DEBUG. */
export function printError({ stderr, env }: Pick<Context, 'stderr' | 'env'>, error: unknown): void {
  printLine(stderr, `grace: ${oneLine(errorMessage(error))}`);
  if (error instanceof GraceError) {
    if (error.hint !== undefined) printLine(stderr, `hint: ${oneLine(error.hint)}`);
    return;
  }
  printLine(stderr, 'hint: this is a mistake in grace; GRACE_DEBUG=1 shows where');
  if (env['GRACE_DEBUG'] && error instanceof Error && error.stack) printLine(stderr, error.stack);
}

/** A column of a table; numbers stand on the right. `mayCut`: its texts may be shortened where a terminal is too narrow. */
export type Column = { title: string; align?: 'left' | 'right'; mayCut?: boolean };

/** Print a table, no wider than the terminal; where it had to be cut, a note says so. */
export async function printTable(
  context: Context,
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): Promise<void> {
  const width = terminalWidth(context);
  const { text, isCut } = await fitTable(columns, rows, width);
  printLine(context.stdout, text);
  if (isCut) printNote(context, `cut to ${width} columns; all of it: add | cat`);
}

/** Columns of the terminal that is printed on; Infinity where there is none, or it does not know. */
export function terminalWidth({ isTTY, stdout }: Pick<Context, 'isTTY' | 'stdout'>): number {
  return isTTY ? stdout.columns || Infinity : Infinity;
}

/** Least width of a column that is cut: what tells its texts apart should be left. */
const MIN_CUT = 8;

/** A table no wider than so many columns: first the widest texts that may be are cut, then lines. */
export async function fitTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): Promise<{ text: string; isCut: boolean }> {
  // A column that none of the rows needs is left out at the end.
  const needed = rows.map((row) => row.slice(0, columns.length));
  const widths = columns.map(({ title }, at) => widest(needed, at, lengthOf, lengthOf(title)));
  let excess = widths.reduce((sum, each) => sum + each, 2 * (columns.length - 1)) - width;
  const isCut = excess > 0;
  const widestToCut = () =>
    columns.reduce<number>(
      (found, { mayCut }, at) =>
        mayCut && widths[at]! > MIN_CUT && (found === -1 || widths[at]! > widths[found]!) ? at : found,
      -1,
    );
  for (let at = widestToCut(); excess > 0 && at !== -1; at = widestToCut()) {
    widths[at]!--;
    excess--;
  }
  if (!isCut) return { text: await formatTable(columns, needed), isCut };
  const cut = needed.map((row) => row.map((text, at) => (columns[at]?.mayCut ? shortened(text, widths[at]!) : text)));
  const text = await formatTable(columns, cut);
  return {
    text: text
      .split('\n')
      .map((line) => shortened(line, width))
      .join('\n'),
    isCut,
  };
}

/** A text of so many columns at most; one that is cut ends in an ellipsis, and has no colour. */
export function shortened(text: string, width: number): string {
  if (lengthOf(text) <= width) return text;
  return `${stripVTControlCharacters(text).slice(0, Math.max(0, width - 1))}…`;
}

function lengthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}

/** Columns, two spaces apart, without borders; no spaces at the end of a line. */
export async function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): Promise<string> {
  const { default: widthOf } = await import('string-width');
  const widths = columns.map(({ title }, at) => widest(rows, at, widthOf, widthOf(title)));
  const line = (cells: readonly string[]) =>
    columns
      .map(({ align }, at) => {
        const cell = cells[at] ?? '';
        const padding = ' '.repeat(Math.max(0, widths[at]! - widthOf(cell)));
        return align === 'right' ? padding + cell : cell + padding;
      })
      .join('  ')
      .trimEnd();
  return [columns.map(({ title }) => title), ...rows].map(line).join('\n');
}

/** Width of the widest text of a column, and at least so much. */
function widest(
  rows: readonly (readonly string[])[],
  column: number,
  widthOf: (text: string) => number,
  least: number,
): number {
  return rows.reduce((most, row) => Math.max(most, widthOf(row[column] ?? '')), least);
}

/** Text in a colour, where the user wants colours. */
export function paint({ hasColors }: Context, style: 'green' | 'yellow' | 'red', text: string): string {
  return hasColors ? styleText(style, text, { validateStream: false }) : text;
}

/** `3 connections`, `1 connection` */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Bytes in people's units, powers of 1000: `0 B`, `1.5 kB`, `20 MB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let size = bytes;
  let unit = 0;
  // 999.5 would be shown as 1000 of the smaller unit.
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  const digits = unit > 0 && size < 9.95 ? 1 : 0;
  return `${size.toFixed(digits)} ${units[unit]}`;
}

/** Pauses between plain lines, in milliseconds: at first often, then seldom. */
const plainPauses = { soonMs: 1000, soon: 10, lateMs: 10_000 };

/** What a long wait says where no line can be written over: lines on stderr, when there is something new, and not too many. */
export class PlainLines {
  readonly #context: Context;
  #last = '';
  #count = 0;
  /** Of a wait that is soon over nothing is said. */
  #nextAt = performance.now() + plainPauses.soonMs;

  constructor(context: Context) {
    this.#context = context;
  }

  /** Say it, unless the same `fact` was said last, or the last line was just now. */
  show(fact: string, text: string): void {
    const now = performance.now();
    if (fact === this.#last || now < this.#nextAt) return;
    this.#last = fact;
    this.#nextAt = now + (++this.#count < plainPauses.soon ? plainPauses.soonMs : plainPauses.lateMs);
    printLine(this.#context.stderr, visible(text));
  }
}

/** A line on a terminal that is written over by the next one. Without a terminal it shows nothing. */
export class StatusLine implements Disposable {
  readonly #context: Context;
  #isShown = false;

  constructor(context: Context) {
    this.#context = context;
  }

  show(text: string): void {
    const { isTTY, env, stdout } = this.#context;
    if (!isTTY) return;
    if (env['TERM'] === 'dumb') return printLine(stdout, text);
    const width = (stdout.columns || 80) - 1; // a terminal may not know its width and say 0
    const plain = visible(stripVTControlCharacters(text));
    // A line that wraps could not be erased.
    stdout.write(`\r\u001b[K${plain.length > width ? `${plain.slice(0, width - 3)}...` : plain}`);
    this.#isShown = true;
  }

  [Symbol.dispose](): void {
    if (this.#isShown) this.#context.stdout.write('\r\u001b[K');
    this.#isShown = false;
  }
}
