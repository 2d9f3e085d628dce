/**
 * Many records of all kinds in a row, across the 2^32nd, one in four of which comes first with a bit turned: none of those
 * is taken, and of the true ones every byte comes through. GRACE_FUZZ_RUNS=10 makes it 60,000 records.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IN, OUT } from '../../../../src/engine/native/tls/key-table.ts';
import { ALERT, APPLICATION_DATA, HANDSHAKE, Records } from '../../../../src/engine/native/tls/records.ts';
import { EAGAIN } from '../../../../src/engine/native/errno.ts';
import { always, timeout } from '../../../hostile.ts';
import { seededRandom } from '../../../random.ts';
import type { Random } from '../../../random.ts';
import { cut, Leg, OURS, PEERS } from './leg.ts';

const options = { timeout, skip: process.platform !== 'linux' };
const suites = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc030, 0xcca8];
const RECORDS = 200;
const RUNS_A_SUITE = 5;
/** Of no type: the true one is within, and zeros behind it. So a record of TLS 1.3 is padded. */
const PADDED = 0;

/** Records, and the plain bytes that are in them. */
type Made = { records: Buffer[]; plain: Buffer };

function make(leg: Leg, random: Random, isTls13: boolean): Made {
  const size = () => random.pick([0, 1, 2, 15, 16, 17, random.below(300), random.below(300), 1400, 16_384]);
  const plain = Buffer.from(Array.from({ length: size() }, () => random.below(256)));
  const kind = random.below(10);
  if (kind === 0) return { records: [leg.record(ALERT, [1, 90])], plain: Buffer.alloc(0) };
  if (!isTls13 || kind > 4) return { records: [leg.data(plain)], plain };
  if (kind > 2) {
    const short = plain.subarray(0, 16_383);
    // The record is as long as it may be at the most.
    const padding = Buffer.alloc(random.below(16_384 - short.length));
    return {
      records: [leg.record(PADDED, Buffer.concat([short, Buffer.of(APPLICATION_DATA), padding]))],
      plain: short,
    };
  }
  // A key update in as many records as it likes.
  const message = Buffer.of(24, 0, 0, 1, random.below(2));
  const at = random.below(4);
  if (at === 0) return { records: [leg.record(HANDSHAKE, message)], plain: Buffer.alloc(0) };
  const records = [message.subarray(0, at), message.subarray(at)].map((part) => leg.record(HANDSHAKE, part));
  leg.peer.update(PEERS, OUT);
  return { records, plain: Buffer.alloc(0) };
}

for (const suite of suites)
  test(
    `suite 0x${suite.toString(16)}: of many records every byte comes through, and nothing of a spoilt one`,
    options,
    () => {
      const isTls13 = suite >> 8 === 0x13;
      let [all, spoilt] = [0, 0];
      always(RUNS_A_SUITE, fc.nat(), (seed) => {
        const random = seededRandom(seed);
        const leg = new Leg(suite);
        // It opens what is not true, with the keys of the leg and another cipher context.
        const doubting = new Records(leg.crypto, leg.keys);
        const [source, target] = [leg.crypto.pin(20_000), leg.crypto.pin(20_000)];
        const first = 2 ** 32 - random.below(RECORDS);
        leg.keys.setSequence(PEERS, OUT, first);
        leg.keys.setSequence(OURS, IN, first);
        for (let count = 0; count < RECORDS;) {
          const { records, plain } = make(leg, random, isTls13);
          const parts: Buffer[] = [];
          for (const record of records) {
            count++;
            all++;
            if (random.chance(0.25)) {
              spoilt++;
              const wrong = Buffer.from(record);
              // Not its length: that says how much is read.
              const at = random.pick([0, 1, 2, 5, wrong.length - 1, 5 + random.below(wrong.length - 5)]);
              wrong[at]! ^= 1 << random.below(8);
              source.bytes.set(wrong);
              const isTaken =
                doubting.measure(OURS, wrong, 0) >= 0 &&
                doubting.open(OURS, { source, from: 0 }, { target, at: 0 }) === 0;
              assert.equal(isTaken, false, `byte ${at} of ${wrong.length}, seed ${seed}`);
            }
            const longest = random.pick([1, 7, 3000, 30_000]);
            leg.segments.push(
              ...(record.length > 2000 && longest < 10 ? [record] : cut(record, () => 1 + random.below(longest))),
            );
            const { bytes, last } = leg.read();
            assert.equal(last, -EAGAIN, `${leg.codec.failure}, seed ${seed}`);
            parts.push(bytes);
          }
          assert.ok(Buffer.concat(parts).equals(plain), `seed ${seed}`);
        }
        assert.ok(isTls13 || leg.keys.sequence(OURS, IN) >= 2 ** 32);
        doubting.close();
        leg.codec.close();
      });
      assert.ok(all >= RECORDS * RUNS_A_SUITE && spoilt > all / 5, `${spoilt} of ${all}`);
    },
  );
