/**
 * Keys of TLS legs, in a table of its own beside the connection table: a row for each descriptor, in memory
 * that the threads share, so that no copy is made when a leg goes from the thread of its handshake to the one
 * that moves its bytes. A row is written by the thread that has the leg alone, and is zeroed when the leg ends.
 */
import { SUITES } from './suites.ts';
import type { Suite } from './suites.ts';

/** Bytes of a row. */
export const ROW_SIZE = 512;
/** What is sent to us. */
export const IN = 0;
/** What we send. */
export const OUT = 112;
/** Within a direction: the key. */
export const KEY = 0;
/** The IV, 12 bytes; of GCM in TLS 1.2 its first 4. */
export const IV = 32;
/** Most plain bytes that the peer takes in a record, where we send; 0: as many as TLS allows. */
const MAX_PLAIN_OUT = OUT + 44;
const SEQUENCE = 48;
const EPOCH = 56;
/** The traffic secret of TLS 1.3. */
export const SECRET = 64;
/** Of the row. */
const SUITE = 224;
const VERSION = 226;
/** Of the row while its handshake is under way: how it went, why it failed, who has it afterwards, what it is made with. */
const OUTCOME = 228;
const ERROR = 232;
const OWNER = 236;
const CONTEXT = 240;
/** Of the row: the key exchange, by its number of IANA; 0: not known. */
const GROUP = 248;
/** Of the certificate that a client was shown, by OpenSSL's numbers: how it is signed, what its key is and how many bits it has. */
const SIGNATURE = 250;
const KEY_TYPE = 252;
const KEY_BITS = 254;
/** Beside the type of the key: the session was begun earlier; the client has shown a certificate. */
const IS_RESUMED = 0x8000;
const HAS_CERTIFICATE = 0x4000;
/** The name that a client asked for, the protocol that was agreed on, and the name in its certificate: of each its length, and its bytes. */
const TEXTS = 256;
const TEXTS_SIZE = 256;
/** Longest of them. */
export const MAX_TEXT = TEXTS_SIZE - 3;

/** How a handshake went. */
export const DONE = 1;
/** The client did not speak as it should, or refused us; it has been told. */
export const FAILED = 2;
/** The client has left. */
export const GONE = 3;
/** Its time was up. */
export const LATE = 4;
/** There were too many, and it was the oldest. */
export const TOO_MANY = 5;
/** The certificate of a server is not trusted; the error is that of its verification. */
export const UNTRUSTED = 6;
/** It is trusted, and for another name. */
export const MISNAMED = 7;
/** It is done, and libssl goes on with the records: what its handle is of. */
export const FOREIGN = 8;
/** Any of them. */
export type Outcome =
  | typeof DONE
  | typeof FAILED
  | typeof GONE
  | typeof LATE
  | typeof TOO_MANY
  | typeof UNTRUSTED
  | typeof MISNAMED
  | typeof FOREIGN;

/** `name`: what a client asked for; `protocol`: of ALPN; `client`: the common name of its certificate, which was verified. Null: none. */
export type Texts = { name: string | null; protocol: string | null; client: string | null };
/** A certificate by OpenSSL's numbers (NID) of its signature and of its key; 0: not known. `isResumed`: it was shown when the session began. */
export type Shown = { signature: number; keyType: number; bits: number; isResumed: boolean };

/** A direction of a leg: IN or OUT. */
export type Direction = typeof IN | typeof OUT;
/** TLS 1.2, as it is on the wire. */
export const TLS12 = 0x0303;
/** TLS 1.3. */
export const TLS13 = 0x0304;

