import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFakeDaemon } from './fake-daemon.ts';
import { openTempDir, runWords } from './run-cli.ts';

test(
  'start sends the endpoints as typed and with absolute paths, and prints Started',
  { timeout: 60_000 },
  async () => {
    await using daemon = await openFakeDaemon(() => [{ result: { changed: true, notes: [] } }]);
    const outcome = await runWords(['start', 'unix:run/a.sock', 'unix:b.sock:timeout=5', '-d', daemon.dir], {
      cwd: '/srv',
    });
    assert.deepEqual(outcome, { exitCode: 0, stdout: 'Started\n', stderr: '' });
    const [request] = daemon.requests;
    assert.equal(request?.['command'], 'start');
    const { src, dst } = request as {
      src: { typed: string; absolute: string };
      dst: { typed: string; absolute: string };
    };
    assert.deepEqual([src.typed, dst.typed], ['unix:run/a.sock', 'unix:b.sock:timeout=5']);
    assert.match(src.absolute, /^unix:.*\/srv\/run\/a\.sock/);
    assert.match(dst.absolute, /^unix:.*\/srv\/b\.sock/);
  },
);

test('start prints what the daemon has to tell on stderr', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [
    { result: { changed: true, notes: ['listens on every interface'] } },
  ]);
  const outcome = await runWords(['start', 'tcp:1', 'tcp:a:2', '-d', daemon.dir]);
  assert.deepEqual(outcome, { exitCode: 0, stdout: 'Started\n', stderr: 'note: listens on every interface\n' });
});

test('the endpoint of standard input cannot be a source', { timeout: 60_000 }, async () => {
  using dir = openTempDir();
  const { exitCode, stderr } = await runWords(['start', 'stdio:', 'tcp:a:2', '-d', dir.path]);
  assert.equal(exitCode, 2);
  assert.match(stderr, /^grace: cannot forward "stdio:"/);
});

test('on a terminal start says so when it listens on every interface by default', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { changed: true, notes: [] } }]);
  for (const { src, isTTY, isNoted } of [
    { src: 'tcp:1', isTTY: true, isNoted: true },
    { src: 'tcp:1', isTTY: false, isNoted: false },
    { src: 'tcp:1:interface=0.0.0.0', isTTY: true, isNoted: false },
    { src: 'tcp:1:interface=127.0.0.1', isTTY: true, isNoted: false },
  ]) {
    const { stdout, stderr } = await runWords(['start', src, 'tcp:a:2', '-d', daemon.dir], { isTTY });
    assert.equal(stdout, 'Started\n');
    assert.equal(stderr.includes('every network'), isNoted, src);
  }
});
