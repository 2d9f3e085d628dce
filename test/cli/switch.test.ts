import assert from 'node:assert/strict';
import { test } from 'node:test';
import { destinationRow } from './destination-row.ts';
import { openFakeDaemon } from './fake-daemon.ts';
import { runWords } from './run-cli.ts';

for (const { argv, check } of [
  { argv: ['switch', 'tcp:1', 'tcp:a:2'], check: true },
  { argv: ['x', '--no-check', 'tcp:1', 'tcp:a:2'], check: false },
]) {
  test(`grace ${argv.join(' ')} asks ${check ? 'for' : 'for no'} check and prints Switched`, { timeout: 60_000 }, async () => {
    await using daemon = await openFakeDaemon(() => [{ result: { changed: false, notes: [] } }]);
    assert.deepEqual(await runWords(['-d', daemon.dir, ...argv]), { exitCode: 0, stdout: 'Switched\n', stderr: '' });
    assert.equal(daemon.requests.length, 1);
    assert.equal(daemon.requests[0]?.['check'], check);
  });
}

test('switch --wait then waits for the same source', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(({ command }) => [{ result: command === 'wait' ? {} : { changed: true, notes: [] } }]);
  assert.deepEqual(await runWords(['-d', daemon.dir, 'switch', 'tcp:1', 'tcp:a:2', '--wait']), { exitCode: 0, stdout: 'Switched\n', stderr: '' });
  const [first, second] = daemon.requests;
  assert.deepEqual([first?.['command'], second?.['command']], ['switch', 'wait']);
  assert.deepEqual(second?.['src'], first?.['src']);
});

test('switch --wait gives up after its time-out, with the switch done', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(({ command }) =>
    command === 'wait' ? [{ progress: { waiting: [destinationRow({ connections: 1 })] } }] : [{ result: { changed: true, notes: [] } }],
  );
  const { exitCode, stdout, stderr } = await runWords(['-d', daemon.dir, 'x', 'tcp:1', 'tcp:a:2', '--wait', '--timeout', '10ms']);
  assert.deepEqual({ exitCode, stdout }, { exitCode: 124, stdout: 'Switched\n' });
  assert.match(stderr, /^grace: gave up after 10ms, still waiting for 1 connection: 1 on tcp:1 -> tcp:h:2\n$/);
});

test('a wrong time-out is refused before anything is switched', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => []);
  const { exitCode } = await runWords(['-d', daemon.dir, 'x', 'tcp:1', 'tcp:a:2', '--wait', '--timeout', 'soon']);
  assert.equal(exitCode, 2);
  assert.equal(daemon.requests.length, 0);
});

test('a time-out without anything to wait for is refused before anything is asked', { timeout: 60_000 }, async () => {
  const { exitCode, stdout, stderr } = await runWords(['switch', 'tcp:1', 'tcp:127.0.0.1:2', '--timeout', '5s']);
  assert.deepEqual([exitCode, stdout], [2, '']);
  assert.match(stderr, /^grace: --timeout limits --wait, and there is no --wait\nhint: .*--wait\n$/);
});
