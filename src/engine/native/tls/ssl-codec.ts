/**
 * TLS of a suite whose records are not ours, as of TLS 1.2 with CBC: libssl, which has made the handshake, goes on with
 * them, in memory. Such a leg costs more, and does not move to another process.
 */
import type { TlsFacts } from '../../engine.ts';
import { BLOCKED, BROKEN, SHUT } from '../connection-table.ts';
import { EPROTO } from '../errno.ts';
import type { TlsClient } from '../messages.ts';
import type { Thread } from '../thread.ts';
import type { Codec, Encoded } from '../codec.ts';
import { TLS13 } from './key-table.ts';
import { word } from './library.ts';
import type { Crypto, Pinned } from './library.ts';
import { freeSsl } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

const SSL_ERROR_WANT_READ = 2;
const SSL_ERROR_ZERO_RETURN = 6;

/** What such legs of one thread share. */
export type SslLegs = {
  readonly thread: Thread;
  readonly ssl: Ssl;
  readonly crypto: Crypto;
  /** Records as they were read. */
  readonly received: Pinned;
  /** `kernel.input`, where the relay has plain bytes. */
  readonly plain: Pinned;
  /** What IANA calls the suite of a handshake. */
  suiteOf(handle: bigint): string;
  /** Why libssl failed last. */
  reason(): string;
};

/** The records of one leg. What libssl knows of it is freed with it. */
export class SslCodec implements Codec {
  readonly #legs: SslLegs;
  readonly #fd: number;
  readonly #ssl: bigint;
  readonly #fromPeer: bigint;
  readonly #toPeer: bigint;
  /** Records, which the next call makes new ones. */
  #sealed: Uint8Array = new Uint8Array(0);
  /** Plain bytes that libssl does not take in the middle of another handshake. */
  #unsealed: Uint8Array | null = null;
  failure: string | null = null;
  hasReadFin = false;
  isTruncated = false;
  readonly version: 'TLSv1.3' | 'TLSv1.2';
  /** Whether its handshake went on with an earlier session. */
  readonly isResumed: boolean;
  readonly agreed: TlsFacts;
  readonly tls: TlsClient;

  constructor(legs: SslLegs, fd: number, handle: bigint) {
    const { ssl } = legs;
    this.#legs = legs;
    this.#fd = fd;
    this.#ssl = handle;
    this.#fromPeer = ssl.SSL_get_rbio(handle);
    this.#toPeer = ssl.SSL_get_wbio(handle);
    this.version = ssl.SSL_version(handle) === TLS13 ? 'TLSv1.3' : 'TLSv1.2';
    this.isResumed = ssl.SSL_session_reused(handle) === 1;
    this.tls = { version: this.version, name: null };
    this.agreed = { version: this.version, cipher: legs.suiteOf(handle) };
  }

  receive(): number {
    const { ssl, thread, received, plain } = this.#legs;
    for (;;) {
      if (this.failure !== null) return -EPROTO;
      ssl.ERR_clear_error();
      const length = ssl.SSL_read(this.#ssl, plain.address, word(plain.bytes.length));
      if (length > 0) return length;
      const error = ssl.SSL_get_error(this.#ssl, BigInt.asUintN(64, BigInt(length)));
      this.#answer();
      if (error === SSL_ERROR_ZERO_RETURN) return 0;
      if (error !== SSL_ERROR_WANT_READ) {
        this.failure = `TLS of the peer was wrong: ${this.#legs.reason()}`;
        continue;
      }
      if (this.hasReadFin) return 0;
      const count = thread.kernel.receiveAt(this.#fd, received.address, received.bytes.length);
      if (count < 0) return count;
      if (count === 0) this.hasReadFin = this.isTruncated = true;
      else ssl.BIO_write(this.#fromPeer, received.address, word(count));
    }
  }

  /** Send what libssl says by itself, and what waited for that: alerts, and messages of another handshake. */
  #answer(): void {
    const { thread } = this.#legs;
    // What is not sent now goes before the next bytes.
    if (thread.table.has(this.#fd, BLOCKED | BROKEN | SHUT)) return;
    const unsealed = this.#unsealed;
    this.#unsealed = null;
    const records = unsealed === null ? this.#take() : this.#seal(unsealed);
    if (records.length === 0) return;
    const sent = thread.kernel.send(this.#fd, records);
    this.#sealed = records.slice(Math.max(0, sent));
  }

  encode(length: number): Encoded {
    const waiting = this.#unsealed;
    const bytes = this.#legs.plain.bytes.subarray(0, length);
    this.#unsealed = null;
    return this.#encoded(this.#seal(waiting === null ? bytes : Buffer.concat([waiting, bytes])));
  }

  #encoded(records: Uint8Array): Encoded {
    return { ...this.#legs.crypto.pinned(records), length: records.length };
  }

  #seal(bytes: Uint8Array): Uint8Array {
    const { ssl, crypto } = this.#legs;
    const own = crypto.pin(bytes.length);
    own.bytes.set(bytes);
    ssl.ERR_clear_error();
    const written = ssl.SSL_write(this.#ssl, own.address, word(own.bytes.length));
    if (written <= 0) this.#unsealed = own.bytes;
    return this.#take();
  }

  /** What libssl has made, behind what has not been sent of it before. */
  #take(): Uint8Array {
    const { ssl, crypto } = this.#legs;
    const output = crypto.pin(16_384);
    const pieces: Uint8Array[] = [this.#sealed];
    this.#sealed = new Uint8Array(0);
    for (;;) {
      const length = ssl.BIO_read(this.#toPeer, output.address, word(output.bytes.length));
      if (length <= 0) break;
      pieces.push(output.bytes.slice(0, length));
    }
    const records = new Uint8Array(new ArrayBuffer(pieces.reduce((sum, piece) => sum + piece.length, 0)));
    let at = 0;
    for (const piece of pieces) {
      records.set(piece, at);
      at += piece.length;
    }
    return records;
  }

  farewell(): Encoded {
    this.#legs.ssl.SSL_shutdown(this.#ssl);
    return this.#encoded(this.#take());
  }

  snapshot(): null {
    return null;
  }

  close(): void {
    freeSsl(this.#legs.ssl, this.#ssl);
  }
}
