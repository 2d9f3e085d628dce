import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandoverState } from '../../../src/daemon/handover/state.ts';
import { Lifecycle } from '../../../src/daemon/lifecycle.ts';
import type { Destination } from '../../../src/forward/destination.ts';
import { Changes } from '../../../src/forward/changes.ts';

function setUp() {
  const changes = new Changes();
  const lifecycle = new Lifecycle(changes);
  lifecycle.serves();
  return { changes, lifecycle, state: new HandoverState(lifecycle, changes) };
}

test('a restart is cancelled until the successor has come up', () => {
  const { state } = setUp();
  const whys: string[] = [];
  state.cancel('nothing is under way');
  state.begin((why) => whys.push(why));
  state.cancel('first');
  state.endCancelling();
  state.cancel('second');
  assert.deepEqual(whys, ['first']);
  assert.throws(() => state.begin(() => {}), { name: 'GraceError', message: 'a restart is already under way' });
});

test("after a rollback the counters are this process's, and the next restart begins anew", () => {
  const { state, lifecycle } = setUp();
  const told = [{ destination: {} as Destination, bytesIn: 1, bytesOut: 2 }];
  state.begin(() => {});
  state.handOver({ told, views: [], admissions: [] });
  assert.equal(state.handedOver?.told, told);
  assert.equal(state.rollback(), told);
  assert.equal(state.handedOver, null);
  assert.equal(lifecycle.phase, 'serving');
  state.begin(() => {});
  assert.deepEqual(state.rollback(), []);
});

test('the end of the moving of connections is a change', async () => {
  const { state, changes } = setUp();
  state.beginMoving();
  assert.equal(state.isMoving, true);
  const changed = changes.next();
  state.endMoving();
  await changed;
  assert.equal(state.isMoving, false);
});
