import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { ConnectingClients, startGreeter } from './connecting-clients.ts';
import { isRunning, makeGrace, ownLoopback, program, runtime, startProgram } from './grace.ts';
import type { Grace } from './grace.ts';
import { descriptorsOf, gone, kill, memoryOf, pidInFile, processesOf, zombiesOf } from './processes.ts';
import { until } from '../until.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1:backlog=1000';
const ownSrc = `tcp:0:interface=${ownLoopback}`;

type Kept = { grace: Grace; keeper: number; port: number; daemon: () => Promise<number> };

/** A daemon in the background with one rule, to a server that greets. */
async function startKept(t: TestContext, source = src): Promise<Kept> {
  const grace = makeGrace(t);
  const greeter = await startGreeter();
  t.after(() => greeter.server.close());
  await grace.ok('start', source, `tcp:127.0.0.1:${greeter.port}`);
  const { keeper } = await grace.status();
  assert.ok(keeper);
  return { grace, keeper: keeper.pid, port: await grace.port(source), daemon: async () => (await grace.status()).pid };
}

function pidFile({ dir }: Grace): number | null {
  return pidInFile(join(dir, 'grace.pid'));
}

test(
  'a daemon that crashes under connecting clients is started again, and nobody is refused',
  { timeout },
  async (t) => {
    const { grace, keeper, port, daemon } = await startKept(t);
    const second = `unix:${grace.dir}-second.sock`;
    await grace.ok('start', second, 'tcp:127.0.0.1:1');
    const clients = new ConnectingClients(port);
    t.after(() => clients.stop());
    const times: number[] = [];
    const commandTimes: number[] = [];
    // Deno lives on after a SIGSEGV that comes from outside.
    for (const signal of ['SIGKILL', 'SIGABRT', runtime === 'deno' ? 'SIGKILL' : 'SIGSEGV'] as const) {
      await clients.served(30);
      const asked = performance.now();
      const pid = await daemon();
      const begin = performance.now();
      commandTimes.push(Math.round(begin - asked));
      await kill(pid, signal);
      await clients.served(5);
      times.push(Math.round(performance.now() - begin));
      assert.notEqual(await daemon(), pid);
      assert.equal(pidFile(grace), keeper);
      assert.deepEqual(
        (await grace.ls()).map((row) => row.src),
        [src, second],
      );
      assert.equal(await grace.port(src), port);
      assert.equal((await grace.status()).keeper?.pid, keeper);
    }
    const tally = await clients.stop();
    t.diagnostic(`served again after ${times.join(', ')} ms: ${JSON.stringify(tally)}`);
    assert.equal(tally.refused, 0);
    // On a machine that is busy with other things everything takes longer, a command too.
    const limitMs = Math.max(5000, 30 * Math.min(...commandTimes));
    if (runtime === 'executable')
      assert.ok(Math.min(...times) < limitMs, `${times} ms; a command takes ${commandTimes} ms`);
    await until('the log says so', () => /started again after a crash .*SIGKILL/.test(grace.log()));
    await until('there is no zombie', () => zombiesOf(keeper).length === 0);
  },
);

test('commands that come while the daemon is being started again are answered by it', { timeout }, async (t) => {
  const { grace, daemon } = await startKept(t);
  const pid = await daemon();
  process.kill(pid, 'SIGKILL');
  const [ls, status] = await Promise.all([grace.run('ls'), grace.run('status', '--json')]);
  assert.deepEqual([ls.code, status.code], [0, 0], `${ls.stderr}${status.stderr}`);
});

test(
  'the pid stays the same over restarts and crashes, and the keeper becomes what was started',
  { timeout },
  async (t) => {
    const { grace, keeper, port, daemon } = await startKept(t);
    const copy = `${grace.dir}-copy`;
    const isOne = runtime === 'executable';
    if (isOne) copyFileSync(program[0], copy);
    const inodesBefore = [...descriptorsOf(keeper).values()].filter((target) => target.startsWith('socket:'));
    for (let round = 0; round < 3; round++) {
      await grace.ok('restart', ...(isOne && round === 1 ? ['--exec', copy] : []));
      assert.equal(pidFile(grace), keeper);
      if (isOne) assert.equal(readlinkSync(`/proc/${keeper}/exe`), round === 1 ? copy : program[0]);
      await kill(await daemon());
      const client = await openClient(t, { port });
      assert.equal(await client.line(), 'hello');
    }
    // The number of sockets: those kept, and two of the channel.
    const inodes = () => [...descriptorsOf(keeper).values()].filter((target) => target.startsWith('socket:'));
    await until(`there are ${inodesBefore.length} sockets again`, () => inodes().length === inodesBefore.length);
    // A daemon that was replaced, and whose child nobody else is, ends when it likes.
    await until('there is no zombie', () => zombiesOf(keeper).length === 0);
  },
);

