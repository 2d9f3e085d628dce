import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { dupFd, isCloseOnExec, setCloseOnExec } from '../../src/sys/descriptor.ts';
import { adoptLock, lockFile } from '../../src/sys/lock.ts';

function inTempDir(): { file: string } & Disposable {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'grace-lock-'));
  return { file: path.join(directory, 'lock'), [Symbol.dispose]: () => fs.rmSync(directory, { recursive: true }) };
}

test('a lock is exclusive until it is released, twice is fine', () => {
  using temp = inTempDir();
  const lock = lockFile(temp.file);
  assert.ok(lock !== null);
  assert.equal(fs.statSync(temp.file).mode & 0o777, 0o600);
  assert.equal(isCloseOnExec(lock.fd), true);
  assert.equal(lockFile(temp.file), null);
  lock.release();
  lock.release();
  const again = lockFile(temp.file);
  assert.ok(again !== null);
  again.release();
});

test('a lock lasts as long as any copy of its descriptor', () => {
  using temp = inTempDir();
  const lock = lockFile(temp.file);
  assert.ok(lock !== null);
  const copy = dupFd(lock.fd);
  setCloseOnExec(copy, false);
  const adopted = adoptLock(copy);
  assert.equal(isCloseOnExec(copy), true);
  lock.release();
  assert.equal(lockFile(temp.file), null);
  adopted.release();
  lockFile(temp.file)!.release();
});

test('a child that inherits the lock holds it until its end', { timeout: 60_000 }, async () => {
  using temp = inTempDir();
  const lock = lockFile(temp.file);
  assert.ok(lock !== null);
  const child = spawn('cat', { stdio: ['pipe', 'ignore', 'inherit', lock.fd] });
  await once(child, 'spawn');
  lock.release();
  assert.equal(lockFile(temp.file), null);
  child.stdin?.end();
  await once(child, 'exit');
  lockFile(temp.file)!.release();
});

test('a symbolic link is not followed, and a missing directory is an error', () => {
  using temp = inTempDir();
  fs.symlinkSync('elsewhere', temp.file);
  assert.throws(() => lockFile(temp.file), { code: 'ELOOP' });
  assert.throws(() => lockFile(`${temp.file}/no/where`), { code: /ENOTDIR|ENOENT/ });
});
