/** A client that has its handshake made by Node, and then makes each of its records itself. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import { IN, KeyTable, OUT, SECRET, TLS12, TLS13 } from '../../../../src/engine/native/tls/key-table.ts';
import { KeySchedule } from '../../../../src/engine/native/tls/key-schedule.ts';
import { openCrypto } from '../../../../src/engine/native/tls/library.ts';
import { ALERT, APPLICATION_DATA, HANDSHAKE, Records } from '../../../../src/engine/native/tls/records.ts';
import type { Address } from '../../peers.ts';

const FD = 1;
const KEY_UPDATE = 24;
const SUITES: Record<string, number> = {
  TLS_AES_128_GCM_SHA256: 0x1301,
  TLS_AES_256_GCM_SHA384: 0x1302,
  TLS_CHACHA20_POLY1305_SHA256: 0x1303,
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: 0xc02b,
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: 0xc02c,
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: 0xcca9,
};

export type Received = { type: number; bytes: Buffer };

/** What was agreed on, as a client's key log has it, by the labels of NSS. */
type KeyLog = Map<string, { random: Buffer; secret: Buffer }>;

export class RawClient implements Disposable {
  readonly carrier: Socket;
  /** Records that came, but for tickets. */
  readonly received: Received[] = [];
  /** How it ended, where it has. */
  ending: 'end' | 'reset' | null = null;
  readonly #crypto = openCrypto();
  readonly #keys = KeyTable.open(2);
  readonly #schedule = new KeySchedule(this.#crypto, this.#keys);
  readonly #records = new Records(this.#crypto, this.#keys, this.#schedule);
  readonly #source = this.#crypto.pin(20_000);
  readonly #target = this.#crypto.pin(20_000);
  readonly #isTls13: boolean;
  #unread: Buffer;
  /** Records of the handshake do not open with the keys of what comes behind it. */
  #isPastHandshake = false;
  #wake: (() => void) | null = null;

  private constructor(carrier: Socket, came: Buffer, { suite, log }: { suite: number; log: KeyLog }) {
    this.carrier = carrier;
    this.#unread = came;
    this.#isTls13 = suite >> 8 === 0x13;
    this.#keys.open(FD, { suite, version: this.#isTls13 ? TLS13 : TLS12 });
    if (this.#isTls13) {
      const labels = [
        [OUT, 'CLIENT_TRAFFIC_SECRET_0'],
        [IN, 'SERVER_TRAFFIC_SECRET_0'],
      ] as const;
      for (const [direction, label] of labels) {
        const { secret } = log.get(label)!;
        this.#keys.part(FD, direction, SECRET, secret.length).set(secret);
        this.#schedule.derive13(FD, direction);
      }
    } else {
      const { random, secret } = log.get('CLIENT_RANDOM')!;
      // Behind the headers of its record and message, and the version.
      const handshake = { masterSecret: secret, clientRandom: random, serverRandom: came.subarray(11, 43) };
      this.#schedule.derive12(FD, { ...handshake, isServer: false });
      this.#keys.setSequence(FD, OUT, 1);
    }
    this.#records.adopt(FD);
    carrier
      .on('data', (data: Buffer) => this.#take(data))
      .on('end', () => this.#ended('end'))
      .on('close', () => this.#ended('reset'));
    this.#take(Buffer.alloc(0));
    carrier.resume();
  }

  /** Shake hands. Nothing is verified. */
  static async connect(address: Address, options: tls.ConnectionOptions = {}): Promise<RawClient> {
    const carrier = net.connect({ ...address, allowHalfOpen: true });
    carrier.on('error', () => {});
    const came: Buffer[] = [];
    const stream = new Duplex({
      read() {},
      write: (bytes: Buffer, _, done) => void carrier.write(bytes, () => done()),
    });
    const take = (data: Buffer) => {
      came.push(data);
      stream.push(data);
    };
    carrier.on('data', take);
    const log: KeyLog = new Map();
    const socket = tls.connect({
      socket: stream,
      servername: 'www.example.com',
      rejectUnauthorized: false,
      ...options,
    });
    socket.on('keylog', (line: Buffer) => {
      const [label = '', random = '', secret = ''] = line.toString('latin1').trim().split(' ');
      log.set(label, { random: Buffer.from(random, 'hex'), secret: Buffer.from(secret, 'hex') });
    });
    await once(socket, 'secureConnect');
    carrier.pause();
    carrier.off('data', take);
    const suite = SUITES[socket.getCipher().standardName];
    assert.ok(suite !== undefined, socket.getCipher().standardName);
    return new RawClient(carrier, Buffer.concat(came), { suite, log });
  }

  #ended(how: 'end' | 'reset'): void {
    this.ending ??= how;
    this.#wake?.();
  }

  #take(data: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, data]);
    while (this.#unread.length >= 5) {
      const size = 5 + this.#unread.readUInt16BE(3);
      if (this.#unread.length < size) break;
      this.#open(this.#unread.subarray(0, size));
      this.#unread = this.#unread.subarray(size);
    }
    this.#wake?.();
  }

  #open(record: Buffer): void {
    this.#source.bytes.set(record);
    const alert = this.#records.open(FD, { source: this.#source, from: 0 }, { target: this.#target, at: 0 });
    if (alert !== 0) {
      assert.equal(this.#isPastHandshake, false, `a record of type ${record[0]} does not open: ${alert}`);
      return;
    }
    this.#isPastHandshake = true;
    const { type, length } = this.#records;
    const bytes = Buffer.from(this.#target.bytes.subarray(0, length));
    if (type === HANDSHAKE && bytes[0] === KEY_UPDATE) this.#records.update(FD, IN);
    if (type !== HANDSHAKE || bytes[0] === KEY_UPDATE) this.received.push({ type, bytes });
  }

  /** A record, sealed with the next sequence number: it is to be sent. */
  record(type: number, bytes: ArrayLike<number>): Buffer {
    this.#source.bytes.set(bytes);
    const source = { source: this.#source, from: 0, length: bytes.length };
    const end = this.#records.seal(FD, type, source, { target: this.#target, at: 0 });
    return Buffer.from(this.#target.bytes.subarray(0, end));
  }

  data(text: string | Uint8Array): Buffer {
    return this.record(APPLICATION_DATA, Buffer.from(text));
  }

  alert(level: number, description: number): Buffer {
    return this.record(ALERT, [level, description]);
  }

  /** A key update, and the next key. */
  keyUpdate({ isAnswerAsked }: { isAnswerAsked: boolean }): Buffer {
    const record = this.record(HANDSHAKE, [KEY_UPDATE, 0, 0, 1, isAnswerAsked ? 1 : 0]);
    this.#records.update(FD, OUT);
    return record;
  }

  /** Plain bytes that came so far. */
  get plain(): Buffer {
    return Buffer.concat(this.received.filter(({ type }) => type === APPLICATION_DATA).map(({ bytes }) => bytes));
  }

  /** Resolves when that is so of what came. */
  async until(isSo: (client: RawClient) => boolean): Promise<void> {
    while (!isSo(this)) {
      if (this.ending !== null) throw new Error(`${this.ending} before it was so`);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** How it ends. */
  async ended(): Promise<'end' | 'reset'> {
    while (this.ending === null) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.ending;
  }

  [Symbol.dispose](): void {
    this.carrier.destroy();
  }
}
