import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startWithDaemon } from '../../src/control/launch.ts';
import { makeTempDir } from '../net/temp-dir.ts';

test(
  'who waits for another start that is stopped is told whom to wake',
  { timeout: 60_000, skip: process.platform !== 'linux' && 'Linux tells the state of a process' },
  async () => {
    using temp = makeTempDir();
    const dir = temp.file('state');
    const holder = spawn(
      process.execPath,
      [fileURLToPath(new URL('./fixtures/hold-launch.ts', import.meta.url)), dir],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(holder.stdout, 'data');
    process.kill(holder.pid!, 'SIGSTOP');
    try {
      const began = performance.now();
      const src = { typed: 'tcp:0', absolute: 'tcp:0' };
      const started = startWithDaemon({
        dir,
        self: { file: '/bin/false', args: [] },
        onNote() {},
        request: { command: 'start', src, dst: src },
      });
      await assert.rejects(started, {
        message: `another grace start (pid ${holder.pid}) is about to start the daemon in ${dir}, and is stopped`,
        hint: new RegExp(`kill -CONT ${holder.pid}`),
      });
      assert.ok(performance.now() - began < 5000);
    } finally {
      holder.kill('SIGKILL');
      await once(holder, 'exit');
    }
  },
);
