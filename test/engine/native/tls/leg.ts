/** One leg that speaks TLS, and its peer. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { ConnectionTable, KIND_CLIENT } from '../../../../src/engine/native/connection-table.ts';
import type { Encoded } from '../../../../src/engine/native/codec.ts';
import { EAGAIN } from '../../../../src/engine/native/errno.ts';
import { READ_SIZE } from '../../../../src/engine/native/kernel.ts';
import type { Thread } from '../../../../src/engine/native/thread.ts';
import { TlsLegs } from '../../../../src/engine/native/tls/codec.ts';
import type { TlsCodec } from '../../../../src/engine/native/tls/codec.ts';
import { IN, KeyTable, OUT, SECRET, TLS12, TLS13 } from '../../../../src/engine/native/tls/key-table.ts';
import { KeySchedule } from '../../../../src/engine/native/tls/key-schedule.ts';
import { openCrypto } from '../../../../src/engine/native/tls/library.ts';
import { APPLICATION_DATA, HANDSHAKE, Records } from '../../../../src/engine/native/tls/records.ts';
import { openSsl } from '../../../../src/engine/native/tls/ssl-library.ts';

/** Descriptor of ours in the tables. */
export const OURS = 1;
/** That of its peer. */
export const PEERS = 2;

/** A codec, its socket being two queues, and the records of its peer. */
export class Leg {
  readonly crypto = openCrypto();
  readonly keys = KeyTable.open(4);
  readonly peer: Records;
  readonly codec: TlsCodec;
  readonly input = new Uint8Array(new ArrayBuffer(READ_SIZE));
  readonly table = new ConnectionTable(new SharedArrayBuffer(64 * 8));
  /** What the codec is to read, a segment a read; null: the end. */
  readonly segments: (Uint8Array | null)[] = [];
  /** What it has sent by itself. */
  sent = Buffer.alloc(0);
  readonly #source = this.crypto.pin(80_000);
  readonly #target = this.crypto.pin(80_000);
  readonly #moved = this.crypto.pin(300_000);
  readonly #memcpy = openSsl().memcpy;

  constructor(suite: number, { isClient = false, recordsPerKey = 2 ** 23 } = {}) {
    const kernel = {
      input: this.input,
      receiveAt: (_: number, address: bigint, length: number) => {
        const taken = this.#receive(this.#moved.bytes.subarray(0, length));
        if (taken > 0) this.#memcpy(address, this.#moved.address, BigInt(taken));
        return taken;
      },
      sendAt: (_: number, address: bigint, length: number) => {
        this.#memcpy(this.#moved.address, address, BigInt(length));
        this.sent = Buffer.concat([this.sent, this.#moved.bytes.subarray(0, length)]);
        return length;
      },
    };
    this.table.open(OURS, 0, KIND_CLIENT);
    const thread = { kernel, table: this.table } as unknown as Thread;
    const schedule = new KeySchedule(this.crypto, this.keys);
    this.peer = new Records(this.crypto, this.keys, schedule);
    for (const fd of [OURS, PEERS]) this.keys.open(fd, { suite, version: suite >> 8 === 0x13 ? TLS13 : TLS12 });
    if (suite >> 8 === 0x13) {
      const { hashSize } = this.keys.suite(OURS);
      for (const [from, to] of [
        [OURS, PEERS],
        [PEERS, OURS],
      ] as const) {
        const secret = randomBytes(hashSize);
        this.keys.part(from, OUT, SECRET, hashSize).set(secret);
        this.keys.part(to, IN, SECRET, hashSize).set(secret);
        schedule.derive13(from, OUT);
        schedule.derive13(to, IN);
      }
    } else {
      const handshake = { masterSecret: randomBytes(48), clientRandom: randomBytes(32), serverRandom: randomBytes(32) };
      schedule.derive12(OURS, { ...handshake, isServer: true });
      schedule.derive12(PEERS, { ...handshake, isServer: false });
    }
    this.peer.adopt(PEERS);
    this.codec = new TlsLegs(thread, { crypto: this.crypto, keys: this.keys, recordsPerKey }).open(OURS, { isClient });
  }

  #receive(bytes: Uint8Array): number {
    const segment = this.segments.shift();
    if (segment === undefined) return -EAGAIN;
    if (segment === null) return 0;
    const taken = Math.min(segment.length, bytes.length);
    bytes.set(segment.subarray(0, taken));
    if (taken < segment.length) this.segments.unshift(segment.subarray(taken));
    return taken;
  }

  /** A record of the peer. `padding`: zeros behind it, of TLS 1.3. */
  record(type: number, bytes: ArrayLike<number>): Buffer {
    this.#source.bytes.set(bytes);
    const source = { source: this.#source, from: 0, length: bytes.length };
    const end = this.peer.seal(PEERS, type, source, { target: this.#target, at: 0 });
    const record = Buffer.from(this.#target.bytes.subarray(0, end));
    if (type === HANDSHAKE && bytes[0] === 24 && bytes.length === 5) this.peer.update(PEERS, OUT);
    return record;
  }

  data(text: string | Uint8Array): Buffer {
    return this.record(APPLICATION_DATA, Buffer.from(text));
  }

  /** Everything that it reads, and what the last read answered. */
  read(): { bytes: Buffer; last: number } {
    const parts: Buffer[] = [];
    for (;;) {
      const length = this.codec.receive();
      if (length <= 0) return { bytes: Buffer.concat(parts), last: length };
      parts.push(Buffer.from(this.input.subarray(0, length)));
    }
  }

  encode(text: string): Buffer {
    const bytes = Buffer.from(text);
    this.input.set(bytes);
    return said(this.codec.encode(bytes.length));
  }

  /** What the peer finds in records of ours. */
  opened(records: Buffer): { type: number; bytes: Buffer }[] {
    const found = [];
    for (let from = 0; from < records.length;) {
      this.#source.bytes.set(records.subarray(from));
      from += this.peer.measure(PEERS, this.#source.bytes, 0);
      const alert = this.peer.open(PEERS, { source: this.#source, from: 0 }, { target: this.#target, at: 0 });
      assert.equal(alert, 0);
      const bytes = Buffer.from(this.#target.bytes.subarray(0, this.peer.length));
      if (this.peer.type === HANDSHAKE && bytes[0] === 24) this.peer.update(PEERS, IN);
      found.push({ type: this.peer.type, bytes });
    }
    return found;
  }
}

/** Cut bytes at will. */
export function* cut(bytes: Buffer, size: () => number): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const end = at + Math.max(1, size());
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** A copy of what a codec has the socket be given. */
export function said({ bytes, length }: Encoded): Buffer {
  return Buffer.from(bytes.subarray(0, length));
}
