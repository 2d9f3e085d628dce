/** TLS towards clients, in a thread that moves bytes: clients are given to the thread of handshakes, and come back with keys. */
import { EMFILE, EPOLLIN, EPOLLOUT } from '../kernel.ts';
import type { FrontendPlan } from '../messages.ts';
import type { Thread } from '../thread.ts';
import { TlsLegs } from './codec.ts';
import type { TlsCodec } from './codec.ts';
import { DONE, FAILED, KeyTable, LATE, TOO_MANY, UNTRUSTED } from './key-table.ts';
import { openCrypto } from './library.ts';
import type { Crypto, Pinned } from './library.ts';
import { openSsl } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

/** What came of a handshake: TLS on the leg; or the end of the connection, and whether the client is to be let read why. */
export type Terminated = { codec: TlsCodec } | { reason: string | null; wasTold: boolean };

type Opened = { ssl: Ssl; crypto: Crypto; keys: KeyTable; legs: TlsLegs; text: Pinned };

/** Gives clients of one thread to their handshake, and takes them back. */
export class Terminator {
  readonly #thread: Thread;
  /** From the first frontend on that speaks TLS. */
  #opened: Opened | null = null;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Clients of this frontend will come. */
  open({ tls }: FrontendPlan): void {
    if (tls !== null) this.useKeys(tls.keys);
  }

  /** Legs will come whose keys are there. */
  useKeys(memory: SharedArrayBuffer): void {
    if (this.#opened !== null) return;
    const crypto = openCrypto();
    const keys = new KeyTable(memory);
    this.#opened = {
      ssl: openSsl(),
      crypto,
      keys,
      legs: new TlsLegs(this.#thread, { crypto, keys }),
      text: crypto.pin(256),
    };
  }

  /**
   * Let a client shake hands: until an event comes of it, it is not to be touched here. Its row is filled in.
   *
   * @returns less than 0, a negative errno, when that cannot be
   */
  give(client: number, { tls }: FrontendPlan, generation: number): number {
    const { kernel } = this.#thread;
    if (!this.#opened!.keys.fits(client)) return -EMFILE;
    this.#opened!.keys.giveAway(client, { owner: kernel.epollFd, context: tls!.context });
    // A socket can be written at once: the event comes also of a client that never says a word, and whose time counts.
    return kernel.watchFrom(tls!.epollFd, client, EPOLLIN | EPOLLOUT, generation);
  }

  /** A client has come back. `limit`: that of its frontend, for words. */
  take(client: number, limit: number): Terminated {
    const { keys, legs } = this.#opened!;
    const outcome = keys.outcome(client);
    if (outcome === DONE) return { codec: legs.open(client, { isClient: false }) };
    const reason = this.#describe(outcome, { error: keys.error(client), limit });
    keys.close(client);
    return { reason, wasTold: outcome === FAILED || outcome === UNTRUSTED };
  }

  /** A leg comes from another process; its keys are in its row. */
  adopt(fd: number, state: Uint8Array): TlsCodec {
    return this.#opened!.legs.restore(fd, state);
  }

  #describe(outcome: number, { error, limit }: { error: number; limit: number }): string | null {
    if (outcome === LATE) return 'TLS handshake failed: TLS handshake timeout';
    if (outcome === TOO_MANY) return `TLS handshake ended: more than ${limit} under way`;
    if (outcome === UNTRUSTED)
      return `TLS handshake failed: the client's certificate is not trusted (${this.#copy(this.#opened!.ssl.X509_verify_cert_error_string(BigInt(error)))})`;
    return outcome === FAILED ? `TLS handshake failed: ${this.#textOf(error)}` : null;
  }

  #textOf(error: number): string {
    const { ssl } = this.#opened!;
    const found = ssl.ERR_reason_error_string(BigInt(error));
    return found === 0n ? 'no keys' : this.#copy(found);
  }

  /** A text of libssl's. */
  #copy(found: bigint): string {
    const { ssl, text } = this.#opened!;
    const length = Math.min(Number(ssl.strlen(found)), text.bytes.length);
    ssl.memcpy(text.address, found, BigInt(length));
    return Buffer.from(text.bytes.subarray(0, length)).toString('latin1');
  }

  /** The thread ends. */
  close(): void {
    this.#opened?.legs.records.close();
  }
}
