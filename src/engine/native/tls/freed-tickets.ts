/**
 * Session tickets of TLS 1.2 have the master secret in them, of which all keys of their connection are derived. Where libssl
 * seals or opens one (`construct_stateless_ticket`, `tls_decrypt_ticket`), it writes the session down in memory that it frees
 * as it is: the session itself it zeroes. OpenSSL has no option for that, and functions in place of malloc and free
 * (`CRYPTO_set_mem_functions`) it takes before its first allocation alone, which is Node's. But what a thread frees is kept for it
 * by malloc, by size, and is what its next allocation of that size gets: that is made, zeroed and freed.
 */
import { MASTER_SECRET_SIZE } from './key-schedule.ts';
import { word } from './library.ts';
import type { Crypto, Pinned } from './library.ts';
import { TLS12 } from './key-table.ts';
import type { Ssl } from './ssl-library.ts';

/** malloc keeps blocks by their size in steps of so many bytes. */
const STEP = 16;
/** So many of a size it keeps for a thread, and one more. */
const BLOCKS = 8;
/** A session was so many bytes shorter when it was written down, before it had an identifier, or longer, being padded. */
const LESS = 32;
const MORE = 16;
/** One of so many bytes has a client's certificate in it, which is freed behind the secret, in many small pieces. */
const WITH_CERTIFICATE = 400;
/** What then has to be taken until the secret is among it: with 32 there were some of 60 left, with 512 none. */
const PIECES = 512;

/** Zeroes what tickets were made of and read from, in one thread. */
export class FreedTickets {
  readonly #ssl: Ssl;
  readonly #taken: { address: bigint; size: bigint }[] = [];
  /** Of the last session: a ticket of one like it may be read in the first step of another handshake. */
  #lastSize = 0;
  /** In place of the name of a source file. */
  readonly #file: Pinned;

  constructor({ ssl, crypto }: { ssl: Ssl; crypto: Crypto }) {
    this.#ssl = ssl;
    this.#file = crypto.pin(1);
  }

  /** Before a step of a server's handshake: take what malloc keeps, so that there is room for what is freed in it. */
  makeRoom(handshake: bigint): void {
    const isBegun = this.#ssl.SSL_get_session(handshake) !== 0n;
    const size = isBegun ? this.#sessionSize(handshake) : this.#lastSize;
    if (size > MASTER_SECRET_SIZE) this.#takeAll(size);
  }

  /** Straight behind that step, before anything else is allocated. */
  zero(handshake: bigint): void {
    const size = this.#sessionSize(handshake);
    if (size > MASTER_SECRET_SIZE) {
      this.#takeAll(size);
      this.#lastSize = size;
    }
    if (size > WITH_CERTIFICATE) this.#take(MASTER_SECRET_SIZE, PIECES);
    const { address: file } = this.#file;
    // The last that was taken is freed first: so each has its place again.
    for (let block = this.#taken.pop(); block !== undefined; block = this.#taken.pop())
      this.#ssl.CRYPTO_clear_free(block.address, block.size, file, 0n);
  }

  /** Bytes that the session of a handshake with TLS 1.2 has when it is written down; 0: there is none. */
  #sessionSize(handshake: bigint): number {
    const ssl = this.#ssl;
    const session = ssl.SSL_version(handshake) === TLS12 ? ssl.SSL_get_session(handshake) : 0n;
    return session === 0n ? 0 : ssl.i2d_SSL_SESSION(session, 0n);
  }

  #takeAll(size: number): void {
    this.#take(MASTER_SECRET_SIZE, BLOCKS); // what has been read of the session is that, as a string of ASN.1
    for (let at = Math.max(MASTER_SECRET_SIZE, size - LESS); at <= size + MORE; at += STEP) this.#take(at, BLOCKS);
  }

  #take(bytes: number, count: number): void {
    const size = word(bytes);
    const { address: file } = this.#file;
    for (let left = count; left > 0; left--)
      this.#taken.push({ address: this.#ssl.CRYPTO_malloc(size, file, 0n), size });
  }
}
