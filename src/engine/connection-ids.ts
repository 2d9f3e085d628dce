/** Names of connections, which nobody has to agree on: they differ over the threads of a process, and over processes. */

/** Counters of one process that never give the same number: the portable engine has the first, each thread one more. */
const LANES = 128;
/** Numbers that a millisecond has room for, in all lanes together; nobody accepts so many for long. */
const PER_MS = 128 * LANES;
/** Numbers are counted from the millisecond in which the counter was made, since the beginning of 2026. */
const EPOCH_MS = Date.UTC(2026, 0, 1);

/** Gives each connection of one lane its number, which it keeps when it moves to another process. */
export class ConnectionIds {
  #last: number;

  constructor(lane = 0) {
    this.#last = sinceEpochMs() * PER_MS + lane;
  }

  next(): number {
    return (this.#last += LANES);
  }
}

/** On a machine that does not know the time, since it came up: processes of a daemon still begin with different numbers. */
function sinceEpochMs(): number {
  const sinceMs = Date.now() - EPOCH_MS;
  if (sinceMs > 0) return sinceMs;
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + Math.floor(nanoseconds / 1e6);
}

/** The lane of a thread of the native engine. */
export function laneOfThread(thread: number): number {
  return thread + 1;
}

/** The number as people and programs are told it: ten letters and digits. */
export function writeId(id: number): string {
  return id.toString(36);
}

/** The number that is written so; null for what is none. */
export function readId(text: string): number | null {
  const id = Number.parseInt(text, 36);
  return Number.isSafeInteger(id) && writeId(id) === text ? id : null;
}
