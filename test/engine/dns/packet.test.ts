import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encode } from 'dns-packet';
import type { Packet } from 'dns-packet';
import { encodeQuestion, readReply } from '../../../src/engine/dns/packet.ts';
import { countCpuMs } from '../../cpu-time.ts';
import { seededRandom } from '../../random.ts';

const name = '_pg._tcp.db.test';
const question = { id: 4711, name, type: 'SRV' as const };
const srv = (target: string, { ttl = 60, port = 5432, owner = name } = {}) =>
  ({ type: 'SRV', name: owner, ttl, data: { priority: 1, weight: 2, port, target } }) as const;
const reply = (packet: Packet, flags = 0x80) =>
  encode({ type: 'response', id: 4711, flags, questions: [{ type: 'SRV', name }], ...packet });

test('an answer is read with its time, its aliases and the addresses that came with it', () => {
  const packet = reply({
    answers: [
      { type: 'CNAME', name, ttl: 30, data: 'Elsewhere.test' },
      srv('A.db.test', { owner: 'elsewhere.TEST' }),
      srv('evil.test', { owner: 'other.test' }),
    ],
    additionals: [
      { type: 'A', name: 'a.db.test', ttl: 20, data: '192.0.2.1' },
      { type: 'AAAA', name: 'a.db.test', ttl: 10, data: '2001:db8::1' },
    ],
  });
  assert.deepEqual(readReply(packet, question), {
    kind: 'answer',
    services: [{ priority: 1, weight: 2, port: 5432, host: 'a.db.test' }],
    addresses: [],
    hasName: true,
    ttlS: 30,
    known: new Map([['a.db.test', { addresses: ['192.0.2.1', '2001:db8::1'], ttlS: 10 }]]),
  });
  const nowhere = readReply(reply({ answers: [srv('.')] }), question);
  assert.deepEqual(nowhere?.kind === 'answer' && nowhere.services.map(({ host }) => host), ['']);
});

test('that there is no name is an answer, for as long as the zone says', () => {
  const authorities = [
    {
      type: 'SOA',
      name: 'db.test',
      ttl: 90,
      data: { mname: 'a', rname: 'b', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 7 },
    },
  ] as const;
  const absent = readReply(reply({ authorities: [...authorities] }, 0x83), question);
  assert.ok(absent?.kind === 'answer' && !absent.hasName && absent.ttlS === 7);
  assert.deepEqual(readReply(reply({}, 0x82), question), { kind: 'failed', code: 'SERVFAIL' });
  // Without recursion, and not of its zone: it knows nothing.
  assert.deepEqual(readReply(reply({}, 0), question), { kind: 'failed', code: 'REFERRAL' });
});

test('what is no answer to the question is none', () => {
  const answers = [srv('a.db.test')];
  const wrong: Record<string, Uint8Array> = {
    'another number': reply({ id: 4712, answers }),
    'another name': reply({ questions: [{ type: 'SRV', name: 'x.test' }], answers }),
    'another type': reply({ questions: [{ type: 'A', name }], answers }),
    'another class': reply({ questions: [{ type: 'SRV', name, class: 'CH' }], answers }),
    'no question': reply({ questions: [], answers }),
    'two questions': reply({
      questions: [
        { type: 'SRV', name },
        { type: 'SRV', name },
      ],
      answers,
    }),
    'a question': encodeQuestion(question),
    nothing: new Uint8Array(0),
    'half a header': reply({ answers }).subarray(0, 7),
  };
  for (const [what, packet] of Object.entries(wrong)) assert.equal(readReply(packet, question), null, what);
  assert.ok(readReply(reply({ questions: [{ type: 'SRV', name: name.toUpperCase() }], answers }), question));
});

test('records that are of no use are not taken, and none of use is a failure', () => {
  const failed = { kind: 'failed', code: 'BADRECORDS' };
  for (const bad of [srv('a b.test'), srv('-.test'), srv('a.test', { port: 0 }), srv('1.2.3.4.5'.repeat(40))])
    try {
      const read = readReply(reply({ answers: [bad] }), question);
      if (bad.data.target.length < 100) assert.deepEqual(read, failed, JSON.stringify(bad));
    } catch (error) {
      assert.match(String(error), /ERR_|RangeError/); // it cannot even be written
    }
  const many = readReply(reply({ answers: Array.from({ length: 2000 }, (_, at) => srv(`h${at}.test`)) }), question);
  assert.ok(many?.kind === 'answer' && many.services.length === 256);
  const forever = readReply(reply({ answers: [srv('a.test', { ttl: 2 ** 31 })] }), question);
  assert.ok(forever?.kind === 'answer' && forever.ttlS === 0);
});

test('names that point at themselves, and packets that are cut off anywhere, are no answer', () => {
  const whole = Buffer.from(reply({ answers: [srv('a.db.test')] }));
  const loop = Buffer.from(whole);
  // The target, which is last, points at itself; then at a place further on.
  for (const to of [loop.length - 2, loop.length + 50, 0x3fff]) {
    loop.writeUInt16BE(0xc000 | to, loop.length - 2);
    assert.equal(readReply(loop, question), null);
  }
  for (let length = 0; length < whole.length; length++)
    assert.equal(readReply(whole.subarray(0, length), question), null, `${length}`);
  // A server that says so itself is asked over TCP, wherever it has cut.
  whole[2] = whole[2]! | 2;
  assert.deepEqual(readReply(whole.subarray(0, 50), question), { kind: 'truncated' });
  assert.deepEqual(readReply(reply({ answers: [srv('a.db.test')], id: 1 }, 0x280), question), null);
});

test('no packet makes it throw, or take long', () => {
  const random = seededRandom(17);
  const whole = reply({ answers: [srv('a.db.test'), srv('b.db.test')] });
  const cpuMs = countCpuMs();
  for (let round = 0; round < 20_000; round++) {
    const packet = Buffer.from(whole);
    for (let flips = 1 + random.below(6); flips > 0; flips--)
      packet[2 + random.below(packet.length - 2)] = random.below(256);
    readReply(packet, question);
  }
  assert.ok(cpuMs() < 20_000);
});
