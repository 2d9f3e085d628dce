import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Life } from '../../src/daemon/lifecycle.ts';
import { Changes } from '../../src/forward/changes.ts';

function setUp() {
  const changes = new Changes();
  return { changes, life: new Life(changes) };
}

test('a daemon serves, tries a restart, goes on, stops and ends', () => {
  const { life } = setUp();
  const phases = [life.phase];
  for (const step of ['serves', 'restarts', 'goesOn', 'stops', 'ends'] as const) {
    life[step]();
    phases.push(life.phase);
  }
  assert.deepEqual(phases, ['starting', 'serving', 'restarting', 'serving', 'stopping', 'ended']);
});

test('one that was replaced neither serves, restarts, stops nor ends again', () => {
  const { life } = setUp();
  life.serves();
  life.restarts();
  life.isReplaced();
  for (const step of ['serves', 'goesOn', 'isReplaced', 'stops', 'ends'] as const) assert.throws(() => life[step](), TypeError);
  assert.throws(() => life.restarts(), /the daemon is stopping/);
  assert.equal(life.phase, 'replaced');
});

test('a second stop changes nothing, not even after the end', () => {
  const { life } = setUp();
  life.serves();
  assert.deepEqual([life.stops(), life.stops()], [true, false]);
  life.ends();
  assert.equal(life.stops(), false);
  life.ends();
  assert.equal(life.phase, 'ended');
  assert.throws(() => life.goesOn(), TypeError);
});

test('a restart during a restart is refused with the reason', () => {
  const { life } = setUp();
  life.serves();
  life.restarts();
  assert.throws(() => life.restarts(), { name: 'GraceError', message: 'a restart is already under way' });
  assert.throws(() => life.stops(), TypeError);
  assert.equal(life.phase, 'restarting');
});

test('whoever waits for changes hears of each phase', async () => {
  const { life, changes } = setUp();
  const heard = changes.next();
  life.serves();
  await heard;
});
