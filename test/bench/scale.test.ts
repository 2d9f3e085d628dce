import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressesOf, planConnections } from '../../scripts/bench/scale/measure.ts';

test('connections are as many as descriptors allow, in parts that each a client and a backend can hold', () => {
  assert.deepEqual(planConnections(50_000, 1_000_000), { count: 50_000, parts: [25_000, 25_000] });
  assert.deepEqual(planConnections(50_000, 20_000), { count: 8500, parts: [8500] });
  const { count, parts } = planConnections(50_001, 120_000);
  assert.deepEqual([count, parts.reduce((sum, part) => sum + part), parts.length], [50_001, 50_001, 3]);
  assert.ok(parts.every((part) => part <= 25_000));
});

test('each of thousands of rules has an address of its own', () => {
  const addresses = addressesOf(5000);
  assert.equal(new Set(addresses).size, 5000);
  assert.deepEqual([addresses[0], addresses[250], addresses.at(-1)], ['127.77.0.1', '127.77.1.1', '127.77.19.250']);
});
