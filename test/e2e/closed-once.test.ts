import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';
import { until } from '../until.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1';

for (const engine of ['native', 'portable'])
  test(`nothing is closed twice: another thread may have the number (${engine})`, { timeout }, async (t) => {
    const grace = makeGrace(t);
    const path = `${grace.dir}.sock`;
    const backend = await startBackend(t, 'backend', { path: `${grace.dir}.backend` });
    const plain = await startBackend(t, 'plain');
    grace.spawn('daemon', '--engine', engine);
    await until('the daemon runs', async () => (await grace.run('status')).code === 0);
    await grace.ok('start', src, backend.endpoint);
    assert.equal((await grace.status()).engine, engine);
    const trace = await traceClose(t, (await grace.status()).pid!);
    if (trace === null) return t.skip('strace(1) cannot be used here');
    await grace.ok('start', `unix:${path}`, backend.endpoint);
    for (const where of [{ port: await grace.port(src) }, { path }]) {
      const client = await openClient(t, where);
      assert.equal(await client.line(), 'backend');
      await client.end();
    }
    await grace.ok('switch', src, plain.endpoint);
    await grace.ok('ls', '--connections');
    // What it starts is followed: its successor, and what that does.
    await grace.ok('restart');
    await grace.ok('stop', `unix:${path}`);
    assert.deepEqual((await trace()).match(/.*close\(.*EBADF.*/g) ?? [], []);
  });

/** Follow what a process, and what it starts, fails to close. Returns what ends that and gives the trace; null where strace cannot do it. */
async function traceClose(t: TestContext, pid: number): Promise<(() => Promise<string>) | null> {
  const tracer = spawn('strace', ['-f', '-y', '-e', 'trace=close', '-e', 'status=failed', '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let text = '';
  const detach = async () => {
    const isOver = tracer.exitCode !== null || tracer.signalCode !== null;
    if (!isOver && tracer.kill()) await once(tracer, 'close');
    return text;
  };
  t.after(detach);
  const isAttached = await new Promise<boolean>((resolve) => {
    tracer.once('error', () => resolve(false)).once('exit', () => resolve(false));
    tracer.stderr.setEncoding('utf8').on('data', (more: string) => {
      text += more;
      if (/ attached/.test(text)) resolve(true);
    });
  });
  return isAttached ? detach : null;
}
