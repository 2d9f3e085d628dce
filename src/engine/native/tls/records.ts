/**
 * The record layer of TLS 1.3 (RFC 8446, section 5) and of TLS 1.2 with AEAD ciphers (RFC 5246, section 6.2.3.3; RFC 5288;
 * RFC 7905): one record at a time is sealed or opened, with the keys of a leg in the key table. What the records of a
 * leg mean, alerts and key updates among them, is in codec.ts.
 *
 * A thread has one cipher context for each cipher and direction, for all its legs: setting a key anew costs 0.05 to
 * 0.08 µs a record, and a context kept for each leg several hundred bytes. Which key a context has is told by the epoch of
 * the key, a number that is never used twice. Comparing tags is libcrypto's, in constant time.
 */
import { AeadInputs, EXPLICIT_SIZE, writeHeader, writeSequence } from './aead-inputs.ts';
import { IN, KEY, OUT, ROW_SIZE } from './key-table.ts';
import type { Direction, KeyTable } from './key-table.ts';
import { KeySchedule } from './key-schedule.ts';
import { word } from './library.ts';
import type { Crypto, Pinned } from './library.ts';
import type { Suite } from './suites.ts';

/** Bytes of a record header. */
export const HEADER_SIZE = 5;
/** Plain bytes that a record holds at most. */
export const MAX_PLAIN = 16_384;
/** The least that a peer may want instead (RFC 6066, section 4). */
export const LEAST_MAX_PLAIN = 512;
/** By how much a record that we seal is longer than its plain bytes, at most. */
export const OVERHEAD = 29;
const TAG_SIZE = 16;
/** What RFC 8446 (5.2) allows a record of TLS 1.3 to be longer than its plain bytes. */
const MAX_EXPANSION_13 = 256;
/** The same of TLS 1.2, by RFC 5246 (6.2.3). */
export const MAX_EXPANSION_12 = 2048;

/** Content type. */
export const CHANGE_CIPHER_SPEC = 20;
/** Content type. */
export const ALERT = 21;
/** Content type. */
export const HANDSHAKE = 22;
/** Content type. */
export const APPLICATION_DATA = 23;

/** Alert: it has no business there (RFC 8446, section 6). */
export const UNEXPECTED_MESSAGE = 10;
/** Alert: it does not authenticate. */
export const BAD_RECORD_MAC = 20;
/** Alert: it is longer than any may be. */
export const RECORD_OVERFLOW = 22;

const EVP_CTRL_AEAD_SET_IVLEN = 9n;
const EVP_CTRL_AEAD_GET_TAG = 16n;
const EVP_CTRL_AEAD_SET_TAG = 17n;
const IV_SIZE_WORD = 12n;
const TAG_SIZE_WORD = 16n;
const HEADER_SIZE_WORD = 5n;
const AAD12_SIZE_WORD = 13n;

type Context = { readonly context: bigint; epoch: number };
type Contexts = Readonly<Record<Suite['cipher'], Context>>;
/** No key has it; a row that `adopt` was not called for has 0. */
const NO_KEY = -1;

/** Seals and opens the records of the legs of one thread. */
export class Records {
  readonly #crypto: Crypto;
  readonly #keys: KeyTable;
  readonly #schedule: KeySchedule;
  readonly #table: Pinned;
  readonly #sealing: Contexts;
  readonly #opening: Contexts;
  readonly #inputs: AeadInputs;
  readonly #outLength: Pinned;
  /** No key. */
  readonly #zeros: Pinned;
  #lastEpoch = 0;
  /** What the last `open` that answered 0 found: the content type, and how many plain bytes. */
  type = 0;
  length = 0;

  /** @param schedule of the same thread and keys */
  constructor(crypto: Crypto, keys: KeyTable, schedule: KeySchedule = new KeySchedule(crypto, keys)) {
    this.#crypto = crypto;
    this.#keys = keys;
    this.#schedule = schedule;
    this.#table = crypto.pinned(keys.bytes);
    this.#inputs = new AeadInputs(crypto, keys);
    this.#outLength = crypto.pin(8);
    this.#zeros = crypto.pin(32);
    this.#sealing = this.#openContexts(OUT);
    this.#opening = this.#openContexts(IN);
  }

