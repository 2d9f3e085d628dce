import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, formatExactly, parseDurationOption } from '../../src/cli/duration.ts';
import { GraceError } from '../../src/error.ts';

for (const [text, expectedMs] of [
  ['500ms', 500],
  ['30s', 30_000],
  ['5m', 300_000],
  ['2h', 7_200_000],
  ['1d', 86_400_000],
  ['7', 7000],
  ['0', 0],
  ['0.5', 500],
  ['1.5s', 1500],
  ['.5s', 500],
  ['007', 7000],
  ['1m30s', 90_000],
] as const) {
  test(`a duration of ${text} is ${expectedMs} ms`, () => {
    assert.equal(parseDurationOption(text, '--timeout'), expectedMs);
  });
}

for (const text of [
  '',
  ' ',
  '-5',
  '-5s',
  '+5',
  '5 s',
  '5S',
  '1y',
  's',
  '.',
  '1e3',
  '0x10',
  '5s5',
  'Infinity',
  'NaN',
  '1..5',
  '30d',
  '٣s',
]) {
  test(`${JSON.stringify(text)} is refused as a duration with exit code 2 and the name of the option`, () => {
    assert.throws(
      () => parseDurationOption(text, '--timeout'),
      (error) => error instanceof GraceError && error.code === 'ERR_GRACE_USAGE' && error.message.includes('--timeout'),
    );
  });
}

for (const [ms, expected] of [
  [0, '0ms'],
  [800, '800ms'],
  [1000, '1s'],
  [59_999, '59s'],
  [125_000, '2m 5s'],
  [3_600_000, '1h'],
  [273_600_000, '3d 4h'],
  [86_405_000, '1d'],
] as const) {
  test(`${ms} ms are shown as ${expected}`, () => {
    assert.equal(formatDuration(ms), expected);
  });
}

for (const [ms, expected] of [
  [0, '0ms'],
  [800, '800ms'],
  [1500, '1.5s'],
  [30_000, '30s'],
  [90_000, '1m 30s'],
  [61_001, '1m 1.001s'],
  [93_784_005, '1d 2h 3m 4.005s'],
] as const) {
  test(`${ms} ms are exactly ${expected}`, () => {
    assert.equal(formatExactly(ms), expected);
  });
}
