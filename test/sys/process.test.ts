import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { closeFd } from '../../src/sys/descriptor.ts';
import { fdLimit, openProcess, reapChild, setFdLimit, setThreadName, signalProcess } from '../../src/sys/process.ts';

const onLinux = { skip: process.platform !== 'linux' && 'Linux only' };

test('the descriptor limit can be read and set', () => {
  const { soft, hard } = fdLimit();
  assert.ok(soft > 0n && hard >= soft);
  setFdLimit({ soft: soft - 1n, hard });
  assert.deepEqual(fdLimit(), { soft: soft - 1n, hard });
  setFdLimit({ soft, hard });
});

test('the name of a thread is cut to what the system takes', onLinux, () => {
  const task = fs.readlinkSync('/proc/thread-self');
  const before = fs.readFileSync(`/proc/${task}/comm`, 'utf8').trim();
  setThreadName('name-that-is-too-long');
  assert.equal(fs.readFileSync(`/proc/${task}/comm`, 'utf8').trim(), 'name-that-is-to');
  setThreadName(before);
});

test('there is no child to reap where none has ended', () => {
  assert.equal(reapChild(process.pid), null);
});

test(
  'a process is signalled through its descriptor, and not when it has ended',
  { ...onLinux, timeout: 60_000 },
  async () => {
    const child = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] });
    await once(child, 'spawn');
    const processFd = openProcess(child.pid!);
    assert.ok(processFd !== null);
    signalProcess(processFd, 15);
    const [, signal] = await once(child, 'exit');
    assert.equal(signal, 'SIGTERM');
    assert.throws(() => signalProcess(processFd, 15), { code: 'ESRCH' });
    closeFd(processFd);
    assert.equal(openProcess(child.pid!), null);
  },
);
