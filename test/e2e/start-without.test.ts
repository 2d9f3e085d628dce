import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, program, runtime, startProgram } from './grace.ts';
import { kill } from './processes.ts';
import { until } from '../until.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1';
const skip = runtime !== 'executable' || process.platform !== 'linux';

test(
  'a crash is followed by the image that the keeper runs when the file on disk is cut off, not executable or no program',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'one');
    const home = mkdtempSync(join(tmpdir(), 'grace-disk-'));
    t.after(() => rmSync(home, { recursive: true }));
    const file = join(home, 'grace');
    copyFileSync(program[0], file);
    assert.equal(
      (await startProgram(['-d', grace.dir, 'start', src, backend.endpoint], { PATH: process.env['PATH'] }, {}).ended)
        .code,
      0,
    );
    await grace.ok('restart', '--exec', file);
    const port = await grace.port(src);
    const next = join(home, 'next');
    const breaks: [string, () => void][] = [
      ['cut off', () => (copyFileSync(program[0], next), truncateSync(next, 1_000_000))],
      ['permission denied', () => (copyFileSync(program[0], next), chmodSync(next, 0o600))],
      ['no program', () => writeFileSync(next, 'echo run by a shell >&2\n', { mode: 0o755 })],
    ];
    for (const [why, make] of breaks) {
      make();
      renameSync(next, file);
      const before = await grace.status();
      assert.match(before.problems?.join() ?? '', new RegExp(`the executable .* cannot be started: .*${why}`));
      await kill(before.pid);
      const client = await openClient(t, { port });
      assert.equal(await client.line(), 'one', why);
      assert.doesNotMatch(grace.log(), /run by a shell/);
    }
  },
);

test(
  'where the log cannot be opened, a restart and the start after a crash serve all the same, and status says so',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'one');
    await grace.ok('start', src, backend.endpoint);
    const port = await grace.port(src);
    const log = join(grace.dir, 'grace.log');
    renameSync(log, `${log}.old`);
    mkdirSync(log);
    await grace.ok('restart');
    const restarted = await grace.status();
    assert.match(restarted.problems?.join() ?? '', /^the log goes to standard error: /);
    await kill(restarted.pid);
    assert.equal(await (await openClient(t, { port })).line(), 'one');
    assert.match((await grace.status()).problems?.join() ?? '', /^the log goes to standard error: /);
    assert.match(await grace.ok('status'), /problem +the log goes to standard error/);
    rmSync(log, { recursive: true });
  },
);

test('a first start says that the log cannot be opened, and logs how to have one', { timeout, skip }, async (t) => {
  const grace = makeGrace(t, { GRACE_LOG: '/nonexistent/log' });
  const { code, stderr } = await grace.run('start', src, 'tcp:127.0.0.1:9');
  assert.equal(code, 0);
  assert.equal(
    stderr,
    'note: nobody has the log, since its file cannot be opened: /nonexistent/log: no such file or directory (ENOENT)\n',
  );
  const logs = await grace.run('logs');
  assert.equal(logs.code, 1);
  assert.match(
    logs.stderr,
    /^grace: there is no log at \/nonexistent\/log\nhint: it cannot be opened, as grace -d \S+ status tells, or was removed: /,
  );
});

test('a log that is linked to the standard output is no obstacle to a restart', { timeout, skip }, async (t) => {
  const grace = makeGrace(t);
  mkdirSync(grace.dir, { mode: 0o700 });
  symlinkSync('/dev/stdout', join(grace.dir, 'grace.log'));
  const daemon = grace.spawn('daemon'); // with grace.log named as its log
  await until('it serves', () => / serving/.test(daemon.outcome().stdout + daemon.outcome().stderr));
  await grace.ok('restart');
  const { pid } = await grace.status();
  await kill(pid);
  await until(
    'another daemon answers',
    async () => (await grace.run('status')).code === 0 && (await grace.status()).pid !== pid,
  );
});

test(
  'where the state dir is gone, a crash is followed by a daemon with the rules that were served',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'one');
    await grace.ok('start', src, backend.endpoint);
    const port = await grace.port(src);
    const { pid } = await grace.status();
    rmSync(grace.dir, { recursive: true });
    await kill(pid);
    const client = await openClient(t, { port });
    assert.equal(await client.line(), 'one');
    await until('commands are answered again', async () => (await grace.run('status')).code === 0);
    assert.deepEqual(
      (await grace.ls()).map((row) => row.src),
      [src],
    );
    assert.match(readFileSync(join(grace.dir, 'state.json'), 'utf8'), /127\.0\.0\.1/);
  },
);

test(
  'on a disk that became read-only a restart is refused and the start after a crash serves, and commands are answered',
  { timeout, skip: skip || process.getuid?.() !== 0 },
  async (t) => {
    const home = mkdtempSync(join(tmpdir(), 'grace-disk-'));
    t.after(() => rmSync(home, { recursive: true, force: true }));
    const script = `
    set -e; cd ${home}; mkdir m n; mount -t tmpfs none m; D=${home}/m/state; g() { ${program[0]} -d $D "$@"; }
    trap 'umount $D 2>/dev/null || true; g stop --now >/dev/null' EXIT
    g start unix:${home}/in.sock unix:${home}/out.sock >/dev/null
    mount --bind $D n; mount -o remount,bind,ro n; mount --bind n $D; mount -o remount,bind,ro $D
    pid() { g status --json | tr ',' '\\n' | sed -n 's/.*"pid": *//p' | head -1; }
    if g restart --timeout 60s >&2; then exit 9; fi
    a=$(pid); kill -9 $a; b=$(pid); [ "$a" != "$b" ]; g ls >&2; g status`;
    const child = spawn('unshare', ['-m', 'bash', '-c', script], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(code, 0, text);
    assert.match(text, /problem +.*read-only/, text);
    assert.ok(dirname(home));
  },
);
