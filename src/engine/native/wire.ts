/**
 * What the relay reads from and writes to: the socket of a leg, and between the two, where a leg has one, a
 * codec, which makes of plain bytes what the socket carries. A plain leg goes straight to its system call, by
 * the same call sites as ever; that it is plain is one bit of its row.
 *
 * What a leg has not taken yet is kept as its socket carries it: a TLS record that was made has used up its
 * sequence number, and moves to another process as the bytes that it is.
 */
import { CODED } from './connection-table.ts';
import type { Codec, Encoded } from './codec.ts';
import type { TlsFacts } from '../engine.ts';
import type { ProxyTls } from '../proxy-fields.ts';
import { READ_SIZE } from './kernel.ts';
import type { Kernel } from './kernel.ts';
import { pinnedCopy } from './pinned.ts';
import { PromptAcks } from './prompt-acks.ts';
import type { TlsClient } from './messages.ts';
import type { Thread } from './thread.ts';

/** The legs of one thread, as the relay reads and writes them. */
export class Wire {
  readonly #thread: Thread;
  readonly #kernel: Kernel;
  readonly #codecs = new Map<number, Codec>();
  readonly #promptAcks: PromptAcks;
  /** Of the last bytes for a coded leg that were not taken whole: what its socket was given, and how much of it was taken. */
  #encoded: Uint8Array = new Uint8Array(0);
  #taken = 0;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#kernel = thread.kernel;
    this.#promptAcks = new PromptAcks(thread.kernel);
  }

  /** Have a codec for a leg, from its next read or write on. It goes with the leg. */
  attach(fd: number, codec: Codec): void {
    this.#codecs.set(fd, codec);
    this.#thread.table.set(fd, CODED);
  }

  /** The same for a destination, with which our handshake has just ended. */
  attachServer(fd: number, codec: Codec): void {
    this.attach(fd, codec);
    this.#promptAcks.begin(fd);
  }

  /** Read plain bytes into `kernel.input`, so many at most: how many, 0 at the end, or the negative errno. */
  receive(fd: number, size: number): number {
    if (this.#thread.table.has(fd, CODED)) return this.#receiveCoded(fd, size);
    return size === READ_SIZE ? this.#kernel.receive(fd) : this.#kernel.take(fd, size);
  }

  #receiveCoded(fd: number, size: number): number {
    const length = this.#codecs.get(fd)!.receive(size);
    if (length > 0) this.#promptAcks.end(fd);
    return length;
  }

  /**
   * Send the first so many bytes of `kernel.input`. Returns `length` when all were taken; else less, or the negative
   * errno, and the rest is to be had with `rest`. With `isLast` the end of the direction follows at once.
   */
  send(fd: number, length: number, isLast: boolean): number {
    if (this.#thread.table.has(fd, CODED)) {
      return this.#sendEncoded(fd, this.#codecs.get(fd)!.encode(length, isLast), length, isLast);
    }
    return isLast ? this.#kernel.sendLastInput(fd, length) : this.#kernel.sendInput(fd, length);
  }

  #sendEncoded(fd: number, { bytes, address, length: size }: Encoded, length: number, isLast: boolean): number {
    const sent = isLast ? this.#kernel.sendLastAt(fd, address, size) : this.#kernel.sendAt(fd, address, size);
    this.#promptAcks.sent(fd);
    if (sent === size) return length;
    this.#encoded = bytes.subarray(0, size);
    this.#taken = Math.max(0, sent);
    return Math.min(sent, 0);
  }

  /** A copy of what a leg did not take of the last `send` or `sendFarewell`, as its socket carries it. */
  rest(fd: number, length: number, sent: number): Uint8Array {
    if (this.#thread.table.has(fd, CODED)) return pinnedCopy(this.#encoded.subarray(this.#taken));
    return pinnedCopy(this.#kernel.input.subarray(Math.max(0, sent), length));
  }

  /** Send what a coded leg is to be told before its direction ends. Returns 1 when that is done; else as `send`. */
  sendFarewell(fd: number): number {
    const encoded = this.#codecs.get(fd)!.farewell();
    return encoded.length === 0 ? 1 : this.#sendEncoded(fd, encoded, 1, true);
  }

  /** Whether what was sent to us may have been cut off; where there is no TLS, nobody could tell. */
  isTruncated(fd: number): boolean {
    return this.#codecs.get(fd)?.isTruncated === true;
  }

  /** Whether nothing is left of what a leg that has not ended has sent: its next event tells of more. Of a short read. */
  isDrained(fd: number): boolean {
    return !this.#thread.table.has(fd, CODED) || this.#codecs.get(fd)!.isDrained === true;
  }

  /** Why the codec of a leg gave up; null: it did not, or there is none. */
  failureOf(fd: number): string | null {
    return this.#codecs.get(fd)?.failure ?? null;
  }

  /** What a leg speaks; null: no TLS. */
  tlsOf(fd: number): TlsClient | null {
    return this.#codecs.get(fd)?.tls ?? null;
  }

  /** What was agreed on in the handshake of a leg; null without TLS. */
  agreedOf(fd: number): TlsFacts | null {
    return this.#codecs.get(fd)?.agreed ?? null;
  }

  /** What a destination may be told of the TLS of a leg; null without. */
  proxyTlsOf(fd: number): ProxyTls | null {
    return this.#codecs.get(fd)?.proxyTls ?? null;
  }

  /** What another process needs of the codec of a leg; null: it does not move. */
  snapshotOf(fd: number): Uint8Array | null {
    return this.#codecs.get(fd)?.snapshot() ?? null;
  }

  /** Whether the peer of a coded leg may still send, after whatever it said was its last. */
  mayHearMore(fd: number): boolean {
    return this.#codecs.get(fd)?.hasReadFin === false;
  }

  /** A leg is about to be closed. */
  forget(fd: number): void {
    this.#promptAcks.end(fd);
    this.#codecs.get(fd)?.close();
    this.#codecs.delete(fd);
  }
}
