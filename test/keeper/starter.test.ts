import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeeperConsole } from '../../src/keeper/console.ts';
import { FdStore } from '../../src/keeper/fd-store.ts';
import { WatchedGenerations } from '../../src/keeper/generations.ts';
import type { Generation } from '../../src/keeper/generations.ts';
import type { DaemonMessage } from '../../src/keeper/messages.ts';
import { Programs } from '../../src/keeper/programs.ts';
import { Reaper } from '../../src/keeper/reaper.ts';
import { startDaemon } from '../../src/keeper/starter.ts';
import { isRunning } from '../../src/sys/process.ts';

const timeout = 60_000;

test('a daemon that says nothing after its start is ended, one that has spoken is not', { timeout }, async (t) => {
  const heard = Promise.withResolvers<DaemonMessage>();
  const lost = Promise.withResolvers<Generation>();
  const generations = new WatchedGenerations({
    onMessage: (_, message) => heard.resolve(message),
    onEnd: (generation) => lost.resolve(generation),
  });
  const hello = { hello: { pid: process.pid, version: '0.0.0', format: 1, reason: null } };
  const start = (script: string) => {
    const programs = new Programs({ file: process.execPath, args: [] });
    programs.served({ file: '/bin/sh', args: ['-c', script] });
    startDaemon(hello, {
      args: [],
      env: process.env,
      programs,
      generations,
      store: new FdStore([]),
      console: new KeeperConsole({ dir: '/nowhere', env: {}, args: [], wasBackground: false }),
      reaper: new Reaper(),
      firstWordMs: 300,
    });
    const { pid } = [...generations].at(-1)!;
    t.after(() => isRunning(pid!) && process.kill(pid!, 'SIGKILL'));
    return pid;
  };
  const talker = start(`printf '{"ping":0}\\n' >&3; exec sleep 600`);
  assert.deepEqual(await heard.promise, { ping: 0 });
  const silent = start('exec sleep 600');
  const { pid, shortage } = await lost.promise;
  assert.equal(pid, silent);
  assert.match(String(shortage), /has not said a word/);
  assert.ok(isRunning(talker!));
});
