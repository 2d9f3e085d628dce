import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import test from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { goneWithin, nextPause, TimeLimit, unlessAborted, within } from '../src/waiting.ts';

const never = new Promise<never>(() => {});
const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;

test('a wait brings what comes, or the reason of the signal that comes first', async () => {
  const end = new AbortController();
  assert.equal(await unlessAborted(Promise.resolve(7), end.signal), 7);
  assert.equal(await unlessAborted(Promise.resolve(7), undefined), 7);
  await assert.rejects(unlessAborted(Promise.reject(new Error('failed')), end.signal), /failed/);
  const wait = unlessAborted(never, end.signal);
  assert.equal(getEventListeners(end.signal, 'abort').length, 1);
  end.abort(new Error('enough'));
  await assert.rejects(wait, /enough/);
  await assert.rejects(unlessAborted(Promise.resolve(7), end.signal), /enough/);
  assert.equal(getEventListeners(end.signal, 'abort').length, 0);
});

test('what comes in time is the result, failures too, and leaves no timer', async () => {
  const before = timers();
  assert.equal(await within(Promise.resolve(7), 60_000, { onLate: () => assert.fail() }), 7);
  await assert.rejects(within(Promise.reject(new Error('failed')), 60_000), /failed/);
  assert.equal(timers(), before);
});

test('when time is up, the result is nothing, or what the caller says or throws', async () => {
  const began = performance.now();
  assert.equal(await within(never, 20), undefined);
  assert.ok(performance.now() - began >= 19, 'time was not up yet');
  assert.equal(await within(never, 0, { onLate: () => 'late' }), 'late');
  const onLate = () => {
    throw new Error('no answer');
  };
  await assert.rejects(within(never, 0, { onLate }), /no answer/);
});

test("a failure that comes when time was up is nobody's", async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  assert.equal(await within(promise, 0), undefined);
  reject(new Error('late')); // an unhandled one would fail this test
  await new Promise((resolve) => setImmediate(resolve));
});

test('a time that is too long for a timer is long', async () => {
  using limit = new TimeLimit(2 ** 40);
  assert.equal(await within(delay(5, 'came'), 2 ** 40), 'came');
  assert.equal(limit.signal.aborted, false);
});

test('a wait that is not to keep the process does not', () => {
  const waiting = JSON.stringify(new URL('../src/waiting.ts', import.meta.url).href);
  const script = `import { within } from ${waiting}; void within(new Promise(() => {}), 60_000, { ref: false });`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 30_000,
  });
  assert.equal(status, 0, stderr);
});

test('a time limit aborts its signal, with its reason', async () => {
  using limit = new TimeLimit(10);
  assert.equal(limit.signal.aborted, false);
  await once(limit.signal, 'abort');
  assert.throws(() => limit.signal.throwIfAborted(), /time is up/);
  using other = new TimeLimit(0, new Error('no answer'));
  await assert.rejects(unlessAborted(never, other.signal), /no answer/);
});

test('a time limit that is restarted has all of its time again', async () => {
  using limit = new TimeLimit(40);
  await delay(20);
  const restarted = performance.now();
  limit.restart();
  await once(limit.signal, 'abort');
  assert.ok(performance.now() - restarted >= 39, 'time was not up yet');
  limit.restart();
  assert.equal(limit.signal.aborted, true);
});

test('a time limit ends early, and the first reason stays; over, it leaves no timer', async () => {
  const before = timers();
  {
    using limit = new TimeLimit(60_000);
    limit.abort(new Error('not wanted any more'));
    limit.abort(new Error('again'));
    await assert.rejects(unlessAborted(never, limit.signal), /not wanted any more/);
  }
  new TimeLimit(60_000).clear();
  assert.equal(timers(), before);
});

test('a process that ends in time has gone, one that stays has not', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
  await once(child, 'spawn');
  assert.equal(await goneWithin(child.pid!, 10), false);
  const gone = goneWithin(child.pid!, 60_000);
  child.kill('SIGKILL');
  assert.equal(await gone, true);
  assert.equal(await goneWithin(child.pid!, 0), true);
});

test('a wait for the end of a process ends with its signal', async () => {
  const end = new AbortController();
  const gone = goneWithin(process.pid, 60_000, { signal: end.signal });
  end.abort();
  await assert.rejects(gone, { name: 'AbortError' });
});

test('pauses of a back-off double from the first to the longest', () => {
  const range = { first: 20, max: 100 };
  const pauses = [0];
  for (let times = 0; times < 5; times++) pauses.push(nextPause(pauses.at(-1)!, range));
  assert.deepEqual(pauses, [0, 20, 40, 80, 100, 100]);
});
