import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeConnections, mergeRows } from '../../src/cli/rows.ts';
import { destinationRow } from './destination-row.ts';

test('the rows of several processes for one destination become one row with the sum', () => {
  const rows = mergeRows([
    destinationRow({ dst: 'b', connections: 2, active: true, pid: 2, since: '2026-01-02T00:00:00.000Z', bytesIn: 1 }),
    destinationRow({ dst: 'b', connections: 3, active: true, pid: 1, since: '2026-01-01T00:00:00.000Z', bytesIn: 10 }),
  ]);
  assert.deepEqual(rows, [
    destinationRow({ dst: 'b', connections: 5, active: true, pid: 1, since: '2026-01-01T00:00:00.000Z', bytesIn: 11 }),
  ]);
});

test('rules stay in order and the active destination of each comes first', () => {
  const rows = mergeRows([
    destinationRow({ src: 's', dst: 'old' }),
    destinationRow({ src: 's', dst: 'new', active: true }),
    destinationRow({ src: 'a', dst: 'x', active: true }),
    destinationRow({ src: 's', dst: 'older' }),
  ]);
  assert.deepEqual(
    rows.map(({ src, dst }) => `${src} ${dst}`),
    ['s new', 's old', 's older', 'a x'],
  );
});

test('a destination that one process still counts as active is active', () => {
  const [row] = mergeRows([destinationRow({ active: false, pid: 1 }), destinationRow({ active: true, pid: 2 })]);
  assert.equal(row?.active, true);
});

test('connections are described by their number and place', () => {
  assert.equal(describeConnections([destinationRow({ connections: 1 })]), '1 connection: 1 on tcp:1 -> tcp:h:2');
  const rows = [
    destinationRow({ connections: 2 }),
    destinationRow({ connections: 1, pid: 9 }),
    destinationRow({ dst: 'b', connections: 1 }),
  ];
  assert.equal(describeConnections(rows), '4 connections: 3 on tcp:1 -> tcp:h:2, 1 on tcp:1 -> b');
});
