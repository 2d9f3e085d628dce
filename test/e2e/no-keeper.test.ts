import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, program, root } from './grace.ts';
import { pidInFile } from './processes.ts';
import { until } from '../until.ts';

test(
  'where the system lets it be no keeper, the daemon serves without one and says why',
  { timeout: 180_000, skip: process.platform !== 'linux' },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const fixture = join(root, 'test/e2e/fixtures/without-subreaper.ts');
    const daemon = spawn(process.execPath, [fixture, ...program, '-d', grace.dir, 'daemon'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    daemon.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const closed = once(daemon, 'close');
    await until('it serves', async () => daemon.exitCode !== null || (await grace.run('status')).code === 0);
    const { pid, keeper } = await grace.status();
    assert.deepEqual([pid, keeper, pidInFile(join(grace.dir, 'grace.pid'))], [daemon.pid, null, daemon.pid]);
    // Once: its standard error is its log.
    await until('the log says so', () => /WARN .*no keeper, .*: prctl: operation not permitted \(EPERM\)/.test(stderr));
    assert.doesNotMatch(stderr, /^grace: no keeper/m);
    await grace.ok('start', 'tcp:0:interface=127.0.0.1', a.endpoint);
    assert.equal(await (await openClient(t, { port: await grace.port('tcp:0:interface=127.0.0.1') })).line(), 'A');
    await grace.ok('stop', '--now');
    assert.deepEqual(await closed, [0, null]);
  },
);
