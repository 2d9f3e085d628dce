import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Accounts, problemOf } from '../../scripts/soak/accounts.ts';
import type { Entry } from '../../scripts/soak/accounts.ts';
import { eventNames, orderOf } from '../../scripts/soak/events.ts';
import { kinds, placesOf, planOf } from '../../scripts/soak/plan.ts';
import { fitLine, trendsOf } from '../../scripts/soak/sampler.ts';
import type { Sample, Use } from '../../scripts/soak/sampler.ts';
import type { Side } from '../../scripts/soak/side.ts';
import { seededRandom } from '../random.ts';

const plan = planOf(1, { id: 1, kind: 'tcp' });

/** What is left of a side that has seen the end. */
function side(seen: Partial<Side>): Side {
  return { received: 10, sent: 10, wrongAt: -1, ending: 'end', error: '', endedAt: performance.now(), ...seen } as Side;
}

function entryOf(accounts: Accounts, { client, server }: { client: Side | null; server: Side | null }): Entry {
  return Object.assign(accounts.begin(plan, null), { client, server });
}

test('a connection whose sides agree is in order', () => {
  const accounts = new Accounts();
  const entry = entryOf(accounts, { client: side({}), server: side({}) });
  assert.equal(problemOf(entry, true), null);
  assert.equal(accounts.settle(entry, { isDone: true }), true);
  assert.deepEqual(accounts.failures, []);
});

test('a loss is explained by what happened meanwhile, and by nothing that happened at another time', () => {
  const accounts = new Accounts();
  const lost = { client: side({ ending: 'reset' }), server: side({}) };
  accounts.settle(entryOf(accounts, lost), { isDone: false });
  assert.equal(accounts.failures.length, 1);
  const open = entryOf(accounts, lost);
  const isOver = accounts.happens('crash', () => true);
  lost.client.endedAt = performance.now();
  isOver();
  accounts.settle(open, { isDone: false });
  assert.equal(accounts.explained.get('crash'), 1);
  const later = entryOf(accounts, lost);
  accounts.settle(later, { isDone: false });
  assert.equal(accounts.failures.length, 2);
});

test('nothing explains a wrong byte, a byte too many, a refusal or the wrong destination', () => {
  const accounts = new Accounts();
  accounts.happens('crash', () => true);
  const wrong = [
    entryOf(accounts, { client: side({ wrongAt: 3, ending: 'reset' }), server: side({}) }),
    entryOf(accounts, { client: side({ received: 11 }), server: side({}) }),
    Object.assign(entryOf(accounts, { client: side({}), server: side({}) }), { expects: 'tcp A', cameTo: 'tcp B' }),
    Object.assign(entryOf(accounts, { client: side({}), server: side({}) }), { claims: '192.0.2.1:1', seenAs: null }),
  ];
  for (const entry of wrong) assert.equal(problemOf(entry, true)?.what, 'wrong');
  const refused = accounts.begin(plan, null);
  accounts.settle(refused, { isDone: false, problem: { what: 'refused', text: 'ECONNREFUSED' } });
  assert.equal(accounts.failures.length, 1);
});

test('plans are the same for a seed, and every kind has places', () => {
  assert.deepEqual(planOf(7, { id: 99, kind: 'stream' }), planOf(7, { id: 99, kind: 'stream' }));
  assert.deepEqual(new Set(placesOf(150, kinds)), new Set(kinds));
});

test('every event happens once before any happens twice, in the order of the seed', () => {
  const first = orderOf(eventNames, seededRandom(5)).take(eventNames.length).toArray();
  assert.deepEqual(first.toSorted(), eventNames.toSorted());
  assert.deepEqual(orderOf(eventNames, seededRandom(5)).take(40).toArray().slice(0, first.length), first);
});

test('a line through points is the one with the least squares', () => {
  const line = fitLine([0, 1, 2, 3, 4].map((x) => ({ x, y: 5 + 2 * x, predecessors: 0 })));
  assert.deepEqual([line.slope, line.slopeError, line.mean], [2, 0, 9]);
});

test('what grows is steep, what is noisy is not', () => {
  const use: Use = { pssMb: 60, descriptors: 100, threads: 7 };
  const predecessorsAt = (at: number) => Math.floor(at / 5);
  const samples = (pssMb: (at: number) => number, keeperDescriptors: (at: number) => number = () => 40): Sample[] =>
    Array.from({ length: 60 }, (_, at) => ({
      at,
      open: 10,
      daemon: { ...use, pssMb: pssMb(at) },
      keeper: { ...use, descriptors: keeperDescriptors(at) },
      predecessors: { ...use, count: predecessorsAt(at) },
    }));
  const steep = (of: Sample[]) =>
    trendsOf(of, { warmUpSeconds: 10 }).flatMap(({ isSteep, watched }) => (isSteep ? watched.name : []));
  assert.deepEqual(steep(samples((at) => 60 + at)), ['daemon, memory']);
  assert.deepEqual(steep(samples((at) => 60 + 20 * (at % 2))), []);
  const flat = () => 60;
  assert.deepEqual(steep(samples(flat, (at) => 40 + 2 * predecessorsAt(at))), []);
  assert.deepEqual(steep(samples(flat, (at) => 40 + 2 * predecessorsAt(at) + at)), ['keeper, descriptors']);
});
