import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConnectionTable, KIND_SERVER } from '../../../src/engine/native/connection-table.ts';
import type { Thread } from '../../../src/engine/native/thread.ts';
import { KeepAlive } from '../../../src/engine/native/tune.ts';

const TCP_KEEPIDLE = 4;

test('of connections that come and go no more is remembered than their descriptors, and the last of each grows old', () => {
  const table = new ConnectionTable();
  const times: [fd: number, seconds: number][] = [];
  const kernel = {
    setOption: (fd: number, _level: number, name: number, value: number) => {
      if (name === TCP_KEEPIDLE) times.push([fd, value]);
    },
  };
  const thread = { table, kernel, now: 0 };
  const keepAlive = new KeepAlive(thread as unknown as Thread);
  for (let count = 0; count < 30_000; count++) {
    thread.now = count / 10; // three seconds of them
    const fd = 100 + (count % 7);
    table.open(fd, 0, KIND_SERVER);
    keepAlive.add(fd, count % 2 === 0 ? 30_000 : 60_000);
    if (count < 29_995) table.close(fd); // the last five stay
  }
  assert.ok(keepAlive.size <= 4 * 7, `${keepAlive.size}`);
  thread.now = 60_000;
  keepAlive.runDue();
  assert.equal(keepAlive.wakeAt, Infinity);
  assert.deepEqual(
    times.sort(([a], [b]) => a - b),
    [29_995, 29_996, 29_997, 29_998, 29_999]
      .map((count): [number, number] => [100 + (count % 7), count % 2 === 0 ? 30 : 60])
      .sort(([a], [b]) => a - b),
  );
});
