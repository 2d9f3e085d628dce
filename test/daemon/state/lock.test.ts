import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statePaths } from '../../../src/control/paths.ts';
import { findLock } from '../../../src/daemon/state/lock.ts';
import { lockFile } from '../../../src/sys/lock.ts';
import { makeTempDir } from '../../net/temp-dir.ts';

const timeout = 60_000;

type Parts = Parameters<typeof findLock>[0];

function partsIn(dir: string): Parts {
  return { paths: statePaths(dir), launcher: { handover: null }, listeners: { lockFd: null } } as unknown as Parts;
}

test(
  'who has the lock for a moment, to see whether a daemon runs, does not keep one from starting',
  { timeout },
  async () => {
    using temp = makeTempDir();
    const parts = partsIn(temp.path);
    const held = lockFile(parts.paths.lock);
    assert.ok(held);
    const found = findLock(parts);
    setTimeout(() => held.release(), 10);
    const lock = await found;
    assert.equal(lockFile(parts.paths.lock), null);
    lock.release();
  },
);

test('a daemon that has the lock keeps others from starting', { timeout }, async () => {
  using temp = makeTempDir();
  const parts = partsIn(temp.path);
  const held = lockFile(parts.paths.lock);
  await assert.rejects(findLock(parts), /a daemon already runs in/);
  held?.release();
});
