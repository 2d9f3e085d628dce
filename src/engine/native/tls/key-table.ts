/**
 * Keys of TLS legs, in a table of its own beside the connection table: a row for each descriptor, in memory
 * that the threads share, so that no copy is made when a leg goes from the thread of its handshake to the one
 * that moves its bytes. A row is written by the thread that has the leg alone, and is zeroed when the leg ends.
 */
import { SUITES } from './suites.ts';
import type { Suite } from './suites.ts';

/** Bytes of a row. */
export const ROW_SIZE = 256;
/** What is sent to us, and what we send. */
export const IN = 0;
export const OUT = 112;
/** Within a direction. */
export const KEY = 0;
export const IV = 32;
const SEQUENCE = 48;
const EPOCH = 56;
export const SECRET = 64;
/** Of the row. */
const SUITE = 224;
const VERSION = 226;

/** A direction of a leg: IN or OUT. */
export type Direction = typeof IN | typeof OUT;
/** Versions as they are on the wire. */
export const TLS12 = 0x0303;
export const TLS13 = 0x0304;

/** The table. Its memory is made once, and all threads look at the same. */
export class KeyTable {
  readonly memory: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly #wide: Float64Array;
  readonly #shorts: Uint16Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.bytes = new Uint8Array(memory);
    this.#wide = new Float64Array(memory);
    this.#shorts = new Uint16Array(memory);
  }

  /** Make one for descriptors below `rows`. Memory is used for those in use only. */
  static open(rows: number): KeyTable {
    return new KeyTable(new SharedArrayBuffer(rows * ROW_SIZE));
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

  isTls13(fd: number): boolean {
    return this.#shorts[(fd * ROW_SIZE + VERSION) >> 1] === TLS13;
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
}
