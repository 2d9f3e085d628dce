/**
 * Counters of one upstream: a row a thread in shared memory, which (but for two numbers) that thread alone writes and the
 * main thread adds up at any time. Aligned 64-bit numbers are read and written whole on x64 and arm64.
 */
import type { ClosingReason } from '../closing-reason.ts';
import { addEnds, addHead, addTally, tallyFields, TallyRow } from '../tally.ts';
import type { Tally } from '../tally.ts';

const HEAD = 8;
const OPENED = 0;
const CLOSED = 1;
const DIALING = 2;
const BYTES_IN = 3;
const BYTES_OUT = 4;
/** Connections that the main thread gave to this one. Written by the main thread. */
const ADOPTED = 5;
/** Not 0: the main thread wants to hear of every end, also of those in order. Written by the main thread. */
const ENDS_HEARD = 6;
/** After the numbers above, those of tally.ts; a row fills whole cache lines. */
const ROW = HEAD + 8 * Math.ceil(tallyFields.length / 8);

/** What all threads together have counted. */
export type Totals = { connections: number; dialing: number; bytesIn: number; bytesOut: number };

/** Shared memory for the counters of an upstream in so many threads. */
export function allocateCounters(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * ROW * 8);
}

/** One thread's row. */
export class Counters {
  readonly #row: Float64Array;
  /** How connections went. */
  readonly tally: TallyRow;

  constructor(memory: SharedArrayBuffer, thread: number) {
    this.#row = new Float64Array(memory, thread * ROW * 8, HEAD);
    this.tally = new TallyRow(new Float64Array(memory, (thread * ROW + HEAD) * 8, tallyFields.length));
  }

  get connections(): number {
    return this.#row[OPENED]! + this.#row[ADOPTED]! - this.#row[CLOSED]!;
  }

  get dialing(): number {
    return this.#row[DIALING]!;
  }

  get bytesIn(): number {
    return this.#row[BYTES_IN]!;
  }

  get bytesOut(): number {
    return this.#row[BYTES_OUT]!;
  }

  countOpened(): void {
    this.#row[OPENED]!++;
  }

  /** A client came and was refused, before it had anything to do with the upstream. */
  countRefused(reason: ClosingReason): void {
    this.#row[OPENED]!++;
    this.#row[CLOSED]!++;
    this.tally.countRefused(reason);
  }

  /** One that was counted as opened is another upstream's now, which counts it so. */
  countTransferred(): void {
    this.#row[OPENED]!--;
  }

  /** For the main thread: connections are on their way to this one. */
  addAdopted(count: number): void {
    this.#row[ADOPTED]! += count;
  }

  countClosed(): void {
    this.#row[CLOSED]!++;
  }

  addDialing(step: 1 | -1): void {
    this.#row[DIALING]! += step;
  }

  addIn(bytes: number): void {
    this.#row[BYTES_IN]! += bytes;
  }

  addOut(bytes: number): void {
    this.#row[BYTES_OUT]! += bytes;
  }

  /** Whether every end of a connection is to be reported. */
  get areEndsHeard(): boolean {
    return this.#row[ENDS_HEARD] !== 0;
  }

  /** For the main thread: from the next connection that is routed there on, and for others soon. */
  setEndsHeard(areHeard: boolean): void {
    this.#row[ENDS_HEARD] = areHeard ? 1 : 0;
  }

  /** Add all that this row has counted. */
  addTo(sum: Tally): void {
    addTally(sum, this.tally.cells);
    const { bytesIn, bytesOut } = this;
    addHead(sum, { accepted: this.#row[OPENED]!, moved: this.#row[ADOPTED]!, bytesIn, bytesOut });
  }

  /** The thread is gone, and its connections with it. */
  forget(): void {
    addEnds(this.tally.cells, 'error', this.connections);
    this.#row[CLOSED] = this.#row[OPENED]! + this.#row[ADOPTED]!;
    this.#row[DIALING] = 0;
  }
}

/** The counters of all threads together. */
export function sumCounters(rows: readonly Counters[]): Totals {
  const totals: Totals = { connections: 0, dialing: 0, bytesIn: 0, bytesOut: 0 };
  for (const row of rows) {
    totals.connections += row.connections;
    totals.dialing += row.dialing;
    totals.bytesIn += row.bytesIn;
    totals.bytesOut += row.bytesOut;
  }
  return totals;
}
