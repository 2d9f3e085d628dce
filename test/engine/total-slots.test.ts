import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { TotalSlots } from '../../src/engine/total-slots.ts';

test('no more places are taken than there are, and who waits is told of each that becomes free', () => {
  const total = new TotalSlots({ limit: 3 });
  let told = 0;
  total.onRoom(() => told++);
  assert.deepEqual(
    [0, 1, 2, 3].map((connections) => total.tryTake(connections)),
    [true, true, true, false],
  );
  assert.equal(total.hasRoomFor(0), false);
  total.beginWait();
  assert.deepEqual([total.isWaitedFor, total.waits], [true, 1]);
  assert.equal(total.release(), true);
  assert.equal(told, 1);
  assert.equal(total.release(), false);
  total.endWait();
  assert.deepEqual([total.isWaitedFor, total.waits, told], [false, 1, 1]);
  total.reserve(5);
  assert.deepEqual([total.taken, total.tryTake(0)], [6, false]);
  total.reserve(1);
  assert.deepEqual([total.taken, told, total.tryTake(0)], [2, 2, true]);
});

test('of two rules or more, one that has many leaves a tenth to those that have few', () => {
  const total = new TotalSlots({ limit: 40 });
  const takeAll = () => {
    let taken = 0;
    while (total.tryTake(taken)) taken++;
    return taken;
  };
  total.rules = 1;
  assert.equal(takeAll(), 40);
  total.release(40);
  total.rules = 2;
  assert.equal(takeAll(), 36);
  assert.equal(takeAll(), 4);
  assert.equal(takeAll(), 0);
  // Of what becomes free, both hear.
  assert.deepEqual(
    [1, 2, 3, 4, 5].map(() => total.release()),
    [true, false, false, false, true],
  );
  assert.deepEqual([total.tryTake(9), total.tryTake(9), total.tryTake(0)], [true, false, true]);
});

test('of three rules, each that has few can have half of the kept places, and hears when it has few again', () => {
  const total = new TotalSlots({ limit: 40 });
  total.rules = 3;
  for (let place = 0; place < 36; place++) assert.ok(total.tryTake(place));
  assert.deepEqual(
    [0, 1, 2].map((connections) => total.tryTake(connections)),
    [true, true, false],
  );
  assert.equal(total.tryTake(0), true);
  assert.deepEqual([total.release(1, 2), total.release(1, 1), total.release(1, 0)], [false, true, false]);
  assert.equal(total.taken, 36);
});

test('threads that take at the same time take no more than there are', { timeout: 60_000 }, async () => {
  const total = new TotalSlots({ limit: 1000 });
  const source = `
    import { workerData, parentPort } from 'node:worker_threads';
    const { TotalSlots } = await import(workerData.module);
    const total = new TotalSlots(workerData.plan);
    let most = 0;
    for (let round = 0; round < 200; round++) {
      const taken = [];
      while (taken.length < 700 && total.tryTake(0)) taken.push(1);
      most = Math.max(most, total.taken);
      for (const _ of taken) total.release();
    }
    parentPort.postMessage(most);`;
  const module = new URL('../../src/engine/total-slots.ts', import.meta.url).href;
  const most = await Promise.all(
    [1, 2].map(
      () =>
        new Promise<number>((resolve, reject) =>
          new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
            workerData: { plan: total.plan, module },
          })
            .once('message', resolve)
            .once('error', reject),
        ),
    ),
  );
  assert.ok(Math.max(...most) <= 1000, most.join());
  assert.equal(total.taken, 0);
});
