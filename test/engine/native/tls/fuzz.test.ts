/** Whatever a peer sends as records: nothing but its own bytes comes through, up to what was wrong, which is told once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EAGAIN, EPROTO } from '../../../../src/engine/native/errno.ts';
import { ALERT, APPLICATION_DATA, HANDSHAKE } from '../../../../src/engine/native/tls/records.ts';
import { always, mutatedBytes, timeout } from '../../../hostile.ts';
import { cut, Leg, OURS } from './leg.ts';

const options = { timeout, skip: process.platform !== 'linux' };
const suites = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc030, 0xcca8] as const;
const suite = fc.constantFrom(...suites);
const bytes = fc.uint8Array({ maxLength: 40 });
/** How long the pieces are that are read at once, one after the other and again. */
const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 6 });

function give(leg: Leg, records: Buffer, sizes: readonly number[]): void {
  let turn = 0;
  leg.segments.push(...cut(records, () => sizes[turn++ % sizes.length]!));
}

/** A leg that is at its end says so again and again, and has told its peer why in one alert at the most. */
function mustStayFailed(leg: Leg): void {
  assert.match(leg.codec.failure ?? '', /^(a TLS record of the peer was wrong|the peer ended TLS with the alert)/);
  const { length } = leg.sent;
  assert.equal(leg.codec.receive(), -EPROTO);
  assert.equal(leg.sent.length, length);
  assert.equal(leg.codec.snapshot(), null);
}

/** What a peer that has the keys may send: anything. */
const content = fc.record({
  type: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(APPLICATION_DATA, HANDSHAKE, ALERT) },
    { weight: 1, arbitrary: fc.nat({ max: 255 }) },
  ),
  bytes: fc.oneof(
    bytes,
    fc.constantFrom<Uint8Array>(
      Uint8Array.of(24, 0, 0, 1, 0),
      Uint8Array.of(24, 0, 0, 1, 1),
      Uint8Array.of(24, 0, 0, 1, 2),
      Uint8Array.of(24, 0),
      Uint8Array.of(1, 0),
      Uint8Array.of(1, 90),
      Uint8Array.of(2, 40),
      Uint8Array.of(4, 0, 0, 3, 1, 2, 3),
      Uint8Array.of(0, 0, 0, 0),
      new Uint8Array(0),
    ),
    mutatedBytes([Buffer.from([24, 0, 0, 1, 1]), Buffer.from([4, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0])]),
  ),
});

test('bytes that were changed on the way end the connection behind what came before them', options, () => {
  const wire = fc.record({
    suite,
    parts: fc.array(bytes, { minLength: 1, maxLength: 8 }),
    which: fc.nat(),
    at: fc.nat(),
    xor: fc.integer({ min: 1, max: 255 }),
    cuts,
  });
  always(300, wire, ({ suite: number, parts, which, at, xor, cuts: sizes }) => {
    const leg = new Leg(number);
    const records = parts.map((part) => leg.data(part));
    const spoilt = which % records.length;
    const record = records[spoilt]!;
    record[at % record.length]! ^= xor;
    give(leg, Buffer.concat(records), sizes);
    leg.segments.push(null);
    const { bytes: came, last } = leg.read();
    assert.deepEqual(came, Buffer.concat(parts.slice(0, spoilt)));
    // A length that was made longer wants bytes that do not come.
    const isCutOff = last === 0 && leg.codec.hasReadFin;
    assert.ok(isCutOff || last === -EPROTO, String(last));
    if (last !== -EPROTO) return;
    mustStayFailed(leg);
    const sent = leg.opened(leg.sent);
    assert.equal(sent.length, 1);
    assert.equal(sent[0]!.type, ALERT);
    assert.equal(sent[0]!.bytes[0], 2);
  });
});

test('records that were left out, sent again or in another order are not taken', options, () => {
  const wire = fc.record({
    suite,
    parts: fc.array(bytes, { minLength: 2, maxLength: 8 }),
    order: fc.array(fc.nat({ max: 7 }), { maxLength: 10 }),
    cuts,
  });
  always(200, wire, ({ suite: number, parts, order, cuts: sizes }) => {
    const leg = new Leg(number);
    const records = parts.map((part) => leg.data(part));
    const sent = order.map((index) => index % records.length);
    give(leg, Buffer.concat(sent.map((index) => records[index]!)), sizes);
    const { bytes: came, last } = leg.read();
    const wrong = sent.findIndex((index, position) => index !== position);
    const good = wrong === -1 ? sent.length : wrong;
    assert.deepEqual(came, Buffer.concat(parts.slice(0, good)));
    assert.equal(last, wrong === -1 ? -EAGAIN : -EPROTO);
  });
});

test(
  'whatever a peer with the keys says, its data comes through up to what was wrong, and nothing else does',
  options,
  () => {
    always(
      400,
      fc.record({ suite, contents: fc.array(content, { maxLength: 10 }), cuts }),
      ({ suite: number, contents, cuts: sizes }) => {
        const leg = new Leg(number);
        const data = contents.filter(({ type }) => type === APPLICATION_DATA).map((each) => Buffer.from(each.bytes));
        give(leg, Buffer.concat(contents.map(({ type, bytes: said }) => leg.record(type, said))), sizes);
        const { bytes: came, last } = leg.read();
        assert.ok(
          Buffer.concat(data).subarray(0, came.length).equals(came),
          `${came.toString('hex')} of ${Buffer.concat(data).toString('hex')}`,
        );
        assert.ok([-EPROTO, -EAGAIN, 0].includes(last), String(last));
        // Nothing that is said to it is anything but a whole record of a type that it may get.
        for (const { type, bytes: told } of leg.opened(leg.sent)) {
          assert.equal(type, ALERT);
          assert.equal(told.length, 2);
        }
        if (last === -EPROTO) return mustStayFailed(leg);
        assert.equal(leg.codec.failure, null);
        // It goes on in another process as it was.
        const written = leg.codec.snapshot();
        assert.ok(written !== null);
        if (last === 0) assert.equal(leg.codec.receive(), 0);
        else assert.equal(leg.opened(leg.encode('ours')).at(-1)?.bytes.toString(), 'ours');
      },
    );
  },
);

test('a header of any bytes is measured as a record that there may be, or refused', options, () => {
  const legs = new Map(suites.map((number) => [number, new Leg(number)]));
  always(
    2000,
    fc.record({ suite, header: fc.uint8Array({ minLength: 5, maxLength: 5 }) }),
    ({ suite: number, header }) => {
      const { peer, keys } = legs.get(number)!;
      const measured = peer.measure(OURS, header, 0);
      const length = header[3]! * 256 + header[4]!;
      if (measured < 0) return assert.ok(measured === -10 || measured === -22, String(measured));
      assert.equal(measured, 5 + length);
      assert.ok(length <= 16_384 + (keys.isTls13(OURS) ? 256 : 2048));
    },
  );
});
