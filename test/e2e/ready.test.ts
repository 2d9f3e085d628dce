/** What whoever moves an address between machines reads: whether this one serves. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback } from './grace.ts';

const options = { timeout: 120_000 };
const src = 'tcp:0:interface=127.0.0.1';

test(
  'the file "ready" says 50 while all rules are served, over restarts too, 0 before the end, and goes with the daemon',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'backend');
    const file = join(grace.dir, 'ready');
    await grace.ok('start', src, backend.endpoint);
    await until('it is there', () => existsSync(file));
    assert.equal(readFileSync(file, 'utf8'), '50\n');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    let isWatching = true;
    const seen = new Set<string>();
    const watching = (async () => {
      for (; isWatching; await new Promise((resolve) => setImmediate(resolve)))
        seen.add(existsSync(file) ? readFileSync(file, 'utf8') : 'none');
    })();
    await grace.ok('restart');
    isWatching = false;
    await watching;
    assert.deepEqual([...seen], ['50\n']);
    const port = await grace.port(src);
    const stopping = grace.spawn('stop', '--announce', '2s');
    await until('it is announced', () => readFileSync(file, 'utf8') === '0\n');
    const client = await openClient(t, { port, host: '127.0.0.1' }); // it serves on
    assert.equal(await client.line(), 'backend');
    await client.end();
    assert.equal((await stopping.ended).code, 0);
    assert.equal(existsSync(file), false);
  },
);

test('a daemon that is replaced while it announces its end has its successor end', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  const file = join(grace.dir, 'ready');
  // Its connections stay with the predecessor, which so is there when it has waited.
  const daemon = grace.spawn('daemon', '--engine', 'portable');
  await until('it serves', async () => (await grace.run('status')).code === 0);
  await grace.ok('start', src, backend.endpoint);
  const client = await openClient(t, { port: await grace.port(src), host: '127.0.0.1' });
  assert.equal(await client.line(), 'backend');
  const { pid } = await grace.status();
  const stopping = grace.spawn('stop', '--announce', '5s', '--now');
  await until('it is announced', () => existsSync(file) && readFileSync(file, 'utf8') === '0\n');
  await grace.ok('restart');
  assert.notEqual((await grace.status()).pid, pid);
  const { code, stdout, stderr } = await stopping.ended;
  assert.deepEqual([code, stdout, stderr], [0, 'Stopped\n1 connection closed\n', '']);
  await daemon.ended;
  assert.equal((await grace.run('status')).code, 3);
  assert.doesNotMatch(grace.log(), /internal error/);
});

test('a rule that cannot be served takes the readiness away until it is', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  const file = join(grace.dir, 'ready');
  const other = createServer().listen(0, ownLoopback);
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  other.close();
  await once(other, 'close');
  await grace.ok('start', `tcp:${port}:interface=${ownLoopback}`, backend.endpoint);
  await grace.ok('stop');
  const thief = createServer().listen(port, ownLoopback);
  await once(thief, 'listening');
  t.after(() => void thief.close());
  await grace.ok('start', src, backend.endpoint);
  await until('it is written', () => existsSync(file) && readFileSync(file, 'utf8') === '0\n');
  thief.close();
  await until('the rule is served again', () => readFileSync(file, 'utf8') === '50\n', { limitMs: 60_000 });
});

test('a Unix source whose directory has gone counts as failed wherever that is told', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  const file = join(grace.dir, 'ready');
  const dir = join(dirname(grace.dir), 'sockets');
  mkdirSync(dir);
  const path = `unix:${join(dir, 'app.sock')}`;
  await grace.ok('start', src, backend.endpoint);
  await grace.ok('start', path, backend.endpoint);
  await until('all are served', () => existsSync(file) && readFileSync(file, 'utf8') === '50\n');
  rmSync(dir, { recursive: true });
  await until('it is noticed', () => readFileSync(file, 'utf8') === '0\n');
  assert.equal((await grace.status()).failed, 1);
  assert.match(await grace.ok('status'), /^rules +2, 1 of them cannot be served: see grace ls$/m);
  assert.equal((await grace.run('status', '--health')).code, 1);
  assert.match(await grace.ok('metrics'), /^grace_rules\{state="listening"\} 1\ngrace_rules\{state="failed"\} 1$/m);
  await grace.ok('restart');
  assert.equal(readFileSync(file, 'utf8'), '0\n');
  mkdirSync(dir);
  await grace.ok('start', path, backend.endpoint);
  await until('all are served again', () => readFileSync(file, 'utf8') === '50\n');
  assert.equal((await grace.status()).failed, 0);
});

test(
  'with freebind a source listens on an address that the machine does not have',
  { ...options, skip: process.platform !== 'linux' },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'backend');
    const without = await grace.run('start', 'tcp:0:interface=192.0.2.1', backend.endpoint);
    assert.equal(without.code, 1);
    await grace.ok('start', 'tcp:0:interface=192.0.2.1:freebind=yes', backend.endpoint);
    await grace.ok('start', 'tcp6:0:interface=2001\\:db8\\:\\:1:freebind=yes', backend.endpoint);
    assert.deepEqual(
      (await grace.ls()).map(({ listening }) => listening.replace(/[0-9]+$/, 'N')),
      ['192.0.2.1:N', '[2001:db8::1]:N'],
    );
    const refused = connect({ host: '127.0.0.1', port: await grace.port('tcp:0:interface=192.0.2.1:freebind=yes') });
    await assert.rejects(once(refused, 'connect'), { code: 'ECONNREFUSED' });
  },
);

test('what could not be written of "ready" and of the pid file is written as soon as it can be', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  mkdirSync(grace.dir, { mode: 0o700 });
  const files = ['ready', 'grace.pid'].map((name) => join(grace.dir, name));
  for (const file of files) mkdirSync(file); // which no file can be renamed over
  await grace.ok('start', src, backend.endpoint);
  assert.equal((await grace.status()).problems?.length, 2);
  for (const file of files) rmdirSync(file);
  await until('both are there', () => files.every((file) => existsSync(file)));
  const { pid, keeper, problems } = await grace.status();
  assert.deepEqual(
    files.map((file) => readFileSync(file, 'utf8')),
    ['50\n', `${keeper?.pid ?? pid}\n`],
  );
  assert.deepEqual(problems, []);
});
