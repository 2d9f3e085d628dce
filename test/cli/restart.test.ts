import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { openFakeDaemon } from './fake-daemon.ts';
import { openTempDir, runWords } from './run-cli.ts';

const result = { oldPid: 12, newPid: 34, oldVersion: '0.1.0', newVersion: '0.2.0', draining: 0 };

test(
  'restart names the executable that the client runs and prints pids and versions',
  { timeout: 60_000 },
  async () => {
    await using daemon = await openFakeDaemon(() => [{ result }]);
    const self = { file: '/usr/bin/node', args: ['/srv/main.ts'] };
    assert.deepEqual(await runWords(['-d', daemon.dir, 'restart'], { self }), {
      exitCode: 0,
      stdout: 'Restarted: pid 12 (0.1.0) -> pid 34 (0.2.0)\n',
      stderr: '',
    });
    assert.deepEqual(daemon.requests, [{ command: 'restart', exec: self, timeoutMs: 10_000 }]);
  },
);

test(
  'restart prints how many connections moved, and how many the old process finishes, with why',
  { timeout: 60_000 },
  async () => {
    await using daemon = await openFakeDaemon(() => [
      { result: { ...result, moved: 1, movedTls: 0, draining: 2, why: 'they stay' } },
    ]);
    const { stdout } = await runWords(['-d', daemon.dir, 'restart', '--timeout', '3s']);
    assert.equal(
      stdout,
      'Restarted: pid 12 (0.1.0) -> pid 34 (0.2.0)\nMoved 1 connection (0 with TLS)\n2 open connections will finish in the old process: they stay\n',
    );
    const { stdout: json } = await runWords(['-d', daemon.dir, 'restart', '--json']);
    assert.deepEqual(JSON.parse(json), { ...result, moved: 1, movedTls: 0, draining: 2, staying: [] });
    assert.equal(daemon.requests[0]?.['timeoutMs'], 3000);
  },
);

test(
  'restart --exec sends the path of another executable, relative to where the user is',
  { timeout: 60_000 },
  async () => {
    using dir = openTempDir();
    await using daemon = await openFakeDaemon(() => [{ result }]);
    writeFileSync(`${dir.path}/grace-new`, '', { mode: 0o755 });
    await runWords(['-d', daemon.dir, 'restart', '--exec', 'grace-new'], { cwd: dir.path });
    assert.deepEqual(daemon.requests[0]?.['exec'], { file: `${dir.path}/grace-new`, args: [] });
  },
);

test(
  'an executable that is missing or unusable is refused with exit code 1 and the daemon is left alone',
  { timeout: 60_000 },
  async () => {
    using dir = openTempDir();
    await using daemon = await openFakeDaemon(() => [{ result }]);
    writeFileSync(`${dir.path}/plain`, '', { mode: 0o644 });
    mkdirSync(`${dir.path}/directory`);
    for (const [path, reason] of [
      ['missing', 'there is no such file (ENOENT)'],
      ['plain', 'it may not be executed (EACCES)'],
      ['directory', 'it is not a file'],
    ] as const) {
      const { exitCode, stderr } = await runWords(['-d', daemon.dir, 'restart', '--exec', path], { cwd: dir.path });
      assert.equal(exitCode, 1, path);
      assert.ok(stderr.startsWith(`grace: cannot restart with ${dir.path}/${path}: ${reason}\n`), stderr);
    }
    assert.deepEqual(daemon.requests, []);
  },
);

test('restart takes no empty text for the executable', { timeout: 60_000 }, async () => {
  const { exitCode, stderr } = await runWords(['restart', '--exec', '']);
  assert.deepEqual([exitCode, stderr], [2, 'grace: option --exec needs a file, not an empty text\n']);
});
