/** The record layer of TLS: the examples of the RFC, an implementation of its own beside it, and what must be refused. */
import assert from 'node:assert/strict';
import { createCipheriv, createHmac, randomBytes } from 'node:crypto';
import type { CipherGCMTypes } from 'node:crypto';
import { test } from 'node:test';
import { IN, IV, KEY, KeyTable, OUT, SECRET, TLS12, TLS13 } from '../../../../src/engine/native/tls/key-table.ts';
import type { Direction } from '../../../../src/engine/native/tls/key-table.ts';
import { KeySchedule } from '../../../../src/engine/native/tls/key-schedule.ts';
import { openCrypto } from '../../../../src/engine/native/tls/library.ts';
import {
  ALERT,
  APPLICATION_DATA,
  BAD_RECORD_MAC,
  HANDSHAKE,
  MAX_PLAIN,
  OVERHEAD,
  RECORD_OVERFLOW,
  Records,
  UNEXPECTED_MESSAGE,
} from '../../../../src/engine/native/tls/records.ts';
import { SUITES } from '../../../../src/engine/native/tls/suites.ts';
import { seededRandom } from '../../../random.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };
const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');

/** Legs whose keys are the two sides of the same connection: what 1 seals, 2 opens. */
const SEALER = 1;
const OPENER = 2;

class Pair {
  readonly crypto = openCrypto();
  readonly keys = KeyTable.open(4);
  readonly schedule = new KeySchedule(this.crypto, this.keys);
  readonly records = new Records(this.crypto, this.keys, this.schedule);
  readonly source = this.crypto.pin(3 * MAX_PLAIN);
  readonly sealed = this.crypto.pin(3 * (MAX_PLAIN + OVERHEAD) + 512);
  readonly plain = this.crypto.pin(3 * MAX_PLAIN + 2048);
  readonly suite: number;

  constructor(suite: number) {
    this.suite = suite;
    const version = suite >> 8 === 0x13 ? TLS13 : TLS12;
    for (const fd of [SEALER, OPENER]) this.keys.open(fd, { suite, version });
    const { hashSize } = this.keys.suite(SEALER);
    if (version === TLS13) this.setSecret(randomBytes(hashSize));
    else {
      const handshake = { masterSecret: randomBytes(48), clientRandom: randomBytes(32), serverRandom: randomBytes(32) };
      this.schedule.derive12(SEALER, { ...handshake, isServer: false });
      this.schedule.derive12(OPENER, { ...handshake, isServer: true });
      for (const fd of [SEALER, OPENER]) this.records.adopt(fd);
    }
  }

  setSecret(secret: Uint8Array): void {
    for (const [fd, direction] of [[SEALER, OUT] as const, [OPENER, IN] as const]) {
      this.keys.part(fd, direction, SECRET, secret.length).set(secret);
      this.schedule.derive13(fd, direction);
      this.keys.setSequence(fd, direction, 0);
      this.records.adopt(fd);
    }
  }

  seal(bytes: Uint8Array, type = APPLICATION_DATA): Buffer {
    this.source.bytes.set(bytes);
    const from = { source: this.source, from: 0, length: bytes.length };
    const end = this.records.seal(SEALER, type, from, { target: this.sealed, at: 0 });
    return Buffer.from(this.sealed.bytes.subarray(0, end));
  }

  /** What a record holds, or the alert that it is answered with. */
  open(record: Uint8Array): { type: number; bytes: Buffer } | number {
    this.sealed.bytes.set(record);
    const measured = this.records.measure(OPENER, this.sealed.bytes, 0);
    if (measured < 0) return -measured;
    assert.equal(measured, record.length);
    const alert = this.records.open(OPENER, { source: this.sealed, from: 0 }, { target: this.plain, at: 0 });
    if (alert !== 0) return alert;
    return { type: this.records.type, bytes: Buffer.from(this.plain.bytes.subarray(0, this.records.length)) };
  }

  key(fd: number, direction: Direction): Buffer {
    return Buffer.from(this.keys.part(fd, direction, KEY, this.keys.suite(fd).keySize));
  }

