import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Deadline } from '../../../src/daemon/handover/deadline.ts';

const never = new Promise<never>(() => {});

test('what comes in time is what the wait brings, a failure too', async () => {
  const deadline = new Deadline(60_000);
  assert.equal(await deadline.bound(Promise.resolve(7), 'seven did not come'), 7);
  await assert.rejects(deadline.bound(Promise.reject(new Error('its own')), 'it did not come'), { message: 'its own' });
  deadline.clear();
});

test('time that is up is told as what was late, now and for each later wait', async () => {
  const deadline = new Deadline(20);
  await assert.rejects(deadline.bound(never, 'the new process did not come up'), {
    name: 'GraceError',
    message: 'cannot restart: the new process did not come up within 0.02 s',
  });
  await assert.rejects(deadline.bound(never, 'accepting did not stop'), { message: /accepting did not stop/ });
  assert.ok(deadline.signal.aborted);
});

test('a restart that is cancelled ends with the first reason', async () => {
  const deadline = new Deadline(60_000);
  const wait = deadline.bound(never, 'it did not come');
  deadline.cancel('the daemon was told to stop');
  deadline.cancel('something later');
  await assert.rejects(wait, { name: 'GraceError', message: 'cannot restart: the daemon was told to stop' });
  deadline.clear();
});

test("a failure that comes when time was up is nobody's", async () => {
  const deadline = new Deadline(60_000);
  const late = Promise.withResolvers<void>();
  const wait = deadline.bound(late.promise, 'it did not come');
  deadline.cancel('over');
  await assert.rejects(wait, /over/);
  late.reject(new Error('late')); // an unhandled one would fail this test
  await new Promise((resolve) => setImmediate(resolve));
  deadline.clear();
});

test('a limit of 24 days and more is no limit of a millisecond', async () => {
  const deadline = new Deadline(2 ** 40);
  assert.equal(
    // Time itself: a timer that takes so long a limit for one of 1 ms would have fired before.
    await deadline.bound(new Promise((resolve) => setTimeout(resolve, 5, 'came')), 'it did not come'),
    'came',
  );
  deadline.clear();
});
