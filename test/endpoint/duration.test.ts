import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printDuration, parseDuration } from '../../src/endpoint/duration.ts';

test('durations have a unit, or are seconds', { timeout: 60_000 }, () => {
  assert.deepEqual(
    ['500ms', '30s', '5m', '2h', '7', '0'].map(parseDuration),
    [500, 30_000, 300_000, 7_200_000, 7000, 0],
  );
});

test('anything else is no duration', { timeout: 60_000 }, () => {
  for (const text of ['', 's', '-1', ' 1', '1 s', '1S', '1y', '٣s', '.', '5s5', '30s1m', '1s1s', '1..5s', '1e3'])
    assert.equal(parseDuration(text), null);
});

test('a duration is written in its largest whole unit, and read back', { timeout: 60_000 }, () => {
  assert.deepEqual([0, 1, 1500, 90_000, 120_000, 7_200_000].map(printDuration), [
    '0s',
    '1ms',
    '1500ms',
    '90s',
    '2m',
    '2h',
  ]);
  for (const ms of [0, 1, 999, 1000, 59_000, 3_600_000, 2 ** 31 - 1])
    assert.equal(parseDuration(printDuration(ms)), ms);
});

test('fractions, and several units together, add up to whole milliseconds', { timeout: 60_000 }, () => {
  assert.deepEqual(
    ['1.5s', '0.5', '.5s', '1m30s', '1h0.5m', '1d2h3m4s5ms', '0.0004s'].map(parseDuration),
    [1500, 500, 500, 90_000, 3_630_000, 93_784_005, 0],
  );
});
