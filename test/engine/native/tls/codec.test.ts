/** TLS on one leg after its handshake: records cut anywhere, key updates, alerts, ends, and what must end the connection. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { BLOCKED } from '../../../../src/engine/native/connection-table.ts';
import { EAGAIN, ENOBUFS, EPROTO } from '../../../../src/engine/native/errno.ts';
import { READ_SIZE } from '../../../../src/engine/native/kernel.ts';
import { IN, OUT } from '../../../../src/engine/native/tls/key-table.ts';
import { ALERT, APPLICATION_DATA, HANDSHAKE } from '../../../../src/engine/native/tls/records.ts';
import { seededRandom } from '../../../random.ts';
import { until } from '../../../until.ts';
import { cut, Leg, OURS, PEERS, said } from './leg.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };
const suites = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc030, 0xcca8];
const CLOSE_NOTIFY = [1, 0];
const keyUpdate = (request: number) => [24, 0, 0, 1, request];

for (const suite of suites) {
  test(
    `suite 0x${suite.toString(16)}: whatever way records are cut, every byte comes through, and then the end`,
    options,
    () => {
      const random = seededRandom(suite);
      for (const longest of [1, 7, 300, 30_000, READ_SIZE]) {
        const leg = new Leg(suite);
        const sent: Buffer[] = [];
        const records: Buffer[] = [];
        for (let count = longest < 10 ? 20 : 40; count > 0; count--) {
          const bytes = randomBytes(random.pick([0, 1, 30, longest < 10 ? 7 : 5000, longest < 10 ? 20 : 16_384]));
          sent.push(bytes);
          records.push(leg.data(bytes));
          if (suite >> 8 === 0x13 && random.chance(0.3)) records.push(leg.record(HANDSHAKE, keyUpdate(0)));
          if (random.chance(0.1)) records.push(leg.record(ALERT, [1, 90]));
        }
        records.push(leg.record(ALERT, CLOSE_NOTIFY), randomBytes(100));
        leg.segments.push(...cut(Buffer.concat(records), () => 1 + random.below(longest)));
        const { bytes, last } = leg.read();
        assert.equal(last, 0);
        assert.ok(bytes.equals(Buffer.concat(sent)));
        assert.equal(leg.codec.failure, null);
        assert.equal(leg.codec.hasReadFin, false);
        assert.equal(leg.sent.length, 0);
      }
    },
  );

  test(`suite 0x${suite.toString(16)}: what we send is opened by the peer, the farewell last and once`, options, () => {
    const leg = new Leg(suite);
    leg.input.set(randomBytes(READ_SIZE));
    const plain = Buffer.from(leg.input);
    for (const size of [1, 16_384, 16_385, READ_SIZE]) {
      const found = leg.opened(said(leg.codec.encode(size)));
      assert.equal(found.length, Math.ceil(size / 16_384));
      assert.ok(Buffer.concat(found.map(({ bytes }) => bytes)).equals(plain.subarray(0, size)));
    }
    assert.deepEqual(leg.opened(said(leg.codec.farewell())), [{ type: ALERT, bytes: Buffer.from(CLOSE_NOTIFY) }]);
    assert.equal(leg.codec.farewell().length, 0);
  });

  test(
    `suite 0x${suite.toString(16)}: a record that does not authenticate ends it, after what came before it`,
    options,
    () => {
      for (const at of [5, 12, -1]) {
        const leg = new Leg(suite);
        const wrong = leg.data('wrong');
        leg.peer.adopt(PEERS);
        leg.keys.setSequence(PEERS, OUT, leg.keys.sequence(OURS, IN));
        const before = leg.data('before');
        wrong[at < 0 ? wrong.length + at : at]! ^= 1;
        leg.segments.push(Buffer.concat([before, wrong, leg.data('after')]));
        const { bytes, last } = leg.read();
        assert.equal(bytes.toString(), 'before');
        assert.equal(last, -EPROTO);
        assert.match(leg.codec.failure ?? '', /bad_record_mac/);
        assert.deepEqual(leg.opened(leg.sent), [{ type: ALERT, bytes: Buffer.from([2, 20]) }]);
        // It is told once, and nothing behind it.
        assert.equal(leg.codec.receive(), -EPROTO);
        assert.equal(leg.codec.farewell().length, 0);
      }
    },
  );
}

test('what was the last is sealed with the end behind it, which is said once', options, () => {
  const leg = new Leg(0x1301);
  leg.input.set(Buffer.from('last words'));
  const records = said(leg.codec.encode(10, true));
  assert.deepEqual(leg.opened(records), [
    { type: APPLICATION_DATA, bytes: Buffer.from('last words') },
    { type: ALERT, bytes: Buffer.from(CLOSE_NOTIFY) },
  ]);
  assert.equal(leg.codec.farewell().length, 0);
});

test('no more is read from the socket than was asked for', options, () => {
  const leg = new Leg(0x1301);
  const [one, two] = [leg.data('one'), leg.data('two')];
  leg.segments.push(Buffer.concat([one, two]));
  assert.equal(leg.codec.receive(one.length), 3);
  assert.equal(leg.codec.receive(), 3);
  leg.segments.push(Buffer.concat([leg.data('one'), leg.data('two')]));
  assert.equal(leg.codec.receive(), 6);
});

test('after a short read nothing is left, unless the peer has ended or an alert is due', options, () => {
  const leg = new Leg(0x1301);
  const record = leg.data('one');
  leg.segments.push(record);
  assert.equal(leg.codec.receive(record.length), 3);
  assert.equal(leg.codec.isDrained, false);
  leg.segments.push(leg.data('two'));
  assert.equal(leg.codec.receive(), 3);
  assert.equal(leg.codec.isDrained, true);
  leg.segments.push(Buffer.concat([leg.data('end'), leg.record(ALERT, CLOSE_NOTIFY)]));
  assert.equal(leg.codec.receive(), 3);
  assert.equal(leg.codec.isDrained, false);
  const failing = new Leg(0x1301);
  failing.segments.push(Buffer.concat([failing.data('bad'), failing.record(ALERT, [1])]));
  assert.equal(failing.codec.receive(), 3);
  assert.equal(failing.codec.isDrained, false);
});

test('a FIN without close_notify is an end, in the middle of a record too', options, () => {
  for (const rest of [Buffer.alloc(0), Buffer.from([23, 3, 3, 1])]) {
    const leg = new Leg(0x1301);
    leg.segments.push(leg.data('last words'), rest, null);
    if (rest.length === 0) leg.segments.splice(1, 1);
    assert.deepEqual(leg.read(), { bytes: Buffer.from('last words'), last: 0 });
    assert.equal(leg.codec.hasReadFin, true);
    assert.equal(leg.codec.failure, null);
  }
});

const wrongs: [string, number, (leg: Leg) => Buffer][] = [
  ['a record that is too long', 22, () => Buffer.from([23, 3, 3, 0x41, 1])],
  ['a plain record', 10, () => Buffer.from([21, 3, 3, 0, 2, 1, 0])],
  ['a change_cipher_spec', 10, () => Buffer.from([20, 3, 3, 0, 1, 1])],
  ['an alert of one byte', 50, (leg) => leg.record(ALERT, [1])],
  ['two alerts in a record', 50, (leg) => leg.record(ALERT, [1, 90, 1, 0])],
  ['a ClientHello', 10, (leg) => leg.record(HANDSHAKE, [1, 0, 0, 1, 0])],
  ['a ticket for a server', 10, (leg) => leg.record(HANDSHAKE, [4, 0, 0, 1, 0])],
  ['a KeyUpdate of two bytes', 50, (leg) => leg.record(HANDSHAKE, [24, 0, 0, 2, 0, 0])],
  ['a KeyUpdate that asks for something else', 47, (leg) => leg.record(HANDSHAKE, keyUpdate(2))],
  ['a KeyUpdate that is not the last of its record', 10, (leg) => leg.record(HANDSHAKE, [...keyUpdate(0), 24])],
  ['data within a handshake message', 10, (leg) => Buffer.concat([leg.record(HANDSHAKE, [24, 0]), leg.data('within')])],
  [
    'an alert within a handshake message',
    10,
    (leg) => Buffer.concat([leg.record(HANDSHAKE, [24, 0, 0, 1]), leg.record(ALERT, CLOSE_NOTIFY)]),
  ],
];
for (const [what, alert, make] of wrongs) {
  test(`TLS 1.3: ${what} is answered with alert ${alert}`, options, () => {
    const leg = new Leg(0x1301);
    leg.segments.push(leg.data('good'), make(leg));
    assert.deepEqual(leg.read(), { bytes: Buffer.from('good'), last: -EPROTO });
    assert.deepEqual(leg.opened(leg.sent), [{ type: ALERT, bytes: Buffer.from([2, alert]) }]);
    assert.match(leg.codec.failure ?? '', /^a TLS record of the peer was wrong: /);
  });
}

test('no alert is sent into the middle of a record that is waiting, nor after our end', options, () => {
  const blocked = new Leg(0x1301);
  blocked.table.set(OURS, BLOCKED);
  const ended = new Leg(0x1301);
  ended.codec.farewell();
  for (const leg of [blocked, ended]) {
    leg.segments.push(Buffer.from([20, 3, 3, 0, 1, 1]));
    assert.equal(leg.read().last, -EPROTO);
    assert.equal(leg.sent.length, 0);
  }
});

test('alerts of the peer end it and are named, but for warnings of TLS 1.2 and user_canceled', options, () => {
  for (const [suite, alert, failure] of [
    [0x1301, [2, 48], 'unknown_ca'],
    [0x1301, [1, 48], 'unknown_ca'],
    [0x1301, [2, 199], 'alert 199'],
    [0x1301, [1, 90], null],
    [0xc02f, [2, 20], 'bad_record_mac'],
    [0xc02f, [1, 100], null],
  ] as const) {
    const leg = new Leg(suite);
    leg.segments.push(leg.data('a'), leg.record(ALERT, alert), leg.data('b'));
    const { bytes, last } = leg.read();
    assert.equal(bytes.toString(), failure === null ? 'ab' : 'a');
    assert.equal(last, failure === null ? -EAGAIN : -EPROTO);
    assert.equal(leg.codec.failure, failure && `the peer ended TLS with the alert ${failure}`);
    assert.equal(leg.sent.length, 0);
  }
});

test('any number of key updates that ask for ours are answered with one, before the next byte', options, () => {
  const leg = new Leg(0x1302);
  leg.segments.push(
    Buffer.concat(Array.from({ length: 300 }, () => leg.record(HANDSHAKE, keyUpdate(1)))),
    leg.data('x'),
  );
  assert.equal(leg.read().bytes.toString(), 'x');
  assert.equal(leg.sent.length, 0);
  assert.deepEqual(leg.opened(leg.encode('one')), [
    { type: HANDSHAKE, bytes: Buffer.from(keyUpdate(0)) },
    { type: APPLICATION_DATA, bytes: Buffer.from('one') },
  ]);
  assert.equal(leg.opened(leg.encode('two')).length, 1);
  // After our end there is no answer.
  leg.segments.push(leg.record(HANDSHAKE, keyUpdate(1)), leg.data('y'));
  assert.deepEqual(
    leg.opened(said(leg.codec.farewell())).map(({ type }) => type),
    [ALERT],
  );
  assert.equal(leg.read().bytes.toString(), 'y');
  assert.equal(leg.codec.farewell().length, 0);
});

test('a key update that is spread over records, a byte each, counts', options, () => {
  const leg = new Leg(0x1303);
  for (const byte of keyUpdate(0)) leg.segments.push(leg.record(HANDSHAKE, [byte]));
  leg.peer.update(PEERS, OUT);
  leg.segments.push(leg.data('with the next key'));
  assert.equal(leg.read().bytes.toString(), 'with the next key');
});

test('our key is changed before it has sealed more records than it may', options, () => {
  const leg = new Leg(0x1301, { recordsPerKey: 3 });
  const types = Array.from({ length: 8 }, () => leg.opened(leg.encode('x')).map(({ type }) => type));
  const withUpdate = [HANDSHAKE, APPLICATION_DATA];
  assert.deepEqual(types, [[23], [23], [23], withUpdate, [23], [23], withUpdate, [23]]);
});

test('a flood of records without a byte is read at a limited rate, and not ended', options, async () => {
  const leg = new Leg(0x1301);
  const count = 6000;
  for (let sent = 0; sent < count; sent++)
    leg.segments.push(sent % 2 === 0 ? leg.record(HANDSHAKE, keyUpdate(1)) : leg.data(''));
  leg.segments.push(leg.data('in the end'));
  let pauses = 0;
  await until('the byte behind the flood', () => {
    const { bytes, last } = leg.read();
    if (last === -ENOBUFS) pauses++;
    return bytes.toString() === 'in the end';
  });
  assert.ok(pauses > 10);
});

test('tickets of a server are passed over, in however many records', options, () => {
  const leg = new Leg(0x1301, { isClient: true });
  const ticket = [4, 0, 1, 0, ...randomBytes(256)];
  leg.segments.push(
    leg.record(HANDSHAKE, [...ticket, ...ticket.slice(0, 100)]),
    leg.record(HANDSHAKE, ticket.slice(100)),
    leg.data('after'),
  );
  assert.deepEqual(leg.read(), { bytes: Buffer.from('after'), last: -EAGAIN });
});

test('a renegotiation of TLS 1.2 is refused with a warning, and the connection goes on', options, () => {
  const leg = new Leg(0xc02b);
  leg.segments.push(leg.record(HANDSHAKE, [1, 0, 0, 1, 0]), leg.data('still here'));
  assert.deepEqual(leg.read(), { bytes: Buffer.from('still here'), last: -EAGAIN });
  assert.deepEqual(leg.opened(leg.sent), [{ type: ALERT, bytes: Buffer.from([1, 100]) }]);
  assert.equal(leg.opened(leg.encode('and here'))[0]?.bytes.toString(), 'and here');
});

test('nothing of its keys is left when a leg is closed', options, () => {
  const leg = new Leg(0x1302);
  leg.codec.close();
  assert.ok(leg.keys.part(OURS, IN, 0, 224).every((byte) => byte === 0));
});
