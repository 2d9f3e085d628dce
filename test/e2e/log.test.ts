import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { makeGrace, startProgram } from './grace.ts';
import type { Grace } from './grace.ts';
import { kill } from './processes.ts';
import { until } from '../until.ts';

const options = { timeout: 180_000 };
const src = 'tcp:0:interface=127.0.0.1';

/** A daemon in the foreground whose log goes where it goes by itself, or where the arguments say. */
function startDaemon(
  grace: Grace,
  args: readonly string[],
  { env = {}, stdio }: { env?: NodeJS.ProcessEnv; stdio?: ('ignore' | 'pipe' | number)[] } = {},
) {
  return startProgram(['-d', grace.dir, 'daemon', ...args], { GRACE_LOG: undefined, ...env }, stdio ? { stdio } : {});
}

const isUp = (grace: Grace) => until('the daemon answers', async () => (await grace.run('status')).code === 0);

for (const keeper of ['with a keeper', 'without']) {
  test(
    `in the foreground the log goes to standard error, through a restart and a switch (${keeper})`,
    options,
    async (t) => {
      const grace = makeGrace(t);
      const daemon = startDaemon(grace, keeper === 'without' ? ['--no-keeper'] : []);
      await isUp(grace);
      await grace.ok('start', src, 'tcp:127.0.0.1:8');
      await grace.ok('restart');
      await grace.ok('switch', '--no-check', src, 'tcp:127.0.0.1:9');
      assert.equal(JSON.parse(await grace.ok('status', '--json')).log, '-');
      await until('the log is whole', () => daemon.outcome().stderr.includes('rule switched'));
      const { stderr } = daemon.outcome();
      assert.match(stderr, /INFO \([0-9]+\): serving .*\n(.*\n)*.*rule started.*\n(.*\n)*.*serving .*"generation":2/);
      assert.equal(existsSync(join(grace.dir, 'grace.log')), false);
      const { code, stderr: answer } = await grace.run('logs');
      assert.equal(code, 1);
      assert.match(answer, /logs to its standard error, read by whoever started it\nhint: /);
      await grace.ok('stop');
      await daemon.ended;
    },
  );
}

test('a log that nobody reads stops nothing', options, async (t) => {
  const grace = makeGrace(t);
  const daemon = startDaemon(grace, ['--no-keeper']);
  daemon.child.stderr?.pause();
  await isUp(grace);
  // Some 64 KiB fit into the pipe, and as much into the stream that is not read.
  for (let count = 0; count < 8; count++)
    await grace.run('start', `unix:/nowhere/${count}`, `unix:/${'x'.repeat(40_000)}`);
  assert.equal((await grace.run('status')).code, 0);
  await grace.ok('stop');
  daemon.child.stderr?.resume();
  await daemon.ended;
});

test(
  'a log that is a FIFO, of a daemon in the background too, stops nothing with a reader or without one',
  { ...options, skip: process.platform === 'win32' },
  async (t) => {
    const fifo = join(mkdtempSync(join(tmpdir(), 'grace-fifo-')), 'log');
    execFileSync('mkfifo', [fifo]);
    const grace = makeGrace(t, { GRACE_LOG: fifo });
    t.after(() => rmSync(dirname(fifo), { recursive: true, force: true }));
    await grace.ok('start', src, 'tcp:127.0.0.1:9');
    assert.match(String((await grace.status()).problems), /log: no such device or address \(ENXIO\)/);
    const { code, stderr } = await grace.run('logs');
    assert.equal(code, 1);
    assert.match(stderr, /^grace: cannot read .*: it is not a file\nhint: /);
    await grace.ok('restart');
    const reader = spawn('cat', [fifo], { stdio: ['ignore', 'pipe', 'inherit'] });
    let read = '';
    reader.stdout.setEncoding('utf8').on('data', (text: string) => (read += text));
    await until('the log is read', async () => {
      process.kill(Number(readFileSync(join(grace.dir, 'grace.pid'), 'utf8')), 'SIGHUP');
      return read.includes('log reopened');
    });
    const ended = once(reader, 'exit');
    reader.kill();
    await ended;
    process.kill(Number(readFileSync(join(grace.dir, 'grace.pid'), 'utf8')), 'SIGHUP');
    assert.equal((await grace.ls()).length, 1);
    await grace.ok('restart');
    await grace.ok('stop');
  },
);

test('an empty GRACE_LOG is none', options, async (t) => {
  const grace = makeGrace(t, { GRACE_LOG: '' });
  await grace.ok('start', src, 'tcp:127.0.0.1:9');
  assert.match(grace.log(), /rule started/);
});