  iv(fd: number, direction: Direction): Buffer {
    return Buffer.from(this.keys.part(fd, direction, IV, 12));
  }
}

/** A record as node:crypto makes it. */
function sealElsewhere(pair: Pair, sequence: number, type: number, content: Uint8Array): Buffer {
  const { cipher, isExplicit } = pair.keys.suite(SEALER);
  const isTls13 = pair.keys.isTls13(SEALER);
  const number = Buffer.alloc(12);
  number.writeBigUInt64BE(BigInt(sequence), 4);
  const iv = pair.iv(SEALER, OUT);
  const nonce = isExplicit
    ? Buffer.concat([iv.subarray(0, 4), number.subarray(4)])
    : Buffer.from(iv.map((byte, at) => byte ^ number[at]!));
  const header = Buffer.from([type, 3, 3, 0, 0]);
  header.writeUInt16BE(content.length + 16 + (isExplicit ? 8 : 0), 3);
  const innerHeader = Buffer.from(header);
  innerHeader.writeUInt16BE(content.length, 3);
  const aad = isTls13 ? header : Buffer.concat([number.subarray(4), innerHeader]);
  const name = cipher.toLowerCase() as CipherGCMTypes;
  const aead = createCipheriv(name, pair.key(SEALER, OUT), nonce, { authTagLength: 16 });
  aead.setAAD(aad, { plaintextLength: content.length });
  const body = Buffer.concat([aead.update(content), aead.final()]);
  return Buffer.concat([header, isExplicit ? number.subarray(4) : Buffer.alloc(0), body, aead.getAuthTag()]);
}

const suites = [...SUITES.keys()];
const tls13 = suites.filter((suite) => suite >> 8 === 0x13);

test('keys and records are those of the 1-RTT handshake of RFC 8448, section 3', options, () => {
  const client = new Pair(0x1301);
  client.setSecret(hex('9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5'));
  assert.deepEqual(client.key(SEALER, OUT), hex('17422dda596ed5d9acd890e3c63f5051'));
  assert.deepEqual(client.iv(SEALER, OUT), hex('5b78923dee08579033e523d9'));
  const server = new Pair(0x1301);
  server.setSecret(hex('a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643'));
  assert.deepEqual(server.key(OPENER, IN), hex('9f02283b6c9c07efc26bb9f2ac92e356'));
  assert.deepEqual(server.iv(OPENER, IN), hex('cf782b88dd83549aadf1e984'));

  const data = Buffer.from(Array.from({ length: 50 }, (_, at) => at));
  const closeNotify = Buffer.from([1, 0]);
  const ofClient = hex(`17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f
    2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49
    15 e4`);
  assert.deepEqual(client.seal(data), ofClient);
  assert.deepEqual(client.open(ofClient), { type: APPLICATION_DATA, bytes: data });
  const end = hex('17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3');
  assert.deepEqual(client.seal(closeNotify, ALERT), end);
  assert.deepEqual(client.open(end), { type: ALERT, bytes: closeNotify });

  // The first record of the server was its ticket.
  server.keys.setSequence(OPENER, IN, 1);
  const ofServer = hex(`17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36
    e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95
    5d`);
  assert.deepEqual(server.open(ofServer), { type: APPLICATION_DATA, bytes: data });
  const endOfServer = hex('17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9');
  assert.deepEqual(server.open(endOfServer), { type: ALERT, bytes: closeNotify });
});