test(
  'a keeper whose new image cannot be run stays what it was, and goes on keeping',
  { timeout, skip: runtime === 'executable' ? false : 'only the executable is one file' },
  async (t) => {
    const { grace, keeper, port, daemon } = await startKept(t);
    const copy = `${grace.dir}-copy`;
    copyFileSync(program[0], copy);
    const wrapper = `${grace.dir}-wrapper`;
    // The file is gone when it runs.
    writeFileSync(wrapper, `#!/bin/sh\nexec 9<${copy}\nrm ${copy}\nexec /proc/self/fd/9 "$@"\n`);
    chmodSync(wrapper, 0o755);
    await grace.ok('restart', '--exec', wrapper);
    await until('the keeper says that it stays', () => /the keeper stays version .*no such file/.test(grace.log()));
    assert.equal(pidFile(grace), keeper);
    assert.equal(readlinkSync(`/proc/${keeper}/exe`), program[0]);
    await kill(await daemon());
    assert.equal(await (await openClient(t, { port })).line(), 'hello');
  },
);

test('a daemon that cannot start after a crash is given up with a message', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const [file, ...before] = program;
  const keeper = spawn(file, [...before, '-d', grace.dir, 'daemon'], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  keeper.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = once(keeper, 'close');
  await until('it serves', async () => (await grace.run('status')).code === 0);
  const { pid } = await grace.status();
  chmodSync(grace.dir, 0o777); // where others may put their files no daemon is started
  await kill(pid);
  assert.deepEqual(await closed, [1, null]);
  assert.match(stderr, /^grace: the daemon \(pid [0-9]+\) was ended by SIGKILL; starting it again$/m);
  assert.match(stderr, /^grace: the daemon .* exited with code 1, as it did at each of the last starts; giving up$/m);
  chmodSync(grace.dir, 0o700);
  assert.equal(pidFile(grace), null);
  assert.equal((await grace.run('status')).code, 3);
});

test(
  'a keeper that is killed takes nothing with it, and the next restart or start brings another',
  { timeout },
  async (t) => {
    const { grace, keeper, port, daemon } = await startKept(t);
    const pid = await daemon();
    const clients = new ConnectingClients(port);
    t.after(() => clients.stop());
    await clients.served(10);
    for (const command of [['restart'], ['start', `unix:${grace.dir}-second.sock`, 'tcp:127.0.0.1:1']]) {
      const before = await daemon();
      const { keeper: old } = await grace.status();
      assert.ok(old);
      await kill(old.pid);
      await until('the daemon is in the pid file', () => pidFile(grace) === before);
      await clients.served(10);
      await until('the log says so', () => /the keeper is gone/.test(grace.log()));
      assert.equal((await grace.status()).keeper, null);
      await grace.ok(...command);
      const { keeper: now } = await grace.status();
      assert.ok(now && now.pid !== old.pid);
      await until('the keeper is in the pid file', () => pidFile(grace) === now.pid);
      await kill(await daemon());
      await clients.served(10);
      assert.equal((await grace.status()).keeper?.pid, now.pid);
    }
    assert.notEqual(await daemon(), pid);
    assert.equal(isRunning(keeper), false);
    const { refused } = await clients.stop();
    assert.equal(refused, 0);
  },
);

test(
  'a new "grace daemon" becomes the keeper of a daemon that lost its own, as under a supervisor',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const first = grace.spawn('daemon');
    await until('it serves', async () => (await grace.run('status')).code === 0);
    await grace.ok('start', src, a.endpoint);
    const port = await grace.port(src);
    const client = await openClient(t, { port });
    await client.line();
    const { pid } = await grace.status();
    first.child.kill('SIGKILL');
    await until('the keeper is missed', () => pidFile(grace) === pid);
    const second = grace.spawn('daemon');
    await until('there is a keeper', () => pidFile(grace) === second.child.pid);
    assert.equal((await grace.status()).pid, pid);
    assert.equal(await client.echo('still here'), 'still here');
    await kill(pid);
    const last = await openClient(t, { port });
    assert.equal(await last.line(), 'A');
    await last.end();
    const third = await grace.run('daemon');
    assert.equal(third.code, 1);
    assert.match(third.stderr, /^grace: a daemon already runs in /);
    second.child.kill('SIGTERM');
    assert.equal((await second.ended).code, 0);
  },
);

