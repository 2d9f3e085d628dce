/**
 * Counters of one upstream: a row a thread in shared memory, which (but for one number) that thread alone writes and the
 * main thread adds up at any time. Aligned 64-bit numbers are read and written whole on x64 and arm64.
 */
const ROW = 8;
const OPENED = 0;
const CLOSED = 1;
const DIALING = 2;
const BYTES_IN = 3;
const BYTES_OUT = 4;
/** Connections that the main thread gave to this one; the one number that the main thread writes. */
const ADOPTED = 5;

/** What all threads together have counted. */
export type Totals = { connections: number; dialing: number; bytesIn: number; bytesOut: number };

/** Shared memory for the counters of an upstream in so many threads. */
export function allocateCounters(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * ROW * 8);
}

/** One thread's row. */
export class Counters {
  readonly #row: Float64Array;

  constructor(memory: SharedArrayBuffer, thread: number) {
    this.#row = new Float64Array(memory, thread * ROW * 8, ROW);
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

  /** The thread is gone, and its connections with it. */
  forget(): void {
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