for (const suite of suites) {
  test(`suite 0x${suite.toString(16)} seals what another implementation seals, past 2^32 records too`, options, () => {
    const pair = new Pair(suite);
    const isTls13 = pair.keys.isTls13(SEALER);
    for (const sequence of [0, 1, 255, 2 ** 24, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 5]) {
      for (const size of [0, 1, 15, 16, 1400, MAX_PLAIN]) {
        const bytes = randomBytes(size);
        for (const [fd, direction] of [[SEALER, OUT] as const, [OPENER, IN] as const])
          pair.keys.setSequence(fd, direction, sequence);
        const content = isTls13 ? Buffer.concat([bytes, Buffer.from([APPLICATION_DATA])]) : bytes;
        const record = pair.seal(bytes);
        assert.deepEqual(record, sealElsewhere(pair, sequence, APPLICATION_DATA, content));
        assert.deepEqual(pair.open(record), { type: APPLICATION_DATA, bytes });
      }
    }
  });

  test(
    `suite 0x${suite.toString(16)} refuses a record with any bit turned, and then opens the true one`,
    options,
    () => {
      const pair = new Pair(suite);
      const random = seededRandom(suite);
      const other = new Pair(suite);
      for (let round = 0; round < 60; round++) {
        const bytes = randomBytes(round % 7 === 0 ? 0 : random.below(300));
        const record = pair.seal(bytes);
        const turned = Buffer.from(record);
        // Not the length, which is a matter of what is read.
        const at = random.pick([0, 1, 2, 5 + random.below(record.length - 5), record.length - 1]);
        turned[at]! ^= 1 << random.below(8);
        const answer = pair.open(turned);
        assert.ok(
          answer === BAD_RECORD_MAC || (at < 3 && answer === UNEXPECTED_MESSAGE),
          `byte ${at}: ${String(answer)}`,
        );
        // Another leg with the same cipher between them must not leave its key behind.
        assert.equal(typeof other.open(other.seal(bytes)), 'object');
        assert.deepEqual(pair.open(record), { type: APPLICATION_DATA, bytes });
        // A second time it is not the record that is due.
        if (round % 10 === 0) assert.equal(pair.open(record), BAD_RECORD_MAC);
      }
    },
  );

  test(`suite 0x${suite.toString(16)} opens no record that is too short or too long`, options, () => {
    const pair = new Pair(suite);
    const isTls13 = pair.keys.isTls13(SEALER);
    const expansion = isTls13 ? 256 : 2048;
    const header = (length: number) => Buffer.from([APPLICATION_DATA, 3, 3, length >> 8, length & 255]);
    for (let length = 0; length < 17 + 8; length++)
      assert.equal(pair.open(Buffer.concat([header(length), Buffer.alloc(length)])), BAD_RECORD_MAC);
    const measure = (length: number) => pair.records.measure(OPENER, header(length), 0);
    assert.equal(measure(MAX_PLAIN + expansion), 5 + MAX_PLAIN + expansion);
    assert.equal(measure(MAX_PLAIN + expansion + 1), -RECORD_OVERFLOW);
    const tooMuch = Buffer.alloc(MAX_PLAIN + (isTls13 ? 2 : 1), APPLICATION_DATA);
    assert.equal(pair.open(sealElsewhere(pair, 0, APPLICATION_DATA, tooMuch)), RECORD_OVERFLOW);
  });
}

test('records of TLS 1.2 with another version or type are refused before they are read', options, () => {
  const { records } = new Pair(0xc02b);
  for (const type of [19, 20, 24, 0, 255])
    assert.equal(records.measure(OPENER, Buffer.from([type, 3, 3, 0, 40]), 0), -UNEXPECTED_MESSAGE);
  assert.equal(records.measure(OPENER, Buffer.from([23, 3, 1, 0, 40]), 0), -UNEXPECTED_MESSAGE);
});

test('a change_cipher_spec and plain records are refused after a handshake of TLS 1.3', options, () => {
  const { records } = new Pair(0x1301);
  for (const type of [20, 21, 22, 24])
    assert.equal(records.measure(OPENER, Buffer.from([type, 3, 3, 0, 1]), 0), -UNEXPECTED_MESSAGE);
});

test(
  'padding is taken off a record of TLS 1.3; one that is nothing else, or has no content of its type, is refused',
  options,
  () => {
    for (const suite of tls13) {
      const pair = new Pair(suite);
      let sequence = 0;
      const seal = (...parts: (Uint8Array | number[])[]) =>
        sealElsewhere(pair, sequence++, APPLICATION_DATA, Buffer.concat(parts.map((part) => Buffer.from(part))));
      const bytes = randomBytes(100);
      for (const padding of [0, 1, 255, MAX_PLAIN - 100])
        assert.deepEqual(pair.open(seal(bytes, [HANDSHAKE], Buffer.alloc(padding))), { type: HANDSHAKE, bytes });
      assert.deepEqual(pair.open(seal([APPLICATION_DATA], Buffer.alloc(50))), {
        type: APPLICATION_DATA,
        bytes: Buffer.alloc(0),
      });
      const refused = [
        seal([0]),
        seal(Buffer.alloc(300)),
        seal([HANDSHAKE]),
        seal([ALERT]),
        seal(bytes, [20]),
        seal(bytes, [24]),
      ];
      for (const record of refused) assert.equal(pair.open(record), UNEXPECTED_MESSAGE);
    }
  },
);

