import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback, startProgram } from './grace.ts';
import { kill } from './processes.ts';
import { until } from '../until.ts';
import type { Grace } from './grace.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1';

/** The daemon and its keeper, which would start it again. */
async function crash(grace: Grace): Promise<void> {
  const { pid, keeper } = await grace.status();
  if (keeper) await kill(keeper.pid);
  await kill(pid);
}

/** `grace daemon` as an init system runs it, once it serves. */
async function startDaemon(grace: ReturnType<typeof makeGrace>) {
  const daemon = grace.spawn('daemon', '--no-keeper');
  while ((await grace.run('status')).code !== 0) {
    if (daemon.outcome().code !== null) throw new Error(`the daemon ended: ${daemon.outcome().stderr}`);
  }
  return daemon;
}

test(
  'rules come back after kill -9, on the same port, and serve the clients that come then',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const b = await startBackend(t, 'B');
    const path = `${grace.dir}-front.sock`;
    const own = `tcp:0:interface=${ownLoopback}`;
    await grace.ok('start', own, a.endpoint);
    await grace.ok('start', `unix:${path}`, a.endpoint);
    await grace.ok('switch', own, b.endpoint);
    const port = await grace.port(own);
    await crash(grace);
    await startDaemon(grace);
    assert.equal(await (await openClient(t, { host: ownLoopback, port })).line(), 'B');
    assert.equal(await (await openClient(t, { path })).line(), 'A');
  },
);

test('the first start after a crash serves the kept rules and the new one', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  await crash(grace);
  assert.equal((await grace.run('ls')).code, 3);
  const path = `${grace.dir}-second.sock`;
  assert.equal(await grace.ok('start', `unix:${path}`, a.endpoint), 'Started\n');
  assert.deepEqual(
    (await grace.ls()).map((row) => row.src),
    [src, `unix:${path}`],
  );
});

test('stop keeps the rules for the next daemon, stop SRC forgets that one', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  const path = `${grace.dir}-second.sock`;
  await grace.ok('start', src, a.endpoint);
  await grace.ok('start', `unix:${path}`, a.endpoint);
  await grace.ok('stop', `unix:${path}`);
  await grace.ok('stop');
  const { child, ended: over } = await startDaemon(grace);
  assert.deepEqual(
    (await grace.ls()).map((row) => row.src),
    [src],
  );
  await grace.ok('stop');
  assert.equal((await over).code, 0);
  assert.equal(child.exitCode, 0);
});

test('a damaged state.json is kept aside, named on stderr and in the log', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  mkdirSync(grace.dir, { mode: 0o700 });
  writeFileSync(join(grace.dir, 'state.json'), '{"rules": [half');
  const { code, stderr } = await grace.run('start', src, a.endpoint);
  assert.equal(code, 0);
  const aside = readdirSync(grace.dir).find((name) => name.startsWith('state.json.damaged'));
  assert.ok(aside && stderr.includes(aside), stderr);
  assert.ok(grace.log().includes(aside));
  assert.equal(readFileSync(join(grace.dir, aside), 'utf8'), '{"rules": [half');
  assert.equal((await grace.ls()).length, 1);
});

test('a kept rule that cannot be served is told of, and served as soon as it can be', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  await grace.ok('stop');
  const squatter = createServer();
  squatter.listen(0, ownLoopback);
  await once(squatter, 'listening');
  t.after(() => squatter.close());
  const { port } = squatter.address() as { port: number };
  const taken = `tcp:${port}:interface=${ownLoopback}`;
  const state = JSON.parse(readFileSync(join(grace.dir, 'state.json'), 'utf8'));
  state.rules = [{ src: { typed: taken, absolute: taken }, dst: { typed: a.endpoint, absolute: a.endpoint } }];
  writeFileSync(join(grace.dir, 'state.json'), JSON.stringify(state));
  const daemon = await startDaemon(grace);
  await until('it says so on stderr', () => new RegExp(`${port}.*in use`).test(daemon.outcome().stderr));
  assert.match(grace.log(), new RegExp(`${port}.*in use`));
  squatter.close();
  for (;;) {
    const row = (await grace.ls()).find((each) => each.src === taken);
    if (row?.active) break;
  }
  assert.equal(await (await openClient(t, { host: ownLoopback, port })).line(), 'A');
});

test('two daemons do not serve one state dir, and the second says who does', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const { pid } = await grace.status();
  const { code, stderr } = await grace.run('daemon', '--no-keeper');
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`^grace: a daemon already runs in .*${grace.dir}`));
  assert.equal((await grace.status()).pid, pid);
});

test('five first starts at once make one daemon with five rules', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  const sources = [1, 2, 3, 4, 5].map((number) => `unix:${grace.dir}-${number}.sock`);
  const outcomes = await Promise.all(sources.map((source) => grace.run('start', source, a.endpoint)));
  assert.deepEqual(
    outcomes.map(({ code, stderr }) => [code, stderr]),
    sources.map(() => [0, '']),
  );
  const rows = await grace.ls();
  assert.deepEqual(rows.map((row) => row.src).sort(), sources);
  assert.equal(new Set(rows.map((row) => row.pid)).size, 1);
});

test('a first start whose rule fails leaves no daemon behind', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const { code, stderr } = await grace.run('start', 'tcp:0:interface=203.0.113.7', 'tcp:127.0.0.1:1');
  assert.equal(code, 1);
  assert.match(stderr, /^grace: cannot listen/);
  assert.equal((await grace.run('status')).code, 3);
});

test('a first start whose rule fails leaves the daemon that serves kept rules', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  await grace.ok('stop');
  assert.equal((await grace.run('start', 'tcp:0:interface=203.0.113.7', 'tcp:127.0.0.1:1')).code, 1);
  assert.deepEqual(
    (await grace.ls()).map((row) => row.src),
    [src],
  );
});

