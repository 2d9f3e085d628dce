import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFakeDaemon } from './fake-daemon.ts';
import { openTempDir, runWords } from './run-cli.ts';

const generation = { pid: 12, version: '0.1.0', connections: 3, since: '2026-01-02T00:00:00.000Z' };
const result = {
  pid: 12,
  version: '0.1.0',
  uptimeMs: 125_000,
  engine: 'portable',
  engineReason: 'no FFI here',
  dir: '/srv/state',
  log: '/srv/state/grace.log',
  rules: 2,
  connections: 3,
  keeper: { pid: 11, version: '0.1.0' },
  generations: [generation],
};

test('status prints the facts of the daemon, a line each', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result }]);
  const { exitCode, stdout } = await runWords(['-d', daemon.dir, 'status']);
  assert.equal(exitCode, 0);
  assert.equal(
    stdout,
    [
      'status       running',
      'pid          12',
      'version      0.1.0',
      'uptime       2m 5s',
      'engine       portable (no FFI here)',
      'keeper       pid 11',
      'state dir    /srv/state',
      'log          /srv/state/grace.log',
      'rules        2',
      'connections  3',
      'generations  1',
      '',
    ].join('\n'),
  );
});

test('status tells what moved at the last restart, and what stayed and why', { timeout: 60_000 }, async () => {
  const lastRestart = { at: '2026-01-02T00:00:00.000Z', moved: 12, movedTls: 5, staying: [] as object[] };
  await using daemon = await openFakeDaemon(() => [{ result: { ...result, lastRestart } }]);
  const all = await runWords(['-d', daemon.dir, 'status']);
  assert.match(all.stdout, /^moved {8}12 connections \(5 with TLS\) at the last restart$/m);
  lastRestart.staying.push({ connections: 2, why: 'in a TLS handshake' }, { connections: 1, why: 'of others' });
  const { stdout } = await runWords(['-d', daemon.dir, 'status']);
  assert.match(stdout, /at the last restart; 3 stayed: 2 in a TLS handshake, 1 of others$/m);
});

test('status lists older generations that drain', { timeout: 60_000 }, async () => {
  const older = { pid: 7, version: '0.0.9', connections: 2, since: '2026-01-01T00:00:00.000Z' };
  await using daemon = await openFakeDaemon(() => [{ result: { ...result, generations: [generation, older] } }]);
  const { stdout } = await runWords(['-d', daemon.dir, 'status']);
  assert.match(stdout, /^generations {2}1 serving, 1 older one draining$/m);
  assert.match(stdout, /^ *7 {2}0\.0\.9 +2 {2}2026-01-01T00:00:00\.000Z$/m);
});

test('status --json prints what the daemon sends', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result }]);
  const { stdout } = await runWords(['-d', daemon.dir, 'status', '--json']);
  assert.deepEqual(JSON.parse(stdout), { running: true, ...result });
});

test('status --json says on stdout too that none runs, and exits with 3', { timeout: 60_000 }, async () => {
  using dir = openTempDir();
  const { exitCode, stdout, stderr } = await runWords(['-d', dir.path, 'status', '--json']);
  assert.equal(exitCode, 3);
  assert.deepEqual(JSON.parse(stdout), { running: false, dir: dir.path });
  assert.match(stderr, /^grace: no daemon runs in /);
});

test('status --health fails when a rule cannot be served', { timeout: 60_000 }, async () => {
  for (const error of [undefined, 'address in use']) {
    await using daemon = await openFakeDaemon(({ command }) => [
      { result: command === 'ls' ? { rows: [{ ...healthRow, ...(error ? { error } : {}) }] } : healthStatus },
    ]);
    const { exitCode, stderr } = await runWords(['status', '--health', '-d', daemon.dir]);
    assert.equal(exitCode, error ? 1 : 0);
    if (error) assert.match(stderr, /^grace: 1 rule cannot be served: tcp:1: address in use\n/);
  }
});

const healthRow = {
  src: 'tcp:1',
  dst: 'tcp:a:1',
  connections: 0,
  active: true,
  pid: 1,
  bytesIn: 0,
  bytesOut: 0,
  since: '',
  listening: '',
};
const healthStatus = {
  pid: 1,
  version: '1',
  uptimeMs: 0,
  engine: 'native',
  engineReason: '',
  dir: '/',
  rules: 1,
  connections: 0,
  keeper: null,
  generations: [],
};
