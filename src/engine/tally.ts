/**
 * What is counted of the connections of an upstream, as numbers in a row: only ever added to, so that rows can be
 * summed over threads, destinations and processes. Both engines have the same row; the native one keeps it in memory
 * that the main thread reads at any time.
 */
import { closingReasons } from './closing-reason.ts';
import type { ClosingReason } from './closing-reason.ts';

/** Upper bounds of the histogram of how long connecting to a destination took, in seconds; one more bucket has no bound. */
export const connectBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
/** The same of how long connections lasted. */
export const durationBounds = [0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400] as const;

/** With whom a TLS handshake was. */
export const handshakeSides = ['client', 'upstream'] as const;
/** With whom a TLS handshake was. */
export type HandshakeSide = (typeof handshakeSides)[number];
/** How it ended: with a version, or not at all. */
export const handshakeOutcomes = ['TLSv1.3', 'TLSv1.2', 'other', 'failed'] as const;
/** How a TLS handshake ended. */
export type HandshakeOutcome = (typeof handshakeOutcomes)[number];
/** What came of a TLS handshake: the protocol as node:tls or OpenSSL names it, and whether an earlier session went on. */
export type Handshaken = { readonly version: string | null | undefined; readonly isResumed: boolean };

/** The name of each number of a row. What another version does not know by its name is passed over. */
export const tallyFields: readonly string[] = [
  'accepted',
  'moved',
  'bytesIn',
  'bytesOut',
  ...closingReasons.map((reason) => `end ${reason}`),
  ...handshakeSides.flatMap((side) => handshakeOutcomes.map((outcome) => `tls ${side} ${outcome}`)),
  ...handshakeSides.map((side) => `tls ${side} resumed`),
  'connect sum',
  ...bucketNames('connect', connectBounds),
  'duration sum',
  ...bucketNames('duration', durationBounds),
];

/** Numbers by the names of {@link tallyFields}. */
export type Tally = Float64Array;

function bucketNames(name: string, bounds: readonly number[]): string[] {
  return [...bounds, 'Inf'].map((bound) => `${name} ${bound}`);
}

/** Where a number is in a row. */
export function fieldAt(name: string): number {
  return tallyFields.indexOf(name);
}

const ACCEPTED = fieldAt('accepted');
const MOVED = fieldAt('moved');
const BYTES_IN = fieldAt('bytesIn');
const BYTES_OUT = fieldAt('bytesOut');
const FIRST_END = fieldAt(`end ${closingReasons[0]}`);
const FIRST_HANDSHAKE = fieldAt(`tls client ${handshakeOutcomes[0]}`);
const FIRST_RESUMED = fieldAt(`tls ${handshakeSides[0]} resumed`);
const CONNECT = fieldAt('connect sum');
const DURATION = fieldAt('duration sum');
const endAt = new Map(closingReasons.map((reason, index) => [reason, FIRST_END + index]));

/** A row of zeros. */
export function emptyTally(): Tally {
  return new Float64Array(tallyFields.length);
}

/** Add one row to another. */
export function addTally(sum: Tally, more: Tally): void {
  for (let index = 0; index < sum.length; index++) sum[index]! += more[index]!;
}

/** What else an upstream counts, for its row. */
export type TallyHead = { accepted: number; moved: number; bytesIn: number; bytesOut: number };

/** Add the numbers that an engine keeps elsewhere. */
export function addHead(sum: Tally, { accepted, moved, bytesIn, bytesOut }: TallyHead): void {
  sum[ACCEPTED]! += accepted;
  sum[MOVED]! += moved;
  sum[BYTES_IN]! += bytesIn;
  sum[BYTES_OUT]! += bytesOut;
}

/** Connections ended for this reason. */
export function addEnds(sum: Tally, reason: ClosingReason, count: number): void {
  sum[endAt.get(reason)!]! += count;
}

/** How many connections a row says have ended. */
export function countEnds(tally: Tally): number {
  return closingReasons.reduce((sum, _, index) => sum + tally[FIRST_END + index]!, 0);
}

/** Counts into one row. */
export class TallyRow {
  readonly cells: Tally;

  constructor(cells: Tally = emptyTally()) {
    this.cells = cells;
  }

  /** A connection ended, which is told once of each. */
  countEnd(reason: ClosingReason, durationMs: number): void {
    addEnds(this.cells, reason, 1);
    this.#observe(DURATION, durationBounds, Math.max(0, durationMs) / 1000);
  }

  /** A client was accepted and refused at once: how long it stayed says nothing. */
  countRefused(reason: ClosingReason): void {
    addEnds(this.cells, reason, 1);
  }

  /** A destination was reached. */
  countConnect(milliseconds: number): void {
    this.#observe(CONNECT, connectBounds, Math.max(0, milliseconds) / 1000);
  }

  /** A TLS handshake ended. Null: it failed. */
  countHandshake(side: HandshakeSide, handshaken: Handshaken | null): void {
    const index = handshakeSides.indexOf(side);
    const outcome = handshaken === null ? 'failed' : handshakeOutcome(handshaken.version);
    this.cells[FIRST_HANDSHAKE + index * handshakeOutcomes.length + handshakeOutcomes.indexOf(outcome)]!++;
    if (handshaken?.isResumed === true) this.cells[FIRST_RESUMED + index]!++;
  }

  #observe(sumAt: number, bounds: readonly number[], seconds: number): void {
    this.cells[sumAt]! += seconds;
    let bucket = 0;
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++;
    this.cells[sumAt + 1 + bucket]!++;
  }
}

/** What a protocol counts as. */
function handshakeOutcome(protocol: Handshaken['version']): HandshakeOutcome {
  return protocol === 'TLSv1.3' || protocol === 'TLSv1.2' ? protocol : 'other';
}
