import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyOfIPv4 } from '../../../src/engine/admission/address-key.ts';
import { AddressTable, MAX_ADDRESSES } from '../../../src/engine/admission/address-table.ts';
import type { AddressLimits } from '../../../src/engine/admission/address-table.ts';
import { countCpuMs } from '../../cpu-time.ts';

const two: AddressLimits = { maxConnections: 2, rate: null };
/** Ten a second, three at once. */
const slow: AddressLimits = { maxConnections: null, rate: { intervalMs: 100, burst: 3 } };
const address = keyOfIPv4(0x7f000001);
const other = keyOfIPv4(0x7f000002);

test('an address has as many connections as it may have, and one more when one has left', () => {
  const table = new AddressTable();
  assert.equal(table.enter(address, two, 0), null);
  assert.equal(table.enter(address, two, 0), null);
  assert.equal(table.enter(address, two, 0), 'connections');
  assert.equal(table.enter(other, two, 0), null);
  table.leave(address);
  assert.equal(table.enter(address, two, 0), null);
  assert.equal(table.connectionsOf(address), 2);
});

test('a burst comes in at once, and then one at a time as the rate has it', () => {
  const table = new AddressTable();
  const at = (ms: number) => table.enter(address, slow, 1000 + ms);
  assert.deepEqual([at(0), at(0), at(0), at(0)], [null, null, null, 'rate']);
  assert.equal(at(99), 'rate');
  assert.deepEqual([at(100), at(100)], [null, 'rate']);
  assert.deepEqual([at(10_000), at(10_000), at(10_000), at(10_000)], [null, null, null, 'rate']);
});

test('who is refused for too many connections does not use up the rate', () => {
  const table = new AddressTable();
  const both = { ...slow, maxConnections: 1 };
  assert.equal(table.enter(address, both, 0), null);
  for (let count = 0; count < 10; count++) assert.equal(table.enter(address, both, 0), 'connections');
  table.leave(address);
  assert.equal(table.enter(address, both, 0), null);
});

test('threads count in one memory', () => {
  const table = new AddressTable();
  const thread = new AddressTable(table.memory);
  assert.equal(table.enter(address, two, 0), null);
  assert.equal(thread.enter(address, two, 0), null);
  assert.equal(table.enter(address, two, 0), 'connections');
  thread.leave(address);
  thread.leave(address);
  thread.leave(address);
  assert.equal(table.connectionsOf(address), 0);
});

test('a million addresses take no more memory and hardly more time than a thousand, and those with connections stay', () => {
  const table = new AddressTable();
  const size = table.memory.byteLength;
  for (let low = 1; low <= 1000; low++) assert.equal(table.enter(keyOfIPv4(low), two, 0), null);
  const timeOf = (from: number, to: number) => {
    const cpuMs = countCpuMs();
    for (let low = from; low < to; low++) {
      const key = keyOfIPv4(Math.imul(low, 2_654_435_761) | 0x4000_0000);
      if (table.enter(key, two, low) === null) table.leave(key);
    }
    return cpuMs() / (to - from);
  };
  timeOf(0, 50_000); // until it is compiled
  const perConnectionMs = timeOf(0, 1_000_000);
  assert.equal(table.memory.byteLength, size);
  assert.ok(perConnectionMs < 0.005, `${perConnectionMs * 1000} µs`); // 1 µs on a machine that is idle
  for (let low = 1; low <= 1000; low++) assert.equal(table.connectionsOf(keyOfIPv4(low)), 1);
});

test('nearly as many addresses as the table holds are counted, all at once', () => {
  const table = new AddressTable();
  const count = Math.floor(MAX_ADDRESSES * 0.85);
  const one = { maxConnections: 1, rate: null };
  for (let low = 1; low <= count; low++) table.enter(keyOfIPv4(low), one, 0);
  let uncounted = 0;
  for (let low = 1; low <= count; low++) if (table.enter(keyOfIPv4(low), one, 0) === null) uncounted++;
  assert.ok(uncounted < count / 200, `${uncounted} of ${count}`);
});

test('what other processes have counts until they are heard of again, and what comes over from there counts once', () => {
  const old = new AddressTable();
  old.enter(address, two, 0);
  old.enter(address, two, 0);
  old.enter(other, slow, 1000);
  old.leave(other);
  const table = new AddressTable();
  table.setElsewhere(old.entries(1000, { isOwn: true }), 5000);
  assert.ok(table.hasElsewhere);
  assert.equal(table.enter(address, two, 5000), 'connections');
  assert.deepEqual(
    [1, 2, 3].map(() => table.enter(other, slow, 5000)),
    [null, null, 'rate'],
  );
  table.add(address, 5000);
  assert.equal(table.connectionsOf(address), 2);
  table.setElsewhere([], 5000);
  assert.equal(table.connectionsOf(address), 1);
  assert.ok(!table.hasElsewhere);
});
