/**
 * The state of every connection, as numbers in one shared table with a row for each descriptor. An
 * idle connection costs its two rows, 128 bytes; and when a thread dies, the main thread reads here
 * what that thread left open.
 *
 * A connection is named by the descriptor of its client. Its two rows are its legs; what concerns
 * the connection as a whole is in the client's row.
 */

/** 32-bit integers of a row. */
const ROW = 16;
/** Counted up whenever the number of a descriptor is used anew, so that a late event is told from one of the new socket. */
const GENERATION = 0;
const STATE = 1;
const OTHER = 2;
/** Client's row: number of its upstream. */
const UPSTREAM = 3;
/** Client's row: number of its frontend. */
const FRONTEND = 4;
/** One more than the number of the thread that has it; 0: no thread. */
const OWNER = 5;
/** Client's row: IPv4 address and port, network order; -1 with a port of -1: not one. */
const PEER_HOST = 6;
const PEER_PORT = 7;
/** Reads in a row that speak for the other way of moving bytes, splicing or copying. */
const IN_ROW = 8;
/** When bytes were last read from this leg, in ticks. */
const MOVED_AT = 9;

/** 64-bit floating-point numbers of a row, which lie behind the integers above. */
const WIDE_ROW = 8;
/** Bytes read from this leg. */
const BYTES = 5;
/** When the connection was accepted, by the clock of its thread, which never jumps; client's row. */
const STARTED = 6;
/** Upstream's row: milliseconds that connecting took. */
const CONNECT = 6;
/** Client's row: number of the connection; see connection-ids.ts. */
const ID = 7;

// Flags of a row: what a descriptor is, and how a leg stands.

/** The client's side of a connection. */
export const KIND_CLIENT = 1;
/** The upstream's side of a connection. */
export const KIND_SERVER = 2;
/** Clients are accepted on it. */
export const KIND_LISTENER = 4;
/** There may be something to read. */
export const READABLE = 8;
/** A short read does not mean that nothing is left: read until the kernel says so. */
export const READ_TO_END = 16;
/** The peer has ended its direction, and that was read. */
export const ENDED = 32;
/** Our direction towards the peer was ended. */
export const SHUT = 64;
/** Bytes wait for this leg to take them; nothing is read for it meanwhile. */
export const BLOCKED = 128;
/** A write failed: what the peer sent is still passed on, then the other leg is reset. */
export const BROKEN = 256;
/** Its connect(2) is under way; its other side is the client that it is for, which does not know it. */
export const CONNECTING = 512;
/** On the list of those that had more to read than their turn allowed. */
export const QUEUED = 1024;
/** A Unix socket. */
export const IS_UNIX = 2048;
/** Its bytes go through a pipe. */
export const SPLICING = 4096;
/** Frozen for the hand-over to another process: no event, no byte. */
export const FROZEN = 8192;
/** To be ended as soon as it is frozen no longer. */
export const DOOMED = 16384;
/** No leg: a descriptor that the thread has for itself, as a pipe. Here so that it can be closed when the thread dies. */
export const KIND_OWN = 32768;
/** Between the relay and its socket there is a codec; see wire.ts. */
export const CODED = 65536;
/** No leg any more: it is read to its end, and what comes is thrown away. See linger.ts. */
export const LINGERING = 131_072;
/** Its TLS handshake is under way in a thread of its own, which has it for so long: no read, no write, no close here. */
export const SHAKING = 262_144;
/** A client of a rule that is held, which waits without a dial. */
export const HELD = 524_288;
/** A client whose PROXY header has not come yet; see headers.ts. */
export const HEADING = 1_048_576;

/** A leg of a connection of which fewer bytes are kept than one read or one pipe takes. */
export const LIMITED = 2 ** 30;

/** Most descriptors that the table has rows for; memory is used for those in use only. */
const CAPACITY = 1 << 20;

/** Unit of time in a row: it counts on past the end of 32 bits, and differences stay right for a year. */
export const TICK_MS = 16;

function tick(milliseconds: number): number {
  return Math.floor(milliseconds / TICK_MS) | 0;
}

