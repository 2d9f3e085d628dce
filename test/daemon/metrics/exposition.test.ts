import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addCounts, countsOfEnded, noCounts } from '../../../src/daemon/metrics/counts.ts';
import { exposition } from '../../../src/daemon/metrics/exposition.ts';

test('whatever a label holds, it stays one line, and the text says what it was', () => {
  const samples = [{ labels: { src: 'unix:/tmp/a"b\\c\nd', dst: '\ud800' }, value: 1.5 }, { value: Infinity }];
  const text = [...exposition([{ name: 'grace_x', help: 'one\ntwo \\ three', type: 'gauge', samples }])].join('');
  assert.deepEqual(text.split('\n'), [
    '# HELP grace_x one\\ntwo \\\\ three',
    '# TYPE grace_x gauge',
    'grace_x{src="unix:/tmp/a\\"b\\\\c\\nd",dst="\ufffd"} 1.5',
    'grace_x +Inf',
    '',
  ]);
});

test('the buckets of a histogram hold all that is below their bound', () => {
  const histograms = [{ labels: { src: 'a' }, bounds: [0.5, 1], counts: [2, 0, 1], sum: 7 }];
  assert.deepEqual(
    [...exposition([{ name: 'h', help: 'h', type: 'histogram', histograms }])].join('').trim().split('\n').slice(2),
    [
      'h_bucket{src="a",le="0.5"} 2',
      'h_bucket{src="a",le="1"} 2',
      'h_bucket{src="a",le="+Inf"} 3',
      'h_sum{src="a"} 7',
      'h_count{src="a"} 3',
    ],
  );
});

test('what a process had open that ended without a word has ended by a crash', () => {
  const counts = (connections: number, accepted: number, finished: number) => ({
    sources: [{ key: 'k', src: 's', connections, numbers: { accepted, 'end finished': finished } }],
    daemon: { restarts: 1 },
  });
  const sum = addCounts(addCounts(noCounts(), countsOfEnded(counts(2, 5, 3))), countsOfEnded(counts(0, 1, 1)));
  assert.deepEqual(sum, {
    sources: [{ key: 'k', src: 's', connections: 0, numbers: { accepted: 6, 'end finished': 4, 'end crash': 2 } }],
    daemon: { restarts: 2 },
  });
});
