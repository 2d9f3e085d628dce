/**
 * Ends of connections that nobody waits for, many in one message of plain numbers: a message for each would cost a
 * tenth of what the connection did.
 */
import { closingReasons } from '../closing-reason.ts';
import type { ConnectionEnd, Upstream } from '../engine.ts';
import type { EndReport } from './messages.ts';
import { peerText } from './peer.ts';

const ROW = 12;
/** Ends of a message at most. */
const CAPACITY = 256;
/** Longest that an end waits for others, in milliseconds. */
const MAX_WAIT_MS = 100;
const NONE = -1;
const reasonAt = new Map(closingReasons.map((reason, index) => [reason, index]));
const stages = ['dial', 'relay', 'handshake'] as const;

/** An end that had no error, of a client without TLS and with an IPv4 address or a Unix socket. */
export type QuietEnd = Omit<EndReport, 'peer' | 'reason' | 'tls'> & { peerHost: number; peerPort: number };

/** Collects the ends of one thread. */
export class EndBatch {
  readonly #rows = new Float64Array(CAPACITY * ROW);
  #count = 0;
  /** When what has been collected is to be sent. */
  wakeAt = Infinity;

  get isFull(): boolean {
    return this.#count === CAPACITY;
  }

  add(end: QuietEnd, now: number): void {
    const at = this.#count++ * ROW;
    const rows = this.#rows;
    rows[at] = end.upstream;
    rows[at + 1] = end.frontend;
    rows[at + 2] = end.peerHost;
    rows[at + 3] = end.peerPort;
    rows[at + 4] = stages.indexOf(end.stage);
    rows[at + 5] = reasonAt.get(end.why)!;
    rows[at + 6] = end.bytesIn;
    rows[at + 7] = end.bytesOut;
    rows[at + 8] = end.startedMs;
    rows[at + 9] = end.connectMs ?? NONE;
    rows[at + 10] = end.durationMs;
    rows[at + 11] = end.generation ?? NONE;
    if (this.#count === 1) this.wakeAt = now + MAX_WAIT_MS;
  }

  /** What has been collected, which is the caller's; null when there is nothing. */
  take(): Float64Array<ArrayBuffer> | null {
    if (this.#count === 0) return null;
    const rows = this.#rows.slice(0, this.#count * ROW);
    this.#count = 0;
    this.wakeAt = Infinity;
    return rows;
  }
}

/** What the numbers of a message stand for, and who hears of each end, with the number of its frontend. */
export type EndReader = {
  upstreamOf: (id: number) => Upstream | undefined;
  hear: (frontend: number, end: ConnectionEnd) => void;
};

/** Tell of the ends of a message, in order. */
export function readEnds(rows: Float64Array, { upstreamOf, hear }: EndReader): void {
  for (let at = 0; at < rows.length; at += ROW) {
    const upstream = upstreamOf(rows[at]!);
    if (!upstream) continue;
    const connectMs = rows[at + 9]!;
    const generation = rows[at + 11]!;
    hear(rows[at + 1]!, {
      peer: peerText(rows[at + 2]!, rows[at + 3]!),
      via: null,
      upstream,
      stage: stages[rows[at + 4]!]!,
      error: null,
      reason: closingReasons[rows[at + 5]!]!,
      bytesIn: rows[at + 6]!,
      bytesOut: rows[at + 7]!,
      startedMs: rows[at + 8]!,
      connectMs: connectMs === NONE ? null : connectMs,
      durationMs: rows[at + 10]!,
      tls: null,
      generation: generation === NONE ? null : generation,
    });
  }
}