test('logs takes a name, and is told of a rule that there is not', options, async (t) => {
  const grace = makeGrace(t);
  await grace.ok('start', '--name', 'web', src, 'tcp:127.0.0.1:9');
  assert.match(await grace.ok('logs', 'web'), /^.*rule started.*\n$/);
  for (const words of [['nope'], ['tcp:1'], ['tcp:1', '-n', '3']]) {
    const { code, stdout, stderr } = await grace.run('logs', ...words);
    assert.deepEqual([code, stdout], [4, ''], stderr);
    assert.match(stderr, /^grace: (nope|tcp:1) is not forwarded\nhint: /);
  }
  await grace.ok('stop', 'web');
  assert.match(await grace.ok('logs', src), /rule started/);
});

test('--log names a file, which a successor goes on with and logs finds', options, async (t) => {
  const grace = makeGrace(t);
  const file = join(grace.dir, '..', 'own.log');
  const daemon = startDaemon(grace, ['--log', file]);
  await isUp(grace);
  await grace.ok('start', src, 'tcp:127.0.0.1:9');
  await grace.ok('restart');
  await kill((await grace.status()).pid);
  await isUp(grace);
  await until('the log is whole', () => /started again after a crash/.test(readFileSync(file, 'utf8')));
  assert.equal(
    await grace.ok('logs', '-n', '1', src),
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.includes('rule started'))
      .map((line) => `${line}\n`)
      .join(''),
  );
  await grace.ok('stop');
  await daemon.ended;
  assert.doesNotMatch(daemon.outcome().stderr, /rule started/);
});

test('in the journal a line has its priority, and neither time nor pid of its own', options, async (t) => {
  const grace = makeGrace(t);
  const file = join(grace.dir, '..', 'journal');
  const fd = openSync(file, 'a');
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const daemon = startDaemon(grace, ['--no-keeper'], {
    env: { JOURNAL_STREAM: `${dev}:${ino}` },
    stdio: ['ignore', 'ignore', fd],
  });
  closeSync(fd);
  await isUp(grace);
  await grace.run('start', 'unix:/nowhere/at/all', 'tcp:127.0.0.1:9');
  await grace.ok('stop');
  await daemon.ended;
  const text = readFileSync(file, 'utf8');
  assert.match(text, /^<6>serving \{/m);
  assert.match(text, /^<4>rule not started \{.*"error":"cannot listen on/m);
  assert.equal(
    text.split('\n').every((line) => line === '' || /^<[3-7]>/.test(line)),
    true,
    text,
  );
});

test(
  'a daemon in the background, and one whose standard error leads nowhere, log to the state dir',
  options,
  async (t) => {
    const grace = makeGrace(t);
    await grace.ok('start', src, 'tcp:127.0.0.1:9');
    assert.match(grace.log(), /rule started/);
    await grace.ok('stop');
    const daemon = startDaemon(grace, [], { stdio: ['ignore', 'ignore', 'ignore'] });
    await isUp(grace);
    assert.equal(JSON.parse(await grace.ok('status', '--json')).log, join(grace.dir, 'grace.log'));
    await grace.ok('stop');
    await daemon.ended;
  },
);

test(
  'logs -f ends with whoever reads it, though nothing is added any more',
  { ...options, skip: process.platform !== 'linux' && 'a pipe tells of that on Linux' },
  async (t) => {
    const grace = makeGrace(t);
    await grace.ok('start', 'tcp:0:interface=127.0.0.1', 'tcp:127.0.0.1:1');
    for (const command of [
      ['logs', '-f'],
      ['logs', '-f', '-n', '1'],
    ]) {
      const following = grace.spawn(...command);
      await once(following.child.stdout!, 'data');
      following.child.stdout!.destroy();
      const [code] = await once(following.child, 'exit');
      assert.deepEqual([code, following.outcome().stderr], [0, '']);
    }
  },
);

test(
  'with --log-format json each line is JSON, a crash and what the keeper says of it included',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const daemon = startDaemon(grace, ['--log-format', 'json']);
    await isUp(grace);
    await grace.ok('start', src, 'tcp:127.0.0.1:8');
    await kill((await grace.status()).pid);
    await until('it serves again', () => daemon.outcome().stderr.split('"serving"').length > 2);
    await grace.ok('stop');
    await daemon.ended;
    const lines = daemon
      .outcome()
      .stderr.trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.ok(lines.some(({ msg }) => String(msg).endsWith('was ended by SIGKILL; starting it again')));
    for (const line of lines)
      assert.deepEqual(
        [typeof line['time'], typeof line['level'], typeof line['pid'], typeof line['msg']],
        ['string', 'string', 'number', 'string'],
      );
    for (const text of daemon.outcome().stderr.split('\n')) assert.ok(text.split('"generation"').length <= 2, text);
  },
);