test('a stale pid file and a stale socket are no obstacle', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  await crash(grace);
  writeFileSync(join(grace.dir, 'grace.pid'), `${process.pid}\n`);
  await grace.ok('start', `unix:${grace.dir}-x.sock`, a.endpoint);
  assert.equal((await grace.ls()).length, 2);
});

test('relative paths are those of whoever typed them', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  mkdirSync(grace.dir, { recursive: true });
  const { code, stderr } = await startProgram(
    ['-d', grace.dir, 'start', 'unix:here.sock', a.endpoint],
    {},
    { cwd: grace.dir },
  ).ended;
  assert.equal(code, 0, stderr);
  const [row] = await grace.ls();
  assert.equal(row?.src, 'unix:here.sock');
  assert.equal(await (await openClient(t, { path: join(grace.dir, 'here.sock') })).line(), 'A');
});

test('a Unix socket that is alive is never taken over', { timeout }, async (t) => {
  const grace = makeGrace(t);
  mkdirSync(grace.dir, { mode: 0o700 });
  const a = await startBackend(t, 'A');
  const path = join(grace.dir, 'alive.sock');
  const alive = await startBackend(t, 'alive', { path });
  const { code, stderr } = await grace.run('start', `unix:${path}`, a.endpoint);
  assert.equal(code, 1);
  assert.match(stderr, /in use/);
  assert.equal(await (await openClient(t, { path })).line(), 'alive');
  assert.ok(alive.server.listening);
});

test('a state dir that cannot be made or written is said so, whoever asks', { timeout }, async () => {
  const { code, stderr } = await startProgram(['-d', '/proc/nodir/state', 'start', src, 'tcp:127.0.0.1:1']).ended;
  assert.equal(code, 1);
  assert.match(stderr, /^grace: cannot make the state dir \/proc\/nodir/);
  const long = `/tmp/${'l'.repeat(120)}`;
  const started = await startProgram(['-d', long, 'start', src, 'tcp:127.0.0.1:1']).ended;
  assert.match(started.stderr, /too long/);
  assert.equal((await startProgram(['-d', long, 'status']).ended).code, 3);
});

test(
  'a state dir in which others may write is refused, with what to do, and nothing is left in it',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    mkdirSync(grace.dir);
    writeFileSync(join(grace.dir, 'somebody-elses'), '');
    for (const mode of [0o777, 0o770, 0o1777]) {
      chmodSync(grace.dir, mode);
      for (const command of [['start', src, 'tcp:127.0.0.1:1'], ['daemon', '--no-keeper'], ['daemon']]) {
        const { code, stderr } = await grace.run(...command);
        assert.equal(code, 1);
        assert.match(
          stderr,
          /^grace: cannot use the state dir .*: others may write in it \(mode [0-7]+\)\nhint: .*chmod 700 .*\n$/,
        );
      }
    }
    assert.deepEqual(readdirSync(grace.dir), ['somebody-elses']);
  },
);

test(
  'an empty state dir in which others may write is closed to them, and one that they may only read is left as it is',
  { timeout },
  async (t) => {
    for (const [mode, after] of [
      [0o777, 0o700],
      [0o755, 0o755],
    ] as const) {
      const grace = makeGrace(t);
      mkdirSync(grace.dir);
      chmodSync(grace.dir, mode);
      await grace.ok('start', src, 'tcp:127.0.0.1:1');
      assert.equal(statSync(grace.dir).mode & 0o7777, after);
      await grace.ok('restart');
      for (const name of readdirSync(grace.dir)) assert.equal(statSync(join(grace.dir, name)).mode & 0o077, 0, name);
      assert.equal(statSync(join(grace.dir, 'grace.sock')).mode & 0o777, 0o600);
    }
  },
);

test(
  'a state dir of another user is refused',
  { timeout, skip: process.geteuid?.() !== 0 && 'only root can give a directory away' },
  async (t) => {
    const grace = makeGrace(t);
    mkdirSync(grace.dir, { mode: 0o700 });
    chownSync(grace.dir, 12345, 12345);
    const { code, stderr } = await grace.run('start', src, 'tcp:127.0.0.1:1');
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^grace: cannot use the state dir .*: it belongs to the user with id 12345, and this is the one with id 0\nhint: /,
    );
  },
);

test('links that lie where files are written do no harm', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  mkdirSync(grace.dir, { mode: 0o700 });
  const victim = `${grace.dir}-victim`;
  writeFileSync(victim, 'precious');
  const daemon = await startDaemon(grace);
  const { pid } = daemon.child;
  const names = [`state.json.${pid}`, `grace.pid.${pid}`];
  for (const name of names) symlinkSync(victim, join(grace.dir, name));
  await grace.ok('start', src, a.endpoint);
  assert.equal(readFileSync(victim, 'utf8'), 'precious');
  assert.equal(lstatSync(join(grace.dir, 'state.json')).isFile(), true);
  await grace.ok('stop');
});

test('what is wrong with a state dir is said in words, in one line', { timeout }, async (t) => {
  const grace = makeGrace(t);
  writeFileSync(grace.dir, '');
  for (const [dir, why] of [
    [grace.dir, 'is not a directory'],
    [join(grace.dir, 'below/it'), `${grace.dir} is not a directory`],
    ['/proc/nothing/here', 'nothing can be made in /proc \\(ENOENT\\)'],
  ] as const) {
    for (const command of [['start', src, 'tcp:127.0.0.1:1'], ['daemon'], ['daemon', '--no-keeper']]) {
      const { code, stderr } = await startProgram(['-d', dir, ...command]).ended;
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`^grace: cannot (make|use) the state dir ${dir}: .*${why}\nhint: .*\n$`));
    }
  }
});