/** The table, in memory that all threads and the main thread share. A row is written by the thread that owns it alone. */
export class ConnectionTable {
  readonly memory: SharedArrayBuffer;
  readonly ints: Int32Array;
  readonly wide: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(CAPACITY * ROW * 4)) {
    this.memory = memory;
    this.ints = new Int32Array(memory);
    this.wide = new Float64Array(memory);
  }

  readonly capacity: number = CAPACITY;

  /** Whether the table has a row for this descriptor. */
  fits(fd: number): boolean {
    return fd < CAPACITY;
  }

  /** Use a row anew. Returns its generation. */
  open(fd: number, owner: number, state: number): number {
    const at = fd * ROW;
    const { ints, wide } = this;
    const generation = (ints[at + GENERATION]! + 1) | 0;
    ints[at + GENERATION] = generation;
    ints[at + STATE] = state;
    ints[at + OTHER] = -1;
    ints[at + OWNER] = owner + 1;
    ints[at + UPSTREAM] = -1;
    ints[at + FRONTEND] = -1;
    ints[at + IN_ROW] = 0;
    wide[fd * WIDE_ROW + BYTES] = 0;
    return generation;
  }

  close(fd: number): void {
    const at = fd * ROW;
    this.ints[at + STATE] = 0;
    this.ints[at + OWNER] = 0;
    this.ints[at + GENERATION] = (this.ints[at + GENERATION]! + 1) | 0;
  }

  generation(fd: number): number {
    return this.ints[fd * ROW + GENERATION]!;
  }

  state(fd: number): number {
    return this.ints[fd * ROW + STATE]!;
  }

  has(fd: number, flags: number): boolean {
    return (this.ints[fd * ROW + STATE]! & flags) !== 0;
  }

  set(fd: number, flags: number): void {
    this.ints[fd * ROW + STATE]! |= flags;
  }

  clear(fd: number, flags: number): void {
    this.ints[fd * ROW + STATE]! &= ~flags;
  }

  other(fd: number): number {
    return this.ints[fd * ROW + OTHER]!;
  }

  setOther(fd: number, other: number): void {
    this.ints[fd * ROW + OTHER] = other;
  }

  pair(client: number, server: number): void {
    this.setOther(client, server);
    this.setOther(server, client);
  }

  /** The client's descriptor of the connection that a leg is of. */
  clientOf(fd: number): number {
    return this.has(fd, KIND_CLIENT) ? fd : this.other(fd);
  }

  upstream(client: number): number {
    return this.ints[client * ROW + UPSTREAM]!;
  }

  frontend(client: number): number {
    return this.ints[client * ROW + FRONTEND]!;
  }

  assign(client: number, upstream: number, frontend: number): void {
    this.ints[client * ROW + UPSTREAM] = upstream;
    this.ints[client * ROW + FRONTEND] = frontend;
  }

  setPeer(client: number, host: number, port: number): void {
    this.ints[client * ROW + PEER_HOST] = host;
    this.ints[client * ROW + PEER_PORT] = port;
  }

  peerHost(client: number): number {
    return this.ints[client * ROW + PEER_HOST]!;
  }

  peerPort(client: number): number {
    return this.ints[client * ROW + PEER_PORT]!;
  }

  /** Count one more, or with `false` start again. Returns how many there are in a row. */
  countInRow(fd: number, isMore: boolean): number {
    const at = fd * ROW + IN_ROW;
    return (this.ints[at] = isMore ? this.ints[at]! + 1 : 0);
  }

  /** How many there are in a row. */
  inRow(fd: number): number {
    return this.ints[fd * ROW + IN_ROW]!;
  }

  bytes(fd: number): number {
    return this.wide[fd * WIDE_ROW + BYTES]!;
  }

  /** So many bytes were read from a leg, now. */
  addBytes(fd: number, bytes: number, now: number): void {
    this.wide[fd * WIDE_ROW + BYTES]! += bytes;
    this.ints[fd * ROW + MOVED_AT] = tick(now);
  }

  started(client: number): number {
    return this.wide[client * WIDE_ROW + STARTED]!;
  }

  setStarted(client: number, milliseconds: number): void {
    this.wide[client * WIDE_ROW + STARTED] = milliseconds;
  }

  /** Milliseconds that it took to connect this leg of an upstream. */
  connectMs(server: number): number {
    return this.wide[server * WIDE_ROW + CONNECT]!;
  }

  setConnectMs(server: number, milliseconds: number): void {
    this.wide[server * WIDE_ROW + CONNECT] = milliseconds;
  }

  id(client: number): number {
    return this.wide[client * WIDE_ROW + ID]!;
  }

  setId(client: number, id: number): void {
    this.wide[client * WIDE_ROW + ID] = id;
  }

  /** For how many milliseconds no byte has moved, either way. */
  quietMs(client: number, now: number): number {
    const other = this.other(client);
    const quiet = this.#quiet(client, now);
    return Math.max(0, other === -1 ? quiet : Math.min(quiet, this.#quiet(other, now))) * TICK_MS;
  }

  #quiet(fd: number, now: number): number {
    return (tick(now) - this.ints[fd * ROW + MOVED_AT]!) | 0;
  }

  /** No byte has moved for so long: 0 for a connection that begins, more for one that comes from another process. */
  setQuiet(client: number, { quietMs, now }: { quietMs: number; now: number }): void {
    const movedAt = tick(now - quietMs);
    const other = this.other(client);
    this.ints[client * ROW + MOVED_AT] = movedAt;
    if (other !== -1) this.ints[other * ROW + MOVED_AT] = movedAt;
  }

  /** Descriptors of a thread whose state has one of the flags, in order. `below` bounds the search, which begins with `from`. */
  *owned(owner: number, flags: number, below: number, from = 0): Generator<number> {
    for (let fd = from; fd < below; fd++) {
      const at = fd * ROW;
      if (this.ints[at + OWNER] === owner + 1 && (this.ints[at + STATE]! & flags) !== 0) yield fd;
    }
  }
}
