import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import { destinationRow } from './destination-row.ts';
import { openFakeDaemon } from './fake-daemon.ts';
import { Sink, runWords } from './run-cli.ts';

const waiting = [destinationRow({ connections: 2 })];

function reply(socket: Socket, message: object): void {
  socket.write(`${JSON.stringify(message)}\n`);
}

test(
  'wait asks for every rule without SRC and for one with it, and is silent where it is soon over',
  { timeout: 60_000 },
  async () => {
    await using daemon = await openFakeDaemon(() => [{ progress: { waiting } }, { result: {} }]);
    for (const argv of [['wait'], ['w', 'tcp:9000']]) {
      assert.deepEqual(await runWords(['-d', daemon.dir, ...argv]), { exitCode: 0, stdout: '', stderr: '' });
    }
    assert.deepEqual(daemon.requests[0], { command: 'wait', everyMs: 1000 });
    assert.equal((daemon.requests[1] as { src: { typed: string } }).src.typed, 'tcp:9000');
  },
);

test(
  'wait shows on a terminal how many of how many it waits for, and the oldest, and erases it',
  { timeout: 60_000 },
  async () => {
    await using daemon = await openFakeDaemon(() => [
      { progress: { waiting: [destinationRow({ connections: 3 })] } },
      { progress: { waiting, oldestMs: 3_661_000 } },
      { result: {} },
    ]);
    const { stdout } = await runWords(['-d', daemon.dir, 'wait'], { isTTY: true });
    assert.equal(
      stdout,
      '\r\u001b[Kwaiting for 3 of 3 connections: 3 on tcp:1 -> tcp:h:2\r\u001b[Kwaiting for 2 of 3 connections, the oldest 1h 1m old: 2 on tcp:1 -> tcp:h:2\r\u001b[K',
    );
  },
);

test('wait gives up after its time-out with exit code 124 and says what is left', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ progress: { waiting } }]);
  const { exitCode, stdout, stderr } = await runWords(['-d', daemon.dir, 'wait', '--timeout', '0.01']);
  assert.deepEqual({ exitCode, stdout }, { exitCode: 124, stdout: '' });
  assert.equal(stderr, 'grace: gave up after 10ms, still waiting for 2 connections: 2 on tcp:1 -> tcp:h:2\n');
});

test('wait with a time-out of 0 still hears that nothing is left', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon((_, socket) => void setImmediate(() => reply(socket, { result: {} })));
  assert.equal((await runWords(['-d', daemon.dir, 'wait', '--timeout', '0'])).exitCode, 0);
});

test('wait gives up on a daemon that does not answer', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => []);
  const { exitCode, stderr } = await runWords(['-d', daemon.dir, 'wait', '--timeout', '1ms']);
  assert.equal(exitCode, 124);
  assert.equal(stderr, 'grace: gave up after 1ms, the daemon did not answer\n');
});

test('Ctrl-C ends wait quietly with exit code 130', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ progress: { waiting } }]);
  const aborter = new AbortController();
  const stdout = new Sink((text) => text.includes('waiting') && aborter.abort());
  const { exitCode, stderr } = await runWords(['-d', daemon.dir, 'wait'], {
    stdout,
    isTTY: true,
    signal: aborter.signal,
  });
  assert.deepEqual({ exitCode, stderr }, { exitCode: 130, stderr: '' });
  assert.ok(stdout.text.endsWith('\r\u001b[K'), 'the line is erased');
});

test('wait asks the successor when the daemon was replaced meanwhile', { timeout: 60_000 }, async () => {
  let asked = 0;
  await using daemon = await openFakeDaemon(() => [
    asked++ === 0 ? { error: { message: 'replaced', exitCode: 1, retry: true } } : { result: {} },
  ]);
  assert.deepEqual(await runWords(['-d', daemon.dir, 'wait']), { exitCode: 0, stdout: '', stderr: '' });
  assert.equal(daemon.requests.length, 2);
});

test(
  'wait without a terminal says on stderr how many are left, in plain lines, when that has changed',
  { timeout: 60_000 },
  async () => {
    await using daemon = await openFakeDaemon((_, socket) => {
      const counts = [3, 3, 2, 2, 2, 1];
      reply(socket, { progress: { waiting } });
      const timer = setInterval(() => {
        const connections = counts.shift();
        if (connections === undefined) clearInterval(timer);
        reply(
          socket,
          connections === undefined ? { result: {} } : { progress: { waiting: [destinationRow({ connections })] } },
        );
      }, 1010);
    });
    const { stdout, stderr } = await runWords(['-d', daemon.dir, 'wait']);
    assert.equal(stdout, '');
    assert.deepEqual(
      stderr
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/:.*/, '')),
      [3, 2, 1].map((left) => `waiting for ${left} of 3 connections`),
    );
  },
);
