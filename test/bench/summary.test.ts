import assert from 'node:assert/strict';
import { test } from 'node:test';
import { combine, median, summarize } from '../../scripts/bench/summary.ts';

test('a median is the value in the middle, or the mean of the two there', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
});

test('a ratio is the median of the ratios of single rounds, not the ratio of medians', () => {
  const rows = summarize(
    new Map([
      ['base', [{ x: 1 }, { x: 10 }, { x: 4 }]],
      ['other', [{ x: 2 }, { x: 10 }, { x: 12 }]],
    ]),
    'base',
  );
  assert.deepEqual(rows, [
    { peer: 'base', figures: { x: { median: 4, ratio: 1 } }, failures: 0 },
    { peer: 'other', figures: { x: { median: 10, ratio: 2 } }, failures: 0 },
  ]);
});

test('a round in which a peer or the reference failed takes no part in the ratio', () => {
  const rows = summarize(
    new Map([
      ['base', [{ x: 1 }, null, { x: 4 }]],
      ['other', [{ x: 3 }, { x: 100 }, null]],
      ['gone', [null, null, null]],
    ]),
    'base',
  );
  assert.deepEqual(
    rows.map(({ peer, failures }) => [peer, failures]),
    [
      ['base', 1],
      ['other', 1],
    ],
  );
  assert.equal(rows[1]!.figures['x']!.ratio, 3);
  assert.equal(rows[1]!.figures['x']!.median, 51.5);
});

test('without a reference there are no ratios', () => {
  assert.equal(summarize(new Map([['other', [{ x: 3 }]]]), 'base')[0]!.figures['x']!.ratio, null);
  assert.equal(summarize(new Map([['other', [{ x: 3 }]]]), null)[0]!.figures['x']!.ratio, null);
});

test('runs are combined to medians of medians and of ratios', () => {
  const run = (value: number, ratio: number | null) => [
    { peer: 'other', figures: { x: { median: value, ratio } }, failures: 1 },
  ];
  assert.deepEqual(combine([run(1, 2), run(5, null), run(3, 1)]), [
    { peer: 'other', figures: { x: { median: 3, ratio: 1.5 } }, failures: 3 },
  ]);
});
