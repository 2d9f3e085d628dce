/** Looks again and again: a table that is drawn over on a terminal, one after the other elsewhere. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Context } from './context.ts';
import { visible } from '../one-line.ts';
import { fitTable, printJson, printLine, shortened, terminalWidth } from './output.ts';
import type { Column } from './output.ts';
import { watchReader } from './reader-gone.ts';

/** Between two looks, in milliseconds. */
const pauseMs = 1000;
/** Lines of a terminal that does not say how many it has. */
const usualLines = 24;

/** What is seen at one look. */
export type Look = {
  /** For people, in one line. */
  title: string;
  columns: readonly Column[];
  rows: readonly (readonly string[])[];
  notes: readonly string[];
  /** The same for programs. */
  json: unknown;
};

/** Show what `look` sees, every second, until the context's signal, which this rejects with, or until nobody reads any more. */
export async function watch(
  context: Context,
  { look, isJson }: { look: () => Promise<Look>; isJson: boolean },
): Promise<void> {
  using reader = watchReader(context.stdout);
  const signal = AbortSignal.any([context.signal, reader.signal]);
  const isDrawnOver = context.isTTY && !isJson && context.env['TERM'] !== 'dumb';
  let latest: Look | null = null;
  const draw = async () => {
    if (latest === null) return;
    if (isDrawnOver) context.stdout.write(await screenOf(context, latest));
    else if (isJson) printJson({ ...context, isTTY: false }, latest.json);
    else printLine(context.stdout, await textOf(context, latest));
  };
  const resized = () => void draw().catch(() => {}); // the next look draws again
  if (isDrawnOver) {
    context.stdout.write('\u001b[2J');
    context.stdout.on('resize', resized);
  }
  try {
    for (;;) {
      latest = await look();
      await draw();
      await delay(pauseMs, undefined, { signal });
    }
  } catch (error) {
    if (!reader.signal.aborted) throw error;
  } finally {
    context.stdout.off('resize', resized);
  }
}

/** From the top of the screen on, each line over the one before; what was below is erased. */
async function screenOf(context: Context, look: Look): Promise<string> {
  const { rows: height = usualLines } = context.stdout as { rows?: number };
  const lines = (await textOf(context, look)).split('\n');
  const room = Math.max(1, (height || usualLines) - 1);
  const width = terminalWidth(context);
  const shown =
    lines.length <= room
      ? lines
      : [
          ...lines.slice(0, room - 1),
          shortened(`${lines.length - room + 1} more lines: this terminal is too small`, width),
        ];
  return `\u001b[H${shown.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`;
}

async function textOf(context: Context, { title, columns, rows, notes }: Look): Promise<string> {
  const width = terminalWidth(context);
  const { text, isCut } = await fitTable(columns, rows, width);
  const all = isCut ? [...notes, `cut to ${width} columns`] : notes;
  return [
    shortened(title, width),
    text,
    ...all.map((note) => shortened(`note: ${visible(note)}`, width)),
    ...(context.isTTY ? [] : ['']),
  ].join('\n');
}

/** Something that was counted, and when, by a clock that never jumps. */
type Counted = { atMs: number; numbers: readonly number[] };

/** Rates a second of numbers that only grow, from one look to the next. */
export class Rates {
  #before = new Map<string, Counted>();
  #now = new Map<string, Counted>();

  /** A look begins: what is not seen again is forgotten. */
  begin(): void {
    this.#before = this.#now;
    this.#now = new Map();
  }

  /** By how much each has grown a second since the last look; null at the first, or where it was counted anew. */
  of(key: string, numbers: readonly number[]): (number | null)[] {
    const atMs = performance.now();
    const before = this.#before.get(key);
    this.#now.set(key, { atMs, numbers });
    return numbers.map((number, at) => {
      const was = before?.numbers[at];
      return before === undefined || was === undefined || number < was
        ? null
        : ((number - was) * 1000) / Math.max(1, atMs - before.atMs);
    });
  }
}
