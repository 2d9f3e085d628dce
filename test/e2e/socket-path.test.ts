/** The file of a Unix source: clients find the rule by it alone. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, lstatSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';

const timeout = 120_000;

for (const flags of [[], ['--engine', 'portable']]) {
  test(
    `a file that was removed is made again by the next start, and open connections go on ${flags.join(' ')}`,
    { timeout },
    async (t) => {
      const backend = await startBackend(t, 'one');
      const grace = makeGrace(t);
      const path = join(dirname(grace.dir), 'app.sock');
      const src = `unix:${path}:mode=600`;
      if (flags.length > 0) {
        grace.spawn('daemon', ...flags);
        await until('it serves', async () => (await grace.run('ls')).code === 0);
      }
      await grace.ok('start', src, backend.endpoint);
      const early = await openClient(t, { path });
      assert.equal(await early.line(), 'one');
      rmSync(path);
      const { stdout, stderr } = await grace.run('ls');
      if (/failed/.test(stdout)) assert.match(stderr, /the file .*app\.sock is gone/);
      else assert.ok(existsSync(path), 'it was made again by itself');

      await grace.ok('start', src, backend.endpoint);
      assert.equal(lstatSync(path).mode & 0o777, 0o600);
      assert.match(await grace.ok('ls'), /active/);
      const late = await openClient(t, { path });
      assert.equal(await late.line(), 'one');
      assert.equal(await early.echo('still'), 'still');
      // The new socket is the one that is kept and handed over.
      await grace.ok('restart');
      assert.equal(await (await openClient(t, { path })).line(), 'one');
      process.kill((await grace.status()).pid, 'SIGKILL');
      await until('it is started again', async () => (await grace.run('status')).code === 0);
      assert.equal(await (await openClient(t, { path })).line(), 'one');
      await grace.ok('stop', src, '--now');
      assert.equal(existsSync(path), false);
      assert.equal(existsSync(`${path}.lock`), false);
    },
  );
}

test(
  'a restart makes a file again that was removed, at once, though its predecessor lives on',
  { timeout },
  async (t) => {
    const backend = await startBackend(t, 'one');
    const grace = makeGrace(t);
    const path = join(dirname(grace.dir), 'app.sock');
    grace.spawn('daemon', '--engine', 'portable'); // its connections stay where they are
    await until('it serves', async () => (await grace.run('ls')).code === 0);
    await grace.ok('start', `unix:${path}`, backend.endpoint);
    const early = await openClient(t, { path });
    assert.equal(await early.line(), 'one');
    const { pid } = await grace.status();
    rmSync(path);
    await grace.ok('restart');
    // One line: there is no second try, and the file is bound a moment before the socket listens.
    await until('the file was made again', async () => /it was made again/.test(await grace.ok('logs')));
    assert.doesNotMatch(await grace.ok('logs'), /clients do not come to this rule/);
    assert.equal(await (await openClient(t, { path })).line(), 'one');
    assert.equal(await early.echo('still'), 'still');
    process.kill(pid, 0); // the predecessor, which had the lock beside the path
  },
);

test('a path that another program took over is left to it, and told of', { timeout }, async (t) => {
  const backend = await startBackend(t, 'one');
  const grace = makeGrace(t);
  const path = join(dirname(grace.dir), 'app.sock');
  await grace.ok('start', `unix:${path}:lockfile=0`, backend.endpoint);
  rmSync(path);
  const other = createServer((socket) => void socket.on('error', () => {}).end('other\n')).listen(path); // who only looks does not stay
  t.after(() => void other.close());
  await once(other, 'listening');
  const { code, stderr } = await grace.run('start', `unix:${path}:lockfile=0`, backend.endpoint);
  assert.equal(code, 1);
  assert.match(stderr, /address already in use \(EADDRINUSE\): a process answers there/);
  assert.match((await grace.run('ls')).stderr, /app\.sock is the file of another program now/);
  assert.equal(await (await openClient(t, { path })).line(), 'other');
  other.close();
  await once(other, 'close');
  await grace.ok('start', `unix:${path}:lockfile=0`, backend.endpoint);
  assert.equal(await (await openClient(t, { path })).line(), 'one');
});
test('a destination whose path is too long is refused, and what runs can be restarted', { timeout }, async (t) => {
  const backend = await startBackend(t, 'one');
  const grace = makeGrace(t);
  await grace.ok('start', 'tcp:0:interface=127.0.0.1', backend.endpoint);
  const long = `unix:/tmp/${'x'.repeat(120)}:lockfile=1`;
  for (const words of [
    ['start', 'tcp:0:interface=127.0.0.2', long],
    ['switch', '--no-check', 'tcp:0:interface=127.0.0.1', long],
  ]) {
    const { code, stderr } = await grace.run(...words);
    assert.notEqual(code, 0);
    assert.match(stderr, /path too long: .* has 125 bytes, and a socket's path at most 10[37]/);
  }
  await grace.ok('restart');
  assert.equal((await grace.ls()).length, 1);
});