test(
  'signals to the keeper reach the daemon: HUP and USR1 open the log anew, USR2 restarts, TERM stops, and again at once',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const keeper = grace.spawn('daemon', '--log-format', 'json');
    await until('it serves', async () => (await grace.run('status')).code === 0);
    await grace.ok('start', src, a.endpoint);
    const port = await grace.port(src);
    const log = join(grace.dir, 'grace.log');
    for (const signal of ['SIGHUP', 'SIGUSR1'] as const) {
      renameSync(log, `${log}.1`);
      keeper.child.kill(signal);
      await until('there is a new log', () => existsSync(log));
    }
    const { pid } = await grace.status();
    keeper.child.kill('SIGUSR2');
    await until('there is a successor', async () => (await grace.status()).pid !== pid);
    const lines = readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line): Record<string, unknown> => JSON.parse(line));
    const serving = lines.find(({ msg }) => msg === 'serving');
    assert.deepEqual([serving?.['generation'], serving?.['level']], [2, 'info']);
    assert.match(String(serving?.['time']), /^20.*Z$/);
    const client = await openClient(t, { port });
    await client.line();
    keeper.child.kill('SIGTERM');
    await until('it accepts no more', () =>
      openClient(t, { port }).then(
        ({ socket }) => socket.destroyed || !socket.destroy(),
        () => true,
      ),
    );
    assert.equal(await client.echo('finishing'), 'finishing');
    keeper.child.kill('SIGTERM');
    assert.equal((await keeper.ended).code, 0);
    await assert.rejects(client.line());
    await until('every process is gone', () => processesOf(grace.dir).length === 0);
  },
);

test('a keeper in the background opens the log anew, so that a rotated one is let go of', { timeout }, async (t) => {
  const { grace, keeper, daemon } = await startKept(t);
  const log = join(grace.dir, 'grace.log');
  const pid = await daemon();
  renameSync(log, `${log}.1`);
  process.kill(keeper, 'SIGHUP');
  await until('nobody holds the old one', () =>
    [keeper, pid].every((each) => ![...descriptorsOf(each).values()].includes(`${log}.1`)),
  );
  assert.ok([...descriptorsOf(keeper).values()].includes(log));
});

test('a TERM in the middle of a restart ends whichever daemon comes out of it', { timeout }, async (t) => {
  const { grace, keeper, daemon } = await startKept(t);
  const pid = await daemon();
  const restarting = grace.run('restart');
  await until('the successor is there', () => processesOf(grace.dir).filter(({ parent }) => parent === pid).length > 0);
  process.kill(keeper, 'SIGTERM');
  await gone(keeper);
  await restarting;
  await until('every process is gone', () => processesOf(grace.dir).every(({ state }) => state === 'Z'));
});

test('stop returns when daemon and keeper are gone, and new connections are refused then', { timeout }, async (t) => {
  const { grace, keeper, port, daemon } = await startKept(t, ownSrc);
  const pid = await daemon();
  await grace.ok('stop');
  assert.deepEqual([isRunning(pid), isRunning(keeper)], [false, false]);
  await assert.rejects(openClient(t, { host: ownLoopback, port }), /ECONNREFUSED/);
  assert.equal(pidFile(grace), null);
});

test('a rule that stops is refused although the keeper had a copy of its socket', { timeout }, async (t) => {
  const { grace, port } = await startKept(t, ownSrc);
  await grace.ok('stop', ownSrc);
  await assert.rejects(openClient(t, { host: ownLoopback, port }), /ECONNREFUSED/);
  // It does not come back with a crash.
  await kill((await grace.status()).pid);
  assert.deepEqual(await grace.ls(), []);
  await assert.rejects(openClient(t, { host: ownLoopback, port }), /ECONNREFUSED/);
});

