/** TLS in a thread that moves bytes, for both sides of connections: opened with the first leg that may speak it. */
import { word } from './library.ts';
import { openCrypto } from './library.ts';
import type { Crypto, Pinned } from './library.ts';
import { TlsLegs } from './codec.ts';
import { KeyTable } from './key-table.ts';
import { Sessions } from './sessions.ts';
import { TicketReaders } from './ticket-reader.ts';
import { openSsl } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';
import type { Thread } from '../thread.ts';

const MAX_TEXT = 256;

type Opened = { ssl: Ssl; crypto: Crypto; keys: KeyTable; legs: TlsLegs; readers: TicketReaders; text: Pinned };

/** What Terminator and Originator of one thread share. */
export class ThreadTls {
  readonly #thread: Thread;
  #opened: Opened | null = null;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Legs will come whose keys are in this memory. */
  useKeys(memory: SharedArrayBuffer): void {
    if (this.#opened !== null) return;
    const crypto = openCrypto();
    const keys = new KeyTable(memory);
    const ssl = openSsl();
    this.#opened = {
      ssl,
      crypto,
      keys,
      legs: new TlsLegs(this.#thread, { crypto, keys }),
      readers: new TicketReaders({ ssl, crypto, sessions: new Sessions({ ssl, crypto }) }),
      text: crypto.pin(MAX_TEXT),
    };
  }

  /** Only after `useKeys`. */
  get opened(): Opened {
    return this.#opened!;
  }

  /** Why a handshake failed, by the number that libssl has for it; `fallback` where it has no words. */
  reasonOf(error: number, fallback: string): string {
    return this.textAt(this.opened.ssl.ERR_reason_error_string(BigInt(error))) ?? fallback;
  }

  /** A text of libssl; null: there is none. */
  textAt(address: bigint): string | null {
    if (address === 0n) return null;
    const { ssl, text } = this.opened;
    const length = Math.min(Number(ssl.strlen(address)), MAX_TEXT);
    ssl.memcpy(text.address, address, word(length));
    return Buffer.from(text.bytes.subarray(0, length)).toString('latin1');
  }

  /** Nothing moves: memory is given back. */
  trimMemory(): void {
    this.#opened?.readers.close();
  }

  /** The thread ends. */
  close(): void {
    this.#opened?.readers.close();
    this.#opened?.legs.records.close();
  }
}