/** The table. Its memory is made once, and all threads look at the same. */
export class KeyTable {
  readonly memory: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly #wide: Float64Array;
  readonly #shorts: Uint16Array;
  readonly #ints: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.bytes = new Uint8Array(memory);
    this.#wide = new Float64Array(memory);
    this.#shorts = new Uint16Array(memory);
    this.#ints = new Int32Array(memory);
  }

  /** Make one for descriptors below `rows`. Memory is used for those in use only. */
  static open(rows: number): KeyTable {
    return new KeyTable(new SharedArrayBuffer(rows * ROW_SIZE));
  }

  /** Whether the table has a row for this descriptor: the limit of descriptors may have been raised since. */
  fits(fd: number): boolean {
    return (fd + 1) * ROW_SIZE <= this.bytes.length;
  }

  /** Use a row anew, for a suite that `SUITES` has. */
  open(fd: number, { suite, version }: { suite: number; version: number }): void {
    this.#shorts[(fd * ROW_SIZE + SUITE) >> 1] = suite;
    this.#shorts[(fd * ROW_SIZE + VERSION) >> 1] = version;
  }

  /** Nothing of its keys is left. */
  close(fd: number): void {
    this.bytes.fill(0, fd * ROW_SIZE, (fd + 1) * ROW_SIZE);
  }

  /** Throws when the row is not in use. */
  suite(fd: number): Suite {
    const suite = SUITES.get(this.#shorts[(fd * ROW_SIZE + SUITE) >> 1]!);
    if (suite === undefined) throw new TypeError(`descriptor ${fd} has no TLS keys`);
    return suite;
  }

  /** Number of the suite (IANA, TLS Cipher Suites). */
  suiteNumber(fd: number): number {
    return this.#shorts[(fd * ROW_SIZE + SUITE) >> 1]!;
  }

  /** Number of the key exchange (IANA, TLS Supported Groups); 0: not known. */
  group(fd: number): number {
    return this.#shorts[(fd * ROW_SIZE + GROUP) >> 1]!;
  }

  setGroup(fd: number, group: number): void {
    this.#shorts[(fd * ROW_SIZE + GROUP) >> 1] = group;
  }

  /** Most plain bytes that the peer takes in a record; 0: as many as TLS allows. */
  maxPlain(fd: number): number {
    return this.#shorts[(fd * ROW_SIZE + MAX_PLAIN_OUT) >> 1]!;
  }

  setMaxPlain(fd: number, bytes: number): void {
    this.#shorts[(fd * ROW_SIZE + MAX_PLAIN_OUT) >> 1] = bytes;
  }

  isTls13(fd: number): boolean {
    return this.#shorts[(fd * ROW_SIZE + VERSION) >> 1] === TLS13;
  }

  /** What a client asked for, has agreed on, and has shown of itself. */
  texts(fd: number): Texts {
    let at = fd * ROW_SIZE + TEXTS;
    const next = () => {
      const start = at + 1;
      at = start + this.bytes[at]!;
      return Buffer.from(this.bytes.subarray(start, at));
    };
    const [name, protocol, client] = [next(), next(), next()];
    return {
      name: name.length === 0 ? null : name.toString('latin1'),
      protocol: protocol.length === 0 ? null : protocol.toString('latin1'),
      client: (this.#shorts[(fd * ROW_SIZE + KEY_TYPE) >> 1]! & HAS_CERTIFICATE) === 0 ? null : client.toString(),
    };
  }

  /** Where there is no room for all, who the client is goes before what was agreed on, and that before what it asked for. */
  setTexts(fd: number, texts: { name: Uint8Array; protocol: Uint8Array; client: Uint8Array | null }): void {
    let room = MAX_TEXT;
    const fitting = (text: Uint8Array) => {
      if (text.length > room) return new Uint8Array(0);
      room -= text.length;
      return text;
    };
    const client = fitting(texts.client ?? new Uint8Array(0));
    const protocol = fitting(texts.protocol);
    let at = fd * ROW_SIZE + TEXTS;
    for (const text of [fitting(texts.name), protocol, client]) {
      this.bytes[at] = text.length;
      this.bytes.set(text, at + 1);
      at += 1 + text.length;
    }
    this.#shorts[(fd * ROW_SIZE + KEY_TYPE) >> 1] = texts.client === null ? 0 : HAS_CERTIFICATE;
  }

  /** Whether the session was begun earlier, with another connection. */
  isResumed(fd: number): boolean {
    return (this.#shorts[(fd * ROW_SIZE + KEY_TYPE) >> 1]! & IS_RESUMED) !== 0;
  }

  /** It was. After `setTexts`, where there are texts. */
  setResumed(fd: number): void {
    this.#shorts[(fd * ROW_SIZE + KEY_TYPE) >> 1]! |= IS_RESUMED;
  }

  /** The certificate that a client was shown. */
  shown(fd: number): Shown {
    const at = (fd * ROW_SIZE) >> 1;
    const keyType = this.#shorts[at + (KEY_TYPE >> 1)]!;
    return {
      signature: this.#shorts[at + (SIGNATURE >> 1)]!,
      keyType: keyType & ~(IS_RESUMED | HAS_CERTIFICATE),
      bits: this.#shorts[at + (KEY_BITS >> 1)]!,
      isResumed: this.isResumed(fd),
    };
  }

  /** After `setTexts`. */
  setShown(fd: number, { signature, keyType, bits, isResumed }: Shown): void {
    const at = (fd * ROW_SIZE) >> 1;
    this.#shorts[at + (SIGNATURE >> 1)] = signature;
    this.#shorts[at + (KEY_TYPE >> 1)]! |= keyType | (isResumed ? IS_RESUMED : 0);
    this.#shorts[at + (KEY_BITS >> 1)] = bits;
  }

  /** All of a row, of which no copy is to be left anywhere. */
  row(fd: number): Uint8Array {
    return this.bytes.subarray(fd * ROW_SIZE, (fd + 1) * ROW_SIZE);
  }

  /** Number of the next record of a direction, from 0. */
  sequence(fd: number, direction: Direction): number {
    return this.#wide[(fd * ROW_SIZE + direction + SEQUENCE) >> 3]!;
  }

  setSequence(fd: number, direction: Direction, sequence: number): void {
    this.#wide[(fd * ROW_SIZE + direction + SEQUENCE) >> 3] = sequence;
  }

  /**
   * What tells this key from every other one that the thread ever had: addresses and descriptors are used anew,
   * and a cipher context that was taken for having a key would work with that of another leg.
   */
  epoch(fd: number, direction: Direction): number {
    return this.#wide[(fd * ROW_SIZE + direction + EPOCH) >> 3]!;
  }

  setEpoch(fd: number, direction: Direction, epoch: number): void {
    this.#wide[(fd * ROW_SIZE + direction + EPOCH) >> 3] = epoch;
  }

  /** So many bytes of a direction: KEY, IV or SECRET. */
  part(fd: number, direction: Direction, part: number, size: number): Uint8Array {
    const at = fd * ROW_SIZE + direction + part;
    return this.bytes.subarray(at, at + size);
  }

  /**
   * A client is about to be given to the thread of handshakes.
   *
   * @param owner the epoll descriptor of the thread that gives it
   * @param context the address of the SSL_CTX that it is for
   */
  giveAway(fd: number, { owner, context }: { owner: number; context: number }): void {
    this.close(fd);
    this.#ints[(fd * ROW_SIZE + OWNER) >> 2] = owner;
    this.#wide[(fd * ROW_SIZE + CONTEXT) >> 3] = context;
  }

  /** The epoll descriptor of whoever has given a client away. */
  owner(fd: number): number {
    return this.#ints[(fd * ROW_SIZE + OWNER) >> 2]!;
  }

  /** The address of the SSL_CTX that a client's handshake is made with. */
  context(fd: number): bigint {
    return BigInt(this.#wide[(fd * ROW_SIZE + CONTEXT) >> 3]!);
  }

  /** Where libssl goes on with the records of a leg: the address of its SSL. */
  handle(fd: number): bigint {
    return this.context(fd);
  }

  /** In the place of the SSL_CTX, of which nobody asks any more. */
  setHandle(fd: number, ssl: bigint): void {
    this.#wide[(fd * ROW_SIZE + CONTEXT) >> 3] = Number(ssl);
  }

  /** The handshake is over. `error`: of libssl, by its number. */
  setOutcome(fd: number, outcome: Outcome, error: number): void {
    this.#ints[(fd * ROW_SIZE + ERROR) >> 2] = error;
    Atomics.store(this.#ints, (fd * ROW_SIZE + OUTCOME) >> 2, outcome);
  }

  /** How the handshake went; 0: it is under way. */
  outcome(fd: number): number {
    return Atomics.load(this.#ints, (fd * ROW_SIZE + OUTCOME) >> 2);
  }

  /** Why it failed: an error of libssl, by its number; 0: there is none. */
  error(fd: number): number {
    return this.#ints[(fd * ROW_SIZE + ERROR) >> 2]! >>> 0;
  }
}
