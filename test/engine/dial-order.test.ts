import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drawOrder } from '../../src/engine/dial-order.ts';
import { HEAD_START_MS, PRIORITY_HEAD_START_MS } from '../../src/engine/policy.ts';
import { randomNumbers } from '../random.ts';

const target = (priority: number, weight: number, addresses = 1) => ({ priority, weight, addresses });

test('weights hold within two points of a hundred over ten thousand dials', () => {
  const random = randomNumbers(20_261_126);
  const targets = [target(5, 60), target(5, 30), target(5, 10), target(1, 3), target(1, 1), target(9, 0)];
  const firsts = Array.from({ length: 10_000 }, () => drawOrder(targets, random).map(({ address }) => address));
  const share = (at: number, address: number) => firsts.filter((order) => order[at] === address).length / 10_000;
  assert.ok(Math.abs(share(0, 3) - 0.75) < 0.02);
  assert.ok(Math.abs(share(0, 4) - 0.25) < 0.02);
  assert.ok(Math.abs(share(2, 0) - 0.6) < 0.02);
  assert.ok(Math.abs(share(2, 1) - 0.3) < 0.02);
  assert.ok(Math.abs(share(2, 2) - 0.1) < 0.02);
  for (const order of firsts) assert.deepEqual([...order].sort(), [0, 1, 2, 3, 4, 5]);
  assert.equal(share(5, 5), 1);
});

test('weight 0 is seldom first beside others, and all of weight 0 are equal', () => {
  const random = randomNumbers(20_261_126);
  const count = (targets: Parameters<typeof drawOrder>[0]) =>
    Array.from({ length: 10_000 }, () => drawOrder(targets, random)[0]!.address).filter((first) => first === 0).length;
  assert.ok(count([target(1, 0), target(1, 10)]) < 50);
  assert.ok(Math.abs(count([target(1, 0), target(1, 0)]) - 5000) < 300);
});

test('the addresses of a target stay together, and the last of a priority has longer', () => {
  assert.deepEqual(drawOrder([target(2, 1), target(1, 1, 2)]), [
    { address: 1, headStartMs: HEAD_START_MS },
    { address: 2, headStartMs: PRIORITY_HEAD_START_MS },
    { address: 0, headStartMs: PRIORITY_HEAD_START_MS },
  ]);
});