test('more than a record holds makes several, each of them full but the last', options, () => {
  for (const suite of suites) {
    const pair = new Pair(suite);
    const bytes = randomBytes(2 * MAX_PLAIN + 7);
    let rest = pair.seal(bytes);
    for (const size of [MAX_PLAIN, MAX_PLAIN, 7]) {
      const length = 5 + rest.readUInt16BE(3);
      const opened = pair.open(rest.subarray(0, length));
      assert.ok(typeof opened === 'object' && opened.bytes.length === size);
      rest = rest.subarray(length);
    }
    assert.equal(rest.length, 0);
    assert.equal(pair.records.sealed(SEALER), 3);
  }
});

test('both directions of TLS 1.2 have the keys of the RFC, by HMAC alone', options, () => {
  for (const suite of suites.filter((each) => !tls13.includes(each))) {
    const pair = new Pair(suite);
    const { hash, keySize, isExplicit } = pair.keys.suite(SEALER);
    const [masterSecret, clientRandom, serverRandom] = [randomBytes(48), randomBytes(32), randomBytes(32)];
    const hmac = (...parts: Buffer[]) => createHmac(hash, masterSecret).update(Buffer.concat(parts)).digest();
    const seed = Buffer.concat([Buffer.from('key expansion'), serverRandom, clientRandom]);
    const block: Buffer[] = [];
    for (let round = 0, chained = hmac(seed); round < 4; round++, chained = hmac(chained))
      block.push(hmac(chained, seed));
    const bytes = Buffer.concat(block);
    const iv = isExplicit ? 4 : 12;
    pair.schedule.derive12(OPENER, { isServer: true, masterSecret, clientRandom, serverRandom });
    assert.deepEqual(pair.key(OPENER, IN), bytes.subarray(0, keySize));
    assert.deepEqual(pair.key(OPENER, OUT), bytes.subarray(keySize, 2 * keySize));
    assert.deepEqual(pair.iv(OPENER, IN).subarray(0, iv), bytes.subarray(2 * keySize, 2 * keySize + iv));
    assert.deepEqual(pair.iv(OPENER, OUT).subarray(0, iv), bytes.subarray(2 * keySize + iv, 2 * keySize + 2 * iv));
  }
});

test('a key update counts from 0 again, and the old key opens nothing any more', options, () => {
  for (const suite of tls13) {
    const pair = new Pair(suite);
    const before = pair.seal(Buffer.from('before'));
    assert.equal(typeof pair.open(before), 'object');
    const old = pair.key(SEALER, OUT);
    pair.records.update(SEALER, OUT);
    const after = pair.seal(Buffer.from('after'));
    assert.equal(pair.open(after), BAD_RECORD_MAC);
    pair.records.update(OPENER, IN);
    assert.deepEqual(pair.open(after), { type: APPLICATION_DATA, bytes: Buffer.from('after') });
    assert.equal(pair.records.sealed(SEALER), 1);
    assert.notDeepEqual(pair.key(SEALER, OUT), old);
  }
});

test('a row that is closed has nothing of its keys, and one that was not adopted is not used', options, () => {
  const pair = new Pair(0x1302);
  pair.keys.close(SEALER);
  assert.ok(pair.keys.bytes.subarray(SEALER * 512, OPENER * 512).every((byte) => byte === 0));
  assert.throws(() => pair.seal(Buffer.from('x')), TypeError);
  pair.keys.open(SEALER, { suite: 0x1302, version: TLS13 });
  assert.throws(() => pair.seal(Buffer.from('x')), TypeError);
});
