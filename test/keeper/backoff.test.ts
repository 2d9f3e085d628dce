import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backoff } from '../../src/keeper/backoff.ts';

const timeout = 60_000;

function backoffWithClock() {
  const clock = { now: 0 };
  return { clock, backoff: new Backoff({}, () => clock.now) };
}

test('a daemon that crashed after it served is started at once, time after time', { timeout }, () => {
  const { clock, backoff } = backoffWithClock();
  for (let crash = 0; crash < 100; crash++) {
    backoff.served();
    clock.now += 5000;
    assert.equal(backoff.crashed(), 0);
  }
});

test('a daemon that never serves is started later and later, and then no more', { timeout }, () => {
  const { backoff } = backoffWithClock();
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(() => backoff.crashed()),
    [100, 200, 400, 400, null],
  );
});

test(
  'a daemon that serves for a moment each time is started later after some crashes, and in the end no more',
  { timeout },
  () => {
    const { clock, backoff } = backoffWithClock();
    const pauses = Array.from({ length: 50 }, () => {
      backoff.served();
      clock.now += 10;
      return backoff.crashed();
    });
    assert.deepEqual(pauses.slice(0, 9), [0, 0, 0, 0, 0, 100, 200, 400, 400]);
    assert.equal(pauses.at(-1), null);
  },
);

test('serving for long makes earlier crashes forgotten', { timeout }, () => {
  const { clock, backoff } = backoffWithClock();
  for (let crash = 0; crash < 4; crash++) backoff.crashed();
  backoff.served();
  clock.now += 60_000;
  assert.equal(backoff.crashed(), 0);
  assert.equal(backoff.crashed(), 100);
});
