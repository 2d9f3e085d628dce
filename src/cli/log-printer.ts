import { serverKey } from '../endpoint/identity.ts';
import { parseServer } from '../endpoint/server.ts';
import type { Output } from './context.ts';

/** Which lines of the log are printed. */
export type LogChoice = {
  /** Key of the source whose lines are wanted; null: all. */
  src: string | null;
  /** So many of the lines that are there at the beginning; null: all. */
  last: number | null;
  /** Lines from this time on, milliseconds since the epoch; null: from the beginning. */
  sinceMs: number | null;
};

/** Prints the lines of a log that are wanted. A line that has no time of its own is of the time of the one before. */
export class LogPrinter {
  readonly #output: Output;
  readonly #choice: LogChoice;
  readonly #wantsAll: boolean;
  /** The beginning of a line whose end has not come. */
  #rest: Buffer = Buffer.alloc(0);
  /** The last lines so far, while they are not printed. */
  #past: Buffer[] | null;
  #isSince: boolean;
  #hasPrinted = false;
  readonly #keys = new Map<string, string>();

  constructor(output: Output, choice: LogChoice) {
    this.#output = output;
    this.#choice = choice;
    this.#wantsAll = choice.src === null && choice.last === null && choice.sinceMs === null;
    this.#past = choice.last === null ? null : [];
    this.#isSince = choice.sinceMs === null;
  }

  /** Whether any line was wanted so far. */
  get hasPrinted(): boolean {
    return this.#hasPrinted;
  }

  async take(bytes: Buffer): Promise<void> {
    if (this.#wantsAll) return await this.#print(bytes);
    const all = Buffer.concat([this.#rest, bytes]);
    const wanted: Buffer[] = [];
    let at = 0;
    for (let end = all.indexOf(10); end !== -1; end = all.indexOf(10, at)) {
      const line = all.subarray(at, end + 1);
      at = end + 1;
      if (this.#isWanted(line.toString())) wanted.push(Buffer.from(line));
    }
    this.#rest = Buffer.from(all.subarray(at));
    if (this.#past === null) return await this.#print(Buffer.concat(wanted));
    this.#past.push(...wanted);
    if (this.#past.length > 2 * this.#choice.last! + 1000) this.#past = this.#lastOf(this.#past);
  }

  /** What was there at the beginning has all come. `isAll`: and nothing will be added. */
  async endOfPast({ isAll }: { isAll: boolean }): Promise<void> {
    if (isAll && this.#rest.length > 0) await this.take(Buffer.from('\n'));
    const past = this.#past;
    this.#past = null;
    if (past !== null) await this.#print(Buffer.concat(this.#lastOf(past)));
  }

  #lastOf(lines: Buffer[]): Buffer[] {
    return lines.slice(Math.max(0, lines.length - this.#choice.last!));
  }

  #isWanted(line: string): boolean {
    const { src, sinceMs } = this.#choice;
    if (sinceMs !== null) {
      const timeMs = timeOf(line);
      if (timeMs !== null) this.#isSince = timeMs >= sinceMs;
    }
    return this.#isSince && (src === null || this.#keyIn(line) === src);
  }

  /** Key of the source that a line speaks of. */
  #keyIn(line: string): string | null {
    const match = /"src":("(?:[^"\\]|\\.)*")/.exec(line);
    if (!match) return null;
    const text = match[1]!;
    let key = this.#keys.get(text);
    if (key === undefined) this.#keys.set(text, (key = keyOf(text)));
    return key;
  }

  /** Resolves when the system has taken the bytes, so that a log of any size needs one buffer. */
  #print(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return Promise.resolve();
    this.#hasPrinted = true;
    // An error is heard by runCli, which ends the command.
    return new Promise((resolve) => this.#output.write(bytes, () => resolve()));
  }
}

function keyOf(json: string): string {
  try {
    return serverKey(parseServer(JSON.parse(json) as string));
  } catch {
    return ''; // no endpoint of this version
  }
}

/** When a line was written, milliseconds since the epoch; null: it does not say. */
function timeOf(line: string): number | null {
  const text = /^\[([0-9-]{10}) ([0-9:.]{12}) ([+-][0-9]{2})([0-9]{2})\]/.exec(line);
  const json = text ? null : /"time":"([^"]+)"/.exec(line);
  const timeMs = Date.parse(text ? `${text[1]}T${text[2]}${text[3]}:${text[4]}` : (json?.[1] ?? ''));
  return Number.isNaN(timeMs) ? null : timeMs;
}
