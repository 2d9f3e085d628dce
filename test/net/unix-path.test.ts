import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import type { Listener } from '../../src/net/listener.ts';
import { openListener } from '../../src/net/open.ts';
import { removeSocketPath, takeOverSocketPath } from '../../src/net/unix-path.ts';
import { lockFile } from '../../src/sys/lock.ts';
import { makeTempDir } from './temp-dir.ts';

const options = { timeout: 60_000 };

function open(path: string, { lockfile = false } = {}): Promise<Listener> {
  return openListener({ kind: 'unix', path, mode: 0o600, backlog: 50, lockfile }, { name: 'x' });
}

/** The id of a process that has just ended. */
async function deadPid(): Promise<number> {
  const child = spawn('true');
  await once(child, 'exit');
  return child.pid!;
}

test('a socket that is listened on is in use, and stays', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  const listener = await open(path);
  await assert.rejects(
    open(path),
    /^GraceError: cannot listen on unix:.*: address already in use \(EADDRINUSE\): a process answers there$/,
  );
  const client = net.connect(path);
  await once(client, 'connect');
  client.destroy();
  listener.close();
});

test('nobody who may read the directory, or write in it, can hold up a start', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  const holder = spawn('flock', [temp.path, 'cat'], { stdio: ['pipe', 'pipe', 'ignore'] });
  holder.stdin.write('\n');
  await once(holder.stdout, 'data');
  (await open(path)).close();
  // A link to a file of this very user, which somebody holds.
  fs.writeFileSync(temp.file('other'), '');
  fs.linkSync(temp.file('other'), `${path}.grace-lock`);
  const lock = lockFile(temp.file('other'));
  (await open(path)).close();
  lock?.release();
  fs.rmSync(`${path}.grace-lock`);
  if (process.getuid?.() === 0) {
    fs.writeFileSync(`${path}.grace-lock`, '');
    fs.chownSync(`${path}.grace-lock`, 65534, 65534);
    const foreign = lockFile(`${path}.grace-lock`);
    (await open(path)).close();
    foreign?.release();
  }
  holder.stdin.end();
  await once(holder, 'close');
});

test('of starts at once on a stale socket one wins, and no lock is left', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  (await open(path)).close();
  const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => open(path)));
  const [winner, ...others] = outcomes.filter((each) => each.status === 'fulfilled');
  assert.equal(others.length, 0);
  winner!.value.close();
  assert.deepEqual(fs.readdirSync(temp.path), ['s']);
});

test('a socket whose queue is full is in use', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  const listener = await openListener({ kind: 'unix', path, mode: 0o600, backlog: 1 }, { name: 'x' });
  const clients = [net.connect(path), net.connect(path)];
  await Promise.all(clients.map((client) => once(client, 'connect')));
  await assert.rejects(open(path), /EADDRINUSE/);
  for (const client of clients) client.destroy();
  listener.close();
});

test('a socket that nobody listens on is replaced', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  (await open(path)).close();
  assert.ok(fs.statSync(path).isSocket());
  const listener = await open(path);
  const client = net.connect(path);
  await once(client, 'connect');
  client.destroy();
  listener.close();
});

test('what is not a socket is never removed', options, async () => {
  using temp = makeTempDir();
  fs.writeFileSync(temp.file('file'), 'precious');
  fs.symlinkSync('file', temp.file('link'));
  fs.mkdirSync(temp.file('directory'));
  for (const name of ['file', 'link', 'directory']) {
    await assert.rejects(open(temp.file(name)), /exists and is not a socket \(EADDRINUSE\)/);
  }
  assert.equal(fs.readFileSync(temp.file('link'), 'utf8'), 'precious');
});

test('of many that find a stale socket at the same time, one gets it', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  (await open(path)).close();
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => open(path)));
  const winners = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  assert.equal(winners.length, 1);
  assert.deepEqual(fs.readdirSync(temp.path), ['s']);
  const client = net.connect(path);
  await once(client, 'connect');
  client.destroy();
  winners[0]!.close();
});

test("the file is removed if it still is the listener's", options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  const listener = await open(path, { lockfile: true });
  listener.close();
  removeSocketPath(listener);
  assert.deepEqual(fs.readdirSync(temp.path), []);
  removeSocketPath(listener);
});

test('a file that another process has put in its place stays', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  const [first, second] = [await open(path), (fs.unlinkSync(path), await open(path))];
  first.close();
  removeSocketPath(first);
  assert.ok(fs.statSync(path).isSocket());
  removeSocketPath(second);
  assert.equal(fs.existsSync(path), false);
  second.close();
});

test('the lock names this process, and one of a live process is respected', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  const listener = await open(path, { lockfile: true });
  assert.equal(fs.readlinkSync(`${path}.lock`), String(process.pid));
  assert.equal(listener.socketFile?.isLocked, true);
  listener.close();
  removeSocketPath(listener);

  fs.symlinkSync('1', `${path}.lock`);
  await assert.rejects(open(path, { lockfile: true }), /\.lock is held by process 1$/);
  assert.equal(fs.readlinkSync(`${path}.lock`), '1');
});

test('a lock of a dead process is replaced, its socket too', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  (await open(path)).close();
  fs.symlinkSync(String(await deadPid()), `${path}.lock`);
  const listener = await open(path, { lockfile: true });
  assert.equal(fs.readlinkSync(`${path}.lock`), String(process.pid));
  listener.close();
});

test('a failed listen leaves no lock behind, nor takes one away', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  fs.writeFileSync(path, '');
  await assert.rejects(open(path, { lockfile: true }));
  assert.deepEqual(fs.readdirSync(temp.path), ['s']);

  const locked = temp.file('locked');
  const listener = await open(locked, { lockfile: true });
  await assert.rejects(open(locked, { lockfile: true }), /a process answers there/);
  assert.equal(fs.readlinkSync(`${locked}.lock`), String(process.pid));
  listener.close();
});

test('what lies in the place of the lock and is none is left alone', options, async () => {
  using temp = makeTempDir();
  fs.writeFileSync(temp.file('s.lock'), 'precious');
  await assert.rejects(open(temp.file('s'), { lockfile: true }), /exists and is not a lock/);
  assert.equal(fs.readFileSync(temp.file('s.lock'), 'utf8'), 'precious');
});

test('a lock can be taken over from the process that held it', options, async () => {
  using temp = makeTempDir();
  const path = temp.file('s');
  const listener = await open(path, { lockfile: true });
  fs.unlinkSync(`${path}.lock`);
  fs.symlinkSync('1', `${path}.lock`);
  takeOverSocketPath(listener);
  assert.equal(fs.readlinkSync(`${path}.lock`), String(process.pid));
  assert.deepEqual(fs.readdirSync(temp.path).sort(), ['s', 's.lock']);
  listener.close();
});
