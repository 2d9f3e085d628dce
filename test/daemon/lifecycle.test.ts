import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lifecycle } from '../../src/daemon/lifecycle.ts';
import { Changes } from '../../src/forward/changes.ts';

function setUp() {
  const changes = new Changes();
  return { changes, lifecycle: new Lifecycle(changes) };
}

test('a daemon serves, tries a restart, goes on, stops and ends', () => {
  const { lifecycle } = setUp();
  const phases = [lifecycle.phase];
  for (const step of ['serves', 'restarts', 'resumes', 'stops', 'ends'] as const) {
    lifecycle[step]();
    phases.push(lifecycle.phase);
  }
  assert.deepEqual(phases, ['starting', 'serving', 'restarting', 'serving', 'stopping', 'ended']);
});

test('one that was replaced neither serves, restarts, stops nor ends again', () => {
  const { lifecycle } = setUp();
  lifecycle.serves();
  lifecycle.restarts();
  lifecycle.isReplaced();
  for (const step of ['serves', 'resumes', 'isReplaced', 'stops', 'ends'] as const)
    assert.throws(() => lifecycle[step](), TypeError);
  assert.throws(() => lifecycle.restarts(), /the daemon is stopping/);
  assert.equal(lifecycle.phase, 'replaced');
});

test('a second stop changes nothing, not even after the end', () => {
  const { lifecycle } = setUp();
  lifecycle.serves();
  assert.deepEqual([lifecycle.stops(), lifecycle.stops()], [true, false]);
  lifecycle.ends();
  assert.equal(lifecycle.stops(), false);
  lifecycle.ends();
  assert.equal(lifecycle.phase, 'ended');
  assert.throws(() => lifecycle.resumes(), TypeError);
});

test('a restart during a restart is refused with the reason', () => {
  const { lifecycle } = setUp();
  lifecycle.serves();
  lifecycle.restarts();
  assert.throws(() => lifecycle.restarts(), { name: 'GraceError', message: 'a restart is already under way' });
  assert.throws(() => lifecycle.stops(), TypeError);
  assert.equal(lifecycle.phase, 'restarting');
});

test('whoever waits for changes hears of each phase', async () => {
  const { lifecycle, changes } = setUp();
  const heard = changes.next();
  lifecycle.serves();
  await heard;
});
