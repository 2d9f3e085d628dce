import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { parentVariable, takeParent } from '../../src/net/parent.ts';

const options = { skip: process.platform !== 'linux' && 'Linux only', timeout: 60_000 };

/** Field 22 of /proc/PID/stat; the name of these programs has no blank in it. */
function startTime(pid: number): string {
  return fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[21]!;
}

test('a process that nobody of us started has no parent', () => {
  assert.equal(takeParent({}), null);
  for (const GRACE_PARENT of ['', '1', ':', '0:1', '-1:1', '1:x', '1:1 ', '99999999999999:1'])
    assert.equal(takeParent({ GRACE_PARENT }), null);
});

test('the claim is removed from the environment', () => {
  const env: Record<string, string | undefined> = { ...parentVariable(), OTHER: 'kept' };
  assert.equal(takeParent(env)?.pid, process.pid);
  assert.deepEqual(env, { OTHER: 'kept' });
});

test('the parent is asked to end, if it is the one that made the claim', options, async () => {
  const child = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] });
  await once(child, 'spawn');
  const began = startTime(child.pid!);
  const other = takeParent({ GRACE_PARENT: `${child.pid}:${Number(began) + 1}` });
  assert.equal(other?.terminate(), false);
  const parent = takeParent({ GRACE_PARENT: `${child.pid}:${began}` });
  assert.equal(parent?.terminate(), true);
  const [, signal] = await once(child, 'exit');
  assert.equal(signal, 'SIGTERM');
  assert.equal(parent?.terminate(), false);
});

test('without a start time only the direct parent will do', options, () => {
  assert.equal(takeParent({ GRACE_PARENT: '1:' })?.terminate(), false);
});