  #openContexts(direction: Direction): Contexts {
    return {
      'AES-128-GCM': this.#openContext('AES-128-GCM', direction),
      'AES-256-GCM': this.#openContext('AES-256-GCM', direction),
      'ChaCha20-Poly1305': this.#openContext('ChaCha20-Poly1305', direction),
    };
  }

  #openContext(name: Suite['cipher'], direction: Direction): Context {
    const { functions, text } = this.#crypto;
    const context = functions.EVP_CIPHER_CTX_new();
    const cipher = functions.EVP_CIPHER_fetch(0n, text(name), 0n);
    const isThere =
      cipher !== 0n &&
      context !== 0n &&
      functions.EVP_CipherInit_ex(context, cipher, 0n, 0n, 0n, encOf(direction)) === 1;
    if (!isThere || functions.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, IV_SIZE_WORD, 0n) !== 1)
      throw new Error(`libcrypto has no ${name}`);
    return { context, epoch: NO_KEY };
  }

  /** The keys of this leg have been set by others, or its row was used anew: no context has them. */
  adopt(fd: number): void {
    this.#keys.setEpoch(fd, IN, ++this.#lastEpoch);
    this.#keys.setEpoch(fd, OUT, ++this.#lastEpoch);
  }

  /** TLS 1.3: go on with the next key of a direction, with which records are counted from 0 (RFC 8446, section 7.2). */
  update(fd: number, direction: Direction): void {
    this.#forget(fd, direction);
    this.#schedule.update13(fd, direction);
    this.#keys.setSequence(fd, direction, 0);
    this.#keys.setEpoch(fd, direction, ++this.#lastEpoch);
  }

  /** A leg is over, or has gone to another thread: the keys that are in its row are in no context any more. */
  forget(fd: number): void {
    for (const direction of [IN, OUT] as const) this.#forget(fd, direction);
  }

  #forget(fd: number, direction: Direction): void {
    const epoch = this.#keys.epoch(fd, direction);
    if (epoch === 0) return;
    const own = (direction === OUT ? this.#sealing : this.#opening)[this.#keys.suite(fd).cipher];
    if (own.epoch !== epoch) return;
    own.epoch = NO_KEY;
    const none = this.#zeros.address;
    this.#crypto.functions.EVP_CipherInit_ex(own.context, 0n, 0n, none, none, encOf(direction));
  }

  /** The thread ends, or its legs have gone to another: no key is left in its memory. */
  close(): void {
    const { functions } = this.#crypto;
    for (const { context } of [...Object.values(this.#sealing), ...Object.values(this.#opening)])
      functions.EVP_CIPHER_CTX_free(context);
    this.#schedule.close();
  }

  /** Records that were sealed with the present key. */
  sealed(fd: number): number {
    return this.#keys.sequence(fd, OUT);
  }

  isTls13(fd: number): boolean {
    return this.#keys.isTls13(fd);
  }

  /**
   * Seal bytes into as many records as they need; no bytes make an empty record.
   *
   * @returns where in `target` the last record ends; it must have room for OVERHEAD more than the bytes a record
   */
  seal(
    fd: number,
    type: number,
    { source, from, length }: { source: Pinned; from: number; length: number },
    { target, at }: { target: Pinned; at: number },
  ): number {
    const end = from + length;
    const most = this.#keys.maxPlain(fd) || MAX_PLAIN;
    let next = at;
    do {
      const size = Math.min(end - from, most);
      next = this.#keys.isTls13(fd)
        ? this.#seal13(fd, type, source, from, size, target, next)
        : this.#seal12(fd, type, source, from, size, target, next);
      from += size;
    } while (from < end);
    return next;
  }

  #seal13(fd: number, type: number, source: Pinned, from: number, size: number, target: Pinned, at: number): number {
    const { functions } = this.#crypto;
    writeHeader(target.bytes, at, APPLICATION_DATA, size + 1 + TAG_SIZE);
    this.#inputs.setNonce(fd, OUT);
    this.#inputs.aad.bytes[0] = type;
    const own = this.#startSealing(fd);
    const { context } = own;
    const content = source.address + word(from);
    const record = target.address + word(at);
    const body = record + HEADER_SIZE_WORD;
    const isSealed =
      functions.EVP_EncryptUpdate(context, 0n, this.#outLength.address, record, HEADER_SIZE_WORD) === 1 &&
      (size === 0 || functions.EVP_EncryptUpdate(context, body, this.#outLength.address, content, word(size)) === 1) &&
      functions.EVP_EncryptUpdate(context, body + word(size), this.#outLength.address, this.#inputs.aad.address, 1n) ===
        1;
    return this.#finishSealing(fd, own, isSealed, target, at + HEADER_SIZE + size + 1);
  }

  #seal12(fd: number, type: number, source: Pinned, from: number, size: number, target: Pinned, at: number): number {
    const { functions } = this.#crypto;
    const explicit = this.#keys.suite(fd).isExplicit ? EXPLICIT_SIZE : 0;
    const sequence = this.#keys.sequence(fd, OUT);
    writeHeader(target.bytes, at, type, explicit + size + TAG_SIZE);
    if (explicit > 0) {
      writeSequence(target.bytes, at + HEADER_SIZE, sequence);
      this.#inputs.setExplicitNonce(fd, OUT, target.bytes, at + HEADER_SIZE);
    } else this.#inputs.setNonce(fd, OUT);
    this.#inputs.setAad12(sequence, type, size);
    const own = this.#startSealing(fd);
    const { context } = own;
    const start = at + HEADER_SIZE + explicit;
    const content = source.address + word(from);
    const body = target.address + word(start);
    const isSealed =
      functions.EVP_EncryptUpdate(context, 0n, this.#outLength.address, this.#inputs.aad.address, AAD12_SIZE_WORD) ===
        1 &&
      (size === 0 || functions.EVP_EncryptUpdate(context, body, this.#outLength.address, content, word(size)) === 1);
    return this.#finishSealing(fd, own, isSealed, target, start + size);
  }

  #startSealing(fd: number): Context {
    const own = this.#sealing[this.#keys.suite(fd).cipher];
    if (!this.#start(own, fd, OUT)) own.epoch = NO_KEY;
    return own;
  }

  /** Nothing may be sent of a record that could not be sealed: it might be plain. */
  #finishSealing(fd: number, own: Context, isSealed: boolean, target: Pinned, end: number): number {
    const { functions } = this.#crypto;
    const { context } = own;
    const tag = target.address + word(end);
    const isDone =
      own.epoch !== NO_KEY &&
      isSealed &&
      functions.EVP_EncryptFinal_ex(context, tag, this.#outLength.address) === 1 &&
      functions.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE_WORD, tag) === 1;
    if (!isDone) throw new Error('a TLS record could not be sealed');
    this.#keys.setSequence(fd, OUT, this.#keys.sequence(fd, OUT) + 1);
    return end + TAG_SIZE;
  }

  /**
   * How long the record is that begins there, of which the header is to be there; or the alert, as a negative number, that
   * it is to be answered with before any more of it is read.
   */
  measure(fd: number, bytes: Uint8Array, at: number): number {
    const type = bytes[at]!;
    const length = (bytes[at + 3]! << 8) | bytes[at + 4]!;
    if (this.#keys.isTls13(fd)) {
      // A change_cipher_spec too: after the handshake there is none (RFC 8446, section 5).
      if (type !== APPLICATION_DATA) return -UNEXPECTED_MESSAGE;
      return length > MAX_PLAIN + MAX_EXPANSION_13 ? -RECORD_OVERFLOW : HEADER_SIZE + length;
    }
    if (type < ALERT || type > APPLICATION_DATA || bytes[at + 1] !== 3 || bytes[at + 2] !== 3)
      return -UNEXPECTED_MESSAGE;
    return length > MAX_PLAIN + MAX_EXPANSION_12 ? -RECORD_OVERFLOW : HEADER_SIZE + length;
  }

  /**
   * Open the whole record at `source.bytes[from]`, which `measure` has seen. Its plain bytes are put to `target` from `at` on,
   * where there must be room for what the record is long; `type` and `length` say what they are.
   *
   * @returns 0, or the alert that it is to be answered with; nothing of it is to be used then
   */
  open(
    fd: number,
    { source, from }: { source: Pinned; from: number },
    { target, at }: { target: Pinned; at: number },
  ): number {
    const { bytes } = source;
    const length = (bytes[from + 3]! << 8) | bytes[from + 4]!;
    if (this.#keys.isTls13(fd)) return this.#open13(fd, source, from, length, target, at);
    return this.#open12(fd, source, from, length, target, at);
  }

  #open13(fd: number, source: Pinned, from: number, length: number, target: Pinned, at: number): number {
    const size = length - TAG_SIZE;
    if (size < 1) return BAD_RECORD_MAC;
    this.#inputs.setNonce(fd, IN);
    if (!this.#decrypt(fd, source, from + HEADER_SIZE, size, target, at)) return BAD_RECORD_MAC;
    // The type is the last byte that is not zero; what is behind it is padding.
    let end = at + size - 1;
    while (end >= at && target.bytes[end] === 0) end--;
    if (end < at) return UNEXPECTED_MESSAGE;
    return this.#opened(target.bytes[end]!, end - at);
  }

  #open12(fd: number, source: Pinned, from: number, length: number, target: Pinned, at: number): number {
    const explicit = this.#keys.suite(fd).isExplicit ? EXPLICIT_SIZE : 0;
    const size = length - explicit - TAG_SIZE;
    if (size < 0) return BAD_RECORD_MAC;
    const start = from + HEADER_SIZE;
    if (explicit > 0) this.#inputs.setExplicitNonce(fd, IN, source.bytes, start);
    else this.#inputs.setNonce(fd, IN);
    this.#inputs.setAad12(this.#keys.sequence(fd, IN), source.bytes[from]!, size);
    if (!this.#decrypt(fd, source, start + explicit, size, target, at)) return BAD_RECORD_MAC;
    return this.#opened(source.bytes[from]!, size);
  }

  #opened(type: number, length: number): number {
    if (length > MAX_PLAIN) return RECORD_OVERFLOW;
    if (type < ALERT || type > APPLICATION_DATA) return UNEXPECTED_MESSAGE;
    // Of no other type may a record be empty (RFC 8446, section 5.1).
    if (length === 0 && type !== APPLICATION_DATA) return UNEXPECTED_MESSAGE;
    this.type = type;
    this.length = length;
    return 0;
  }

  /** Offsets in place of addresses: these are big integers, which are in no memory only as long as no call is given them. */
  #decrypt(fd: number, source: Pinned, from: number, size: number, target: Pinned, at: number): boolean {
    const { functions, forgetErrors } = this.#crypto;
    const own = this.#opening[this.#keys.suite(fd).cipher];
    const { context } = own;
    const length = this.#outLength.address;
    const body = source.address + word(from);
    const plain = target.address + word(at);
    const isTls13 = this.#keys.isTls13(fd);
    const aad = isTls13 ? body - HEADER_SIZE_WORD : this.#inputs.aad.address;
    const isAuthentic =
      this.#start(own, fd, IN) &&
      functions.EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE_WORD, body + word(size)) === 1 &&
      functions.EVP_DecryptUpdate(context, 0n, length, aad, isTls13 ? HEADER_SIZE_WORD : AAD12_SIZE_WORD) === 1 &&
      (size === 0 || functions.EVP_DecryptUpdate(context, plain, length, body, word(size)) === 1) &&
      functions.EVP_DecryptFinal_ex(context, plain + word(size), length) === 1;
    if (!isAuthentic) {
      own.epoch = NO_KEY;
      forgetErrors();
      return false;
    }
    this.#keys.setSequence(fd, IN, this.#keys.sequence(fd, IN) + 1);
    return true;
  }

  /** Give a context the nonce of the next record, and the key, unless it has that. Returns whether it took them. */
  #start(own: Context, fd: number, direction: Direction): boolean {
    const { EVP_CipherInit_ex } = this.#crypto.functions;
    const epoch = this.#keys.epoch(fd, direction);
    if (epoch === 0) throw new TypeError(`the keys of descriptor ${fd} were not adopted`);
    const nonce = this.#inputs.nonce.address;
    if (own.epoch === epoch) return EVP_CipherInit_ex(own.context, 0n, 0n, 0n, nonce, encOf(direction)) === 1;
    own.epoch = epoch;
    const key = this.#table.address + BigInt(fd * ROW_SIZE + direction + KEY);
    return EVP_CipherInit_ex(own.context, 0n, 0n, key, nonce, encOf(direction)) === 1;
  }
}

/** What EVP_CipherInit_ex calls `enc`. */
function encOf(direction: Direction): bigint {
  return direction === OUT ? 1n : 0n;
}

/** How many records these bytes are, all of them whole. */
export function countRecords(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at + HEADER_SIZE <= bytes.length; count++)
    at += HEADER_SIZE + ((bytes[at + 3]! << 8) | bytes[at + 4]!);
  return count;
}
