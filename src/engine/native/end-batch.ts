/**
 * Ends of connections that nobody waits for, many in one message of plain numbers: a message for each would cost a
 * tenth of what the connection did. They lie in shared memory that is used again: to have new memory from the system
 * for each message cost more than all that is said here.
 */
import { closingReasons } from '../closing-reason.ts';
import type { ConnectionEnd, Upstream } from '../engine.ts';
import type { ConnectionTable } from './connection-table.ts';
import type { EndReport, EndsMessage } from './messages.ts';
import { peerText } from './peer.ts';

const ROW = 12;
/** Ends of a message at most. */
const CAPACITY = 512;
/** Longest that an end waits for others, in milliseconds. */
const MAX_WAIT_MS = 100;
const NONE = -1;
const reasonAt = new Map(closingReasons.map((reason, index) => [reason, index]));
const stages = ['dial', 'relay', 'handshake'] as const;

/** What the table does not know of an end that had no error, of a client without TLS and with an IPv4 address or a Unix socket. */
export type QuietEnd = Pick<EndReport, 'stage' | 'why' | 'durationMs' | 'generation'>;

/** Rows, behind a word that says whose they are. */
type Block = { buffer: SharedArrayBuffer; rows: Float64Array; state: Int32Array };

/** So many blocks are used again: one is written, one is read, and two are on their way. */
const KEPT_BLOCKS = 4;
const HEADER_SIZE = 8;
/** The word: it is the thread's that writes, or the reader's. */
const FREE = 0;
const TAKEN = 1;

/** Collects the ends of one thread. */
export class EndBatch {
  readonly #kept: Block[] = [];
  /** Null while there is no end. */
  #block: Block | null = null;
  #count = 0;
  /** When what has been collected is to be sent. */
  wakeAt = Infinity;

  get isFull(): boolean {
    return this.#count === CAPACITY;
  }

  /** The end of a client that has its rows in the table still. Nothing is allocated: garbage would cost as much as all else here. */
  add(table: ConnectionTable, client: number, end: QuietEnd, now: number): void {
    const at = this.#count++ * ROW;
    this.#block ??= this.#freeBlock();
    const { rows } = this.#block;
    const server = table.other(client);
    rows[at] = table.upstream(client);
    rows[at + 1] = table.frontend(client);
    rows[at + 2] = table.peerHost(client);
    rows[at + 3] = table.peerPort(client);
    rows[at + 4] = stages.indexOf(end.stage);
    rows[at + 5] = reasonAt.get(end.why)!;
    rows[at + 6] = table.bytes(client);
    rows[at + 7] = server === -1 ? 0 : table.bytes(server);
    rows[at + 8] = Date.now() - end.durationMs;
    rows[at + 9] = server === -1 ? NONE : table.connectMs(server);
    rows[at + 10] = end.durationMs;
    rows[at + 11] = end.generation ?? NONE;
    if (this.#count === 1) this.wakeAt = now + MAX_WAIT_MS;
  }

  /** What has been collected, for `tellEnds` in another thread; null when there is nothing. */
  take(): EndsMessage | null {
    if (this.#block === null) return null;
    const message = { buffer: this.#block.buffer, count: this.#count };
    this.#block = null;
    this.#count = 0;
    this.wakeAt = Infinity;
    return message;
  }

  /** One that the reader is done with; a new one when it is slower than this thread. */
  #freeBlock(): Block {
    const free = this.#kept.find(({ state }) => Atomics.load(state, 0) === FREE);
    const block = free ?? blockOf(new SharedArrayBuffer(HEADER_SIZE + CAPACITY * ROW * Float64Array.BYTES_PER_ELEMENT));
    if (!free && this.#kept.length < KEPT_BLOCKS) this.#kept.push(block);
    Atomics.store(block.state, 0, TAKEN);
    return block;
  }
}

function blockOf(buffer: SharedArrayBuffer): Block {
  return { buffer, rows: new Float64Array(buffer, HEADER_SIZE), state: new Int32Array(buffer, 0, 1) };
}

/** What the numbers of a message stand for, and who hears of each end, with the number of its frontend. */
export type EndReader = {
  upstreamOf: (id: number) => Upstream | undefined;
  hear: (frontend: number, end: ConnectionEnd) => void;
};

/** Tell of the ends of a message, in order, and give its memory back. */
export function tellEnds({ buffer, count }: EndsMessage, reader: EndReader): void {
  const { rows, state } = blockOf(buffer);
  try {
    for (let at = 0; at < count * ROW; at += ROW) readEnd(rows, at, reader);
  } finally {
    Atomics.store(state, 0, FREE);
  }
}

function readEnd(rows: Float64Array, at: number, { upstreamOf, hear }: EndReader): void {
  const upstream = upstreamOf(rows[at]!);
  if (!upstream) return;
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
