import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printTable } from '../../scripts/bench/table.ts';

test('a table has a column a figure, with three digits and the ratio, and a dash for what was not measured', () => {
  const text = printTable('title', [
    {
      peer: 'HAProxy',
      figures: { 'CPU µs': { median: 12.345, ratio: 1 }, 'p99 µs': { median: 1234.5, ratio: 1 } },
      failures: 0,
    },
    {
      peer: 'grace',
      figures: { 'CPU µs': { median: 0.04567, ratio: null }, 'p99 µs': { median: NaN, ratio: null } },
      failures: 0,
    },
  ]);
  assert.equal(
    text,
    [
      'title',
      '                CPU µs       p99 µs',
      '  HAProxy  12.3 (1.00)  1235 (1.00)',
      '  grace         0.0457            -',
    ].join('\n'),
  );
});

test('a table without rows is its title', () => {
  assert.equal(printTable('title', []).trim(), 'title');
});
