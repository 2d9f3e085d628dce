import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { openListener } from '../../src/net/open.ts';
import { makeManager } from '../net/manager.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { get } from './get.ts';
import { Program, runFile } from './program.ts';

const ACTIVATE = 'systemd-socket-activate';
const isMissing = spawnSync(ACTIVATE, ['--version']).error !== undefined;
const options = { timeout: 60_000, skip: isMissing && `${ACTIVATE} is not installed (Debian package systemd)` };

/** Run a fixture under systemd-socket-activate, which listens on the path and starts it at the first connection. */
function activate(file: string, path: string): Program {
  const [runtime, args] = runFile(file);
  return new Program(file, [], {
    // It says on its standard error that it listens.
    command: [
      'sh',
      [
        '-c',
        'exec "$@" 2>&1',
        'sh',
        ACTIVATE,
        '-l',
        path,
        '--fdname=web',
        '-E',
        'NODE_COMPILE_CACHE',
        '-E',
        'HOME',
        runtime,
        ...args,
      ],
    ],
  });
}

test(
  'a server that systemd starts at the first connection answers it, restarts, and leaves the socket file to systemd',
  options,
  async () => {
    using temp = makeTempDir();
    const socketPath = temp.file('web.sock');
    await using program = activate('activated-server.ts', socketPath);
    await program.line(/^Listening on/);
    assert.doesNotMatch(program.output, /Serving/);

    const firstPid = await get({ socketPath });
    assert.equal(firstPid, String(program.first.pid));
    await program.line(new RegExp(`^Serving ${socketPath} with pid ${firstPid}\\.$`));

    process.kill(Number(firstPid), 'SIGUSR2');
    const [, secondPid] = await program.line(/^Serving .* with pid (\d+)\.$/);
    await program.line(/^Graceful handoff/);
    await program.line(new RegExp(`^Exiting pid ${firstPid}\\.$`));
    assert.equal(await get({ socketPath }), secondPid);

    process.kill(Number(secondPid), 'SIGTERM');
    await program.ended;
    assert.ok(fs.statSync(socketPath).isSocket());
  },
);

test(
  'a LISTEN_PID that init set is respected, init is never signalled, and the manager hears of start and end',
  { ...options, skip: process.platform !== 'linux' && 'Linux only' },
  async () => {
    using temp = makeTempDir();
    using manager = makeManager(temp.file('notify'));
    const path = temp.file('web.sock');
    const listener = await openListener({ kind: 'unix', path, mode: 0o600, backlog: 50 }, { name: 'web' });
    const [runtime, args] = runFile('activated-server.ts');
    // The outer shell is init here: it stays the parent. The inner one becomes the program.
    const script = `sh -c 'LISTEN_PID=$$ exec "$@"' sh "$@"; echo "init ends with $?"`;
    await using program = new Program('activated-server.ts', [], {
      command: ['sh', ['-c', script, 'sh', runtime, ...args]],
      env: { LISTEN_FDS: '1', LISTEN_FDNAMES: 'web', NOTIFY_SOCKET: manager.address },
      inherited: [listener.fd],
    });
    const [, pid] = await program.line(/^Serving .* with pid (\d+)\.$/);
    assert.equal(await get({ socketPath: path }), pid);
    process.kill(Number(pid), 'SIGTERM');
    await program.line(/^init ends with 0$/);
    await program.ended;
    assert.deepEqual(manager.messages(), [`READY=1\nMAINPID=${pid}\nSTATUS=Serving ${path}`, 'STOPPING=1']);
    assert.ok(fs.statSync(path).isSocket());
    listener.close();
  },
);
