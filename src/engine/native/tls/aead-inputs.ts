/** What an AEAD cipher is given for a record beside its bytes: the nonce, and the additional data. */
import { IV, ROW_SIZE } from './key-table.ts';
import type { Direction, KeyTable } from './key-table.ts';
import type { Crypto, Pinned } from './library.ts';

/** Bytes of a nonce that are in the record, where some are. */
export const EXPLICIT_SIZE = 8;

/** Both, in the memory of one thread. */
export class AeadInputs {
  readonly nonce: Pinned;
  /** Of TLS 1.2 records; those of TLS 1.3 have their header for it. */
  readonly aad: Pinned;
  readonly #keys: KeyTable;

  constructor(crypto: Crypto, keys: KeyTable) {
    this.#keys = keys;
    this.nonce = crypto.pin(12);
    this.aad = crypto.pin(13);
  }

  /** The sequence number, exclusive-or the IV (RFC 8446, section 5.3; RFC 7905, section 2). */
  setNonce(fd: number, direction: Direction): void {
    const { bytes } = this.nonce;
    const table = this.#keys.bytes;
    const iv = fd * ROW_SIZE + direction + IV;
    writeSequence(bytes, 4, this.#keys.sequence(fd, direction));
    for (let at = 0; at < 4; at++) bytes[at] = table[iv + at]!;
    for (let at = 4; at < 12; at++) bytes[at]! ^= table[iv + at]!;
  }

  /** The IV is the salt, and the rest is in the record (RFC 5288, section 3). */
  setExplicitNonce(fd: number, direction: Direction, explicit: Uint8Array, from: number): void {
    const { bytes } = this.nonce;
    const iv = fd * ROW_SIZE + direction + IV;
    for (let at = 0; at < 4; at++) bytes[at] = this.#keys.bytes[iv + at]!;
    for (let at = 0; at < EXPLICIT_SIZE; at++) bytes[4 + at] = explicit[from + at]!;
  }

  /** RFC 5246, section 6.2.3.3. */
  setAad12(sequence: number, type: number, size: number): void {
    writeSequence(this.aad.bytes, 0, sequence);
    writeHeader(this.aad.bytes, 8, type, size);
  }
}

/** The header of a record: its type, the version as both of TLS 1.2 and 1.3 write it, how long it is. */
export function writeHeader(bytes: Uint8Array, at: number, type: number, length: number): void {
  bytes[at] = type;
  bytes[at + 1] = 3;
  bytes[at + 2] = 3;
  bytes[at + 3] = length >> 8;
  bytes[at + 4] = length;
}

/** A sequence number as 64 bits. */
export function writeSequence(bytes: Uint8Array, at: number, sequence: number): void {
  const high = Math.floor(sequence / 0x1_0000_0000);
  for (let index = 0; index < 4; index++) {
    bytes[at + index] = high >>> (24 - 8 * index);
    bytes[at + 4 + index] = sequence >>> (24 - 8 * index);
  }
}
