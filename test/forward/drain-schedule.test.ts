import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DrainSchedule } from '../../src/forward/drain-schedule.ts';
import { randomNumbers } from '../random.ts';

/** The times of all closings, in milliseconds; the caller is late by so much each time. */
function closings(connections: number, overMs: number, { seed = 1, lateMs = 0 } = {}): number[] {
  const schedule = new DrainSchedule({ connections, overMs, random: randomNumbers(seed) });
  const times: number[] = [];
  let elapsedMs = 0;
  while (times.length < connections) {
    const { atMs, count } = schedule.next({ left: connections - times.length, elapsedMs });
    elapsedMs = Math.max(elapsedMs, atMs) + lateMs;
    times.push(...Array.from({ length: count }, () => elapsedMs));
  }
  return times;
}

function busiestSecond(times: readonly number[]): number {
  const seconds = new Map<number, number>();
  for (const time of times) seconds.set(Math.floor(time / 1000), (seconds.get(Math.floor(time / 1000)) ?? 0) + 1);
  return Math.max(...seconds.values());
}

const cases: [connections: number, overMs: number][] = [
  [1, 10_000],
  [7, 60_000],
  [8, 10_000],
  [10, 10_000],
  [14, 10_000],
  [19, 10_000],
  [33, 20_000],
  [100, 10_000],
  [1234, 60_000],
  [50_000, 600_000],
];

for (const [connections, overMs] of cases)
  test(`${connections} connections are closed evenly over ${overMs / 1000} s`, () => {
    for (const seed of [1, 2, 3]) {
      const times = closings(connections, overMs, { seed });
      assert.equal(times.length, connections);
      assert.ok((times.at(-1) ?? 0) <= overMs + 1, `the last at ${times.at(-1)}`);
      const most = Math.max(1, (2000 * connections) / overMs);
      assert.ok(busiestSecond(times) <= most, `${busiestSecond(times)} in a second, of ${most}`);
      const half = times.filter((time) => time < overMs / 2).length;
      assert.ok(Math.abs(half - connections / 2) <= Math.max(1, connections * 0.05), `${half} in the first half`);
      const gaps = new Set(times.slice(1).map((time, index) => Math.round(time - times[index]!)));
      if (connections > 5) assert.ok(gaps.size > 2, 'no jitter');
    }
  });

test('a process that is late does not make good for it at once', () => {
  const times = closings(100, 10_000, { lateMs: 70 });
  assert.ok(busiestSecond(times) <= 20, `${busiestSecond(times)} in a second`);
});
