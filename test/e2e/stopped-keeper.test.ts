import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { isRunning, makeGrace, ownLoopback } from './grace.ts';
import { descriptorsOf, gone, kill } from './processes.ts';
import { until } from '../until.ts';
import type { TestContext } from 'node:test';

const timeout = 180_000;
const src = `tcp:0:interface=${ownLoopback}`;

/** A daemon whose keeper is stopped by SIGSTOP; `goOn` lets it run again. */
async function startStopped(t: TestContext) {
  let stopped: number | null = null;
  const goOn = () => {
    if (stopped !== null && isRunning(stopped)) process.kill(stopped, 'SIGCONT');
  };
  t.after(goOn); // before the stop of everything, which waits for the keeper
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const { pid, keeper } = await grace.status();
  assert.ok(keeper);
  stopped = keeper.pid;
  process.kill(keeper.pid, 'SIGSTOP');
  return { grace, a, pid, keeper: keeper.pid, goOn };
}

test(
  'commands are answered while the keeper is stopped, and it knows of everything when it goes on',
  { timeout },
  async (t) => {
    const { grace, a, pid, keeper, goOn } = await startStopped(t);
    // More than its queue holds.
    const paths = Array.from({ length: 14 }, (_, index) => `${grace.dir}-${index}.sock`);
    const began = performance.now();
    for (const path of paths) await grace.ok('start', `unix:${path}`, a.endpoint);
    await grace.ok('stop', `unix:${paths[0]}`);
    assert.equal(existsSync(paths[0]!), false);
    assert.equal((await grace.ls()).length, paths.length);
    t.diagnostic(`${Math.round(performance.now() - began)} ms`);
    goOn();
    const { keeper: known } = await grace.status();
    assert.equal(known?.pid, keeper);
    await until('it has all sockets', () => {
      const inodes = (of: number) =>
        new Set([...descriptorsOf(of).values()].filter((target) => target.startsWith('socket:')));
      return [...inodes(keeper)].length >= paths.length + 3;
    });
    await kill(pid);
    for (const path of paths.slice(1)) assert.equal(await (await openClient(t, { path })).line(), 'A');
    assert.equal((await grace.status()).keeper?.pid, keeper);
    assert.equal((await grace.ls()).length, paths.length);
  },
);

test(
  'a rule that is stopped while the keeper is stopped refuses at once, and its port can be had again',
  { timeout },
  async (t) => {
    const { grace, a } = await startStopped(t);
    const port = await grace.port(src);
    await grace.ok('stop', src);
    await assert.rejects(openClient(t, { host: ownLoopback, port }), /ECONNREFUSED/);
    await grace.ok('start', `tcp:${port}:interface=${ownLoopback}`, a.endpoint);
    assert.equal(await (await openClient(t, { host: ownLoopback, port })).line(), 'A');
  },
);

test('a daemon that was stopped while the keeper was is not started again when it goes on', { timeout }, async (t) => {
  const { grace, a, pid, keeper, goOn } = await startStopped(t);
  for (let index = 0; index < 14; index++) await grace.ok('start', `unix:${grace.dir}-${index}.sock`, a.endpoint);
  const stopping = grace.spawn('stop', '--now');
  await gone(pid);
  goOn();
  assert.deepEqual(await stopping.ended, { code: 0, stdout: 'Stopped\n', stderr: '' });
  assert.equal(isRunning(keeper), false);
  assert.equal((await grace.run('status')).code, 3);
});

test(
  'a restart while the keeper is stopped succeeds, and the keeper keeps the new daemon when it goes on',
  { timeout },
  async (t) => {
    const { grace, pid, keeper, goOn } = await startStopped(t);
    const port = await grace.port(src);
    const client = await openClient(t, { host: ownLoopback, port });
    await client.line();
    await grace.ok('restart', '--timeout', '60s');
    const now = (await grace.status()).pid;
    assert.notEqual(now, pid);
    assert.equal(await client.echo('still here'), 'still here');
    goOn();
    await until('the keeper is known', async () => (await grace.status()).keeper?.pid === keeper);
    await kill(now);
    assert.equal(await (await openClient(t, { host: ownLoopback, port })).line(), 'A');
    assert.equal((await grace.status()).keeper?.pid, keeper);
  },
);
