import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { openFakeDaemon } from './fake-daemon.ts';
import { runWords } from './run-cli.ts';

for (const { argv, timeoutMs } of [
  { argv: ['stop', 'tcp:9000'], timeoutMs: 30_000 },
  { argv: ['stop', 'tcp:9000', '--timeout', '5'], timeoutMs: 5000 },
  { argv: ['stop', 'tcp:9000', '--now'], timeoutMs: 0 },
  { argv: ['stop', '--now', 'tcp:9000', '--timeout', '5'], timeoutMs: 0 },
]) {
  test(`grace ${argv.join(' ')} gives open connections ${timeoutMs} ms`, { timeout: 60_000 }, async () => {
    await using daemon = await openFakeDaemon(() => [{ result: { closed: 0, pids: [] } }]);
    assert.deepEqual(await runWords(['-d', daemon.dir, ...argv]), { exitCode: 0, stdout: 'Stopped\n', stderr: '' });
    assert.equal(daemon.requests[0]?.['timeoutMs'], timeoutMs);
    assert.equal((daemon.requests[0] as { src: { typed: string } }).src.typed, 'tcp:9000');
  });
}

test('stop says how many connections had to be closed, and succeeds', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { closed: 3, pids: [] } }]);
  assert.deepEqual(await runWords(['-d', daemon.dir, 'stop', 'tcp:1', '--timeout', '2s']), {
    exitCode: 0,
    stdout: 'Stopped\n3 connections closed after 2s\n',
    stderr: '',
  });
  assert.deepEqual(await runWords(['-d', daemon.dir, 'stop', 'tcp:1', '--now']), {
    exitCode: 0,
    stdout: 'Stopped\n3 connections closed\n',
    stderr: '',
  });
});

test('stop of the daemon returns when its processes are gone', { timeout: 60_000 }, async () => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' });
  const { pid = 0 } = child;
  // The process ends after the answer, as a daemon does.
  await using daemon = await openFakeDaemon((_, socket) => {
    socket.write(`${JSON.stringify({ result: { closed: 0, pids: [pid] } })}\n`, () => child.kill('SIGKILL'));
  });
  const gone = once(child, 'exit');
  assert.deepEqual(await runWords(['-d', daemon.dir, 'stop']), { exitCode: 0, stdout: 'Stopped\n', stderr: '' });
  await gone;
  assert.deepEqual(daemon.requests, [{ command: 'stop', timeoutMs: 30_000 }]);
});

test('a process that ended and was not waited for by its parent counts as gone', { timeout: 60_000 }, async () => {
  // The shell becomes a sleep that never waits for the child that the shell had started.
  const parent = spawn('sh', ['-c', 'true & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    await using daemon = await openFakeDaemon(() => [{ result: { closed: 0, pids: [Number(line.toString())] } }]);
    assert.equal((await runWords(['-d', daemon.dir, 'stop'])).exitCode, 0);
  } finally {
    parent.kill('SIGKILL');
  }
});