test(
  'sockets that were given to the keeper are there after a crash and a restart',
  { timeout, skip: runtime === 'deno' ? 'Deno hides inherited descriptors' : false },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const { openListener } = await import('../../src/net/open.ts');
    const listener = await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 10 }, { name: 'web' });
    assert.ok(listener.address.family !== 'unix');
    const { port } = listener.address;
    const keeper = startProgram(
      ['-d', grace.dir, 'daemon'],
      { LISTEN_FDS: '1', LISTEN_FDNAMES: 'web' },
      { stdio: ['ignore', 'pipe', 'pipe', listener.fd] },
    );
    listener.close();
    await until('it serves', async () => (await grace.run('status')).code === 0);
    await grace.ok('start', 'systemd:domain=INET:name=web', a.endpoint);
    assert.equal(await (await openClient(t, { port })).line(), 'A');
    await kill((await grace.status()).pid);
    assert.equal(await (await openClient(t, { port })).line(), 'A');
    await grace.ok('restart');
    await kill((await grace.status()).pid);
    const last = await openClient(t, { port });
    assert.equal(await last.line(), 'A');
    await last.end();
    keeper.child.kill('SIGTERM');
    assert.equal((await keeper.ended).code, 0);
  },
);

test(
  'the keeper is small',
  { timeout, skip: runtime === 'executable' ? false : 'only the executable is measured' },
  async (t) => {
    const { keeper, daemon } = await startKept(t);
    await until('it has given memory back', () => memoryOf(keeper).rss < 45_000);
    const [its, the] = [memoryOf(keeper), memoryOf(await daemon())];
    t.diagnostic(
      `keeper: RSS ${its.rss} kB, PSS ${its.pss} kB, of its own ${its.anonymous} kB; daemon: RSS ${the.rss} kB, PSS ${the.pss} kB, of its own ${the.anonymous} kB`,
    );
    assert.ok(its.anonymous < 20_000);
  },
);

test(
  'a keeper that has no descriptor left waits for some, and so do the clients, until the daemon can be started again',
  {
    timeout,
    skip:
      process.platform !== 'linux'
        ? 'prlimit is of Linux'
        : runtime === 'deno' && 'Deno has descriptors of its own to spare',
  },
  async (t) => {
    const { grace, keeper, port, daemon } = await startKept(t);
    const limit = (count: string) => execFileSync('prlimit', ['--pid', String(keeper), `--nofile=${count}:`]);
    const [, soft = ''] = /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${keeper}/limits`, 'utf8')) ?? [];
    // None for the channel to the daemon; then some for that, and none for the pipe of spawn(2).
    for (const more of [0, 2]) {
      const said = () => grace.log().match(/cannot be started for the moment: .*EMFILE/g)?.length ?? 0;
      const before = said();
      const pid = await daemon();
      const used = descriptorsOf(keeper);
      const free = Array.from({ length: used.size + 10 }, (_, fd) => fd).filter((fd) => !used.has(fd));
      limit(String(free[more]!));
      await kill(pid, 'SIGKILL');
      await until('the keeper says so', () => said() === before + 1);
      const client = openClient(t, { port });
      limit(soft);
      const { socket } = await client;
      await once(socket, 'data');
      assert.ok(isRunning(keeper));
      assert.notEqual(await daemon(), pid);
      assert.equal(said(), before + 1);
    }
  },
);

test(
  'where no program may be executed the keeper waits, and so do the clients, until one may',
  { timeout, skip: runtime === 'executable' ? false : 'only the executable is one file' },
  async (t) => {
    const copy = join(mkdtempSync(join(tmpdir(), 'grace-copy-')), 'grace');
    t.after(() => rmSync(dirname(copy), { recursive: true, force: true }));
    copyFileSync(program[0], copy);
    const { grace, keeper, port, daemon } = await startKept(t);
    await grace.ok('restart', '--exec', copy);
    await until('the keeper is that one too', () => readlinkSync(`/proc/${keeper}/exe`) === copy);
    const pid = await daemon();
    chmodSync(copy, 0o644);
    await kill(pid);
    const said = () => grace.log().match(/cannot be started for the moment: .*grace: .*EACCES/g)?.length ?? 0;
    await until('the keeper says so', () => said() === 1);
    const client = openClient(t, { port });
    assert.ok(isRunning(keeper));
    chmodSync(copy, 0o755);
    assert.equal(await (await client).line(), 'hello');
    assert.equal(said(), 1);
  },
);

test('how a daemon ended is told alike of one that a restart has brought', { timeout }, async (t) => {
  const { grace, daemon } = await startKept(t);
  await grace.ok('restart');
  await kill(await daemon());
  await until('the log says so', () => /started again after a crash .*was ended by SIGKILL/.test(grace.log()));
});
