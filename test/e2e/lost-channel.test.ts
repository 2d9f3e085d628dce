/** A successor whose channel to the keeper is lost before it serves: the keeper starts no second daemon beside it, and comes back to it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { isRunning, makeGrace, program, root, runtime } from './grace.ts';
import type { Grace } from './grace.ts';
import { inject } from './inject.ts';
import { descriptorsOf, gone, kill, processesOf } from './processes.ts';
import { until } from '../until.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1';
const skip = process.platform === 'linux' ? false : 'the wrapper and prlimit are for Linux';

/** After the listener of the one rule and the lock: the stream of the channel to the keeper. */
const channelFd = 5;

/** For a shell: end it, from either side. */
const loseChannel = `'${process.execPath}' '${join(root, 'test/e2e/fixtures/shut-socket.ts')}' ${channelFd}`;

type Kept = { grace: Grace; keeper: number; pid: number; reach: () => Promise<void> };

async function startKept(t: TestContext): Promise<Kept> {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'A');
  await grace.ok('start', src, backend.endpoint);
  const { pid, keeper } = await grace.status();
  assert.ok(keeper);
  const port = await grace.port(src);
  const reach = async () => {
    const client = await openClient(t, { port });
    assert.equal(await client.line(), 'A');
    client.socket.destroy();
  };
  return { grace, keeper: keeper.pid, pid, reach };
}

/** A program that does this in a shell, and then is grace. */
function makeWrapper({ dir }: Grace, lines: string): string {
  const file = `${dir}-wrapper`;
  const shell = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
  writeFileSync(file, `#!/bin/bash\n${lines}\nexec ${program.map(shell).join(' ')} "$@"\n`, { mode: 0o755 });
  return file;
}

/** Those that live, whatever they are at the moment. */
function livingOf({ dir }: Grace): number[] {
  return processesOf(dir).flatMap(({ pid, state }) => (state === 'Z' ? [] : [pid]));
}

/** There are these two, and rules are served by this daemon; a crash of it is repaired by this keeper. */
async function mustBeKept({ grace, keeper, reach }: Kept): Promise<void> {
  await until(
    () => `the keeper is back:\n${grace.log()}`,
    async () => {
      const { code, stdout } = await grace.run('status', '--json'); // between two daemons nobody answers
      return code === 0 && JSON.parse(stdout).keeper?.pid === keeper;
    },
  );
  const { pid } = await grace.status();
  await until('there is nobody else', () => livingOf(grace).every((each) => each === pid || each === keeper));
  assert.equal(Number(readFileSync(`${grace.dir}/grace.pid`, 'utf8')), keeper);
  await reach();
  await kill(pid);
  await reach();
  const after = await grace.status();
  assert.notEqual(after.pid, pid);
  assert.equal(after.keeper?.pid, keeper);
  assert.deepEqual(livingOf(grace).sort(), [keeper, after.pid].sort());
}

test(
  'a successor whose channel to the keeper is lost is the only daemon, and gets its keeper back',
  { timeout, skip },
  async (t) => {
    const kept = await startKept(t);
    const { grace, keeper, pid } = kept;
    await grace.ok('restart', '--exec', makeWrapper(grace, loseChannel));
    const { pid: successor } = await grace.status();
    assert.notEqual(successor, pid);
    await until('the keeper is back', async () => (await grace.status()).keeper?.pid === keeper);
    assert.equal((await grace.status()).pid, successor);
    assert.match(grace.log(), new RegExp(`\\(${successor}\\): kept .*"keeper":${keeper}`));
    await mustBeKept(kept);
    await grace.ok('stop');
    assert.equal(isRunning(keeper), false);
  },
);

test(
  'a successor that gets anything else than a channel to the keeper does not come up, and the old daemon goes on',
  { timeout, skip },
  async (t) => {
    const kept = await startKept(t);
    const { grace, pid } = kept;
    for (const other of [' <(:)', '/dev/null', '&4', `&${channelFd + 1}`]) {
      const { code, stderr } = await grace.run('restart', '--exec', makeWrapper(grace, `exec ${channelFd}<${other}`));
      assert.equal(code, 1);
      assert.match(stderr, /^hint: .*descriptors 5 and 6 are no channel to a keeper/m);
      assert.equal((await grace.status()).pid, pid);
    }
    await mustBeKept(kept);
  },
);

/** A keeper that can open nothing, and a new daemon that has none: `more` lets it open files again. */
async function restartUnkept(t: TestContext): Promise<Kept & { more: () => void }> {
  const kept = await startKept(t);
  const { grace, keeper } = kept;
  const limit = (count: string) => execFileSync('prlimit', ['--pid', String(keeper), `--nofile=${count}:`]);
  const [, soft = ''] = /^Max open files +(\d+)/m.exec(readFileSync(`/proc/${keeper}/limits`, 'utf8')) ?? [];
  const used = descriptorsOf(keeper);
  limit(String(Array.from({ length: used.size + 1 }, (_, fd) => fd).find((fd) => !used.has(fd))));
  await grace.ok('restart');
  await until('the keeper says so', () =>
    /\(pid \d+\) lives, and cannot be kept for the moment: .*EMFILE/.test(grace.log()),
  );
  return { ...kept, pid: (await grace.status()).pid, more: () => limit(soft) };
}

const skipShort = skip || (runtime === 'deno' && 'Deno has descriptors of its own to spare');

test(
  'a keeper that has no descriptor left for a successor comes back to it when it has, and no other daemon or keeper does',
  { timeout, skip: skipShort },
  async (t) => {
    const unkept = await restartUnkept(t);
    const { grace, keeper, pid, reach, more } = unkept;
    assert.equal((await grace.status()).keeper, null);
    assert.deepEqual(livingOf(grace).sort(), [keeper, pid].sort());
    const another = await grace.run('daemon');
    assert.equal(another.code, 1);
    assert.match(another.stderr, new RegExp(`^grace: a daemon already runs in .* \\(pid ${keeper}\\)`));
    await grace.ok('restart');
    const { pid: next } = await grace.status();
    assert.notEqual(next, pid);
    await until('there is nobody else', () => livingOf(grace).every((each) => each === next || each === keeper));
    await reach();
    more();
    await mustBeKept(unkept);
    assert.equal(grace.log().match(/cannot be kept for the moment/g)?.length, 2); // once of each daemon
  },
);

test('a TERM to a keeper whose daemon has no channel to it stops both', { timeout, skip: skipShort }, async (t) => {
  const { grace, keeper, pid } = await restartUnkept(t);
  process.kill(keeper, 'SIGTERM');
  await Promise.all([gone(pid), gone(keeper)]);
  assert.deepEqual(livingOf(grace), []);
  assert.equal((await grace.run('status')).code, 3);
});

test('a stop of a daemon without a channel is the end of its keeper too', { timeout, skip: skipShort }, async (t) => {
  const { grace, keeper } = await restartUnkept(t);
  await grace.ok('stop');
  await gone(keeper);
  assert.deepEqual(livingOf(grace), []);
});

test(
  'a crash of a daemon without a channel is repaired when its keeper has descriptors again',
  { timeout, skip: skipShort },
  async (t) => {
    const unkept = await restartUnkept(t);
    await kill(unkept.pid);
    unkept.more();
    await unkept.reach();
    await mustBeKept(unkept);
  },
);

test(
  'a successor without a channel does not serve when its predecessor is killed: its keeper has started another',
  { timeout, skip },
  async (t) => {
    const kept = await startKept(t);
    const { grace, pid } = kept;
    const [here, go] = [`${grace.dir}-here`, `${grace.dir}-go`];
    execFileSync('mkfifo', [go]);
    const gate = openSync(go, constants.O_RDWR);
    t.after(() => closeSync(gate));
    const wrapper = makeWrapper(
      grace,
      `${loseChannel}\necho $$ >'${here}.new'; mv '${here}.new' '${here}'\nread -r <'${go}'`,
    );
    const restarting = grace.run('restart', '--exec', wrapper);
    await until('there is a successor', () => existsSync(here));
    await kill(pid);
    await until('another one serves', async () => (await grace.status()).pid !== pid);
    writeFileSync(gate, '\n');
    await gone(Number(readFileSync(here, 'utf8')));
    await restarting;
    await mustBeKept(kept);
  },
);

test(
  'a keeper and a daemon whose channel ends while the daemon serves get another, and a TERM meanwhile is heard',
  { timeout, skip },
  async (t) => {
    const kept = await startKept(t);
    const { grace, keeper, pid } = kept;
    /** What the daemon says to its keeper fails, as if that had ended. */
    const lose = async (daemon: number) => {
      const detach = await inject(t, daemon, 'sendmsg', 'EPIPE', { isMainAlone: true });
      if (!detach) return false;
      await grace.ok('start', `unix:${grace.dir}-${daemon}.sock`, 'tcp:127.0.0.1:9');
      await detach();
      return true;
    };
    if (!(await lose(pid))) return t.skip('strace may not attach here');
    await until('the daemon misses its keeper', () => /the keeper is gone/.test(grace.log()));
    await mustBeKept(kept);
    const { pid: next } = await grace.status();
    assert.notEqual(next, pid);
    assert.ok(await lose(next));
    process.kill(keeper, 'SIGTERM');
    await Promise.all([gone(next), gone(keeper)]);
    assert.deepEqual(livingOf(grace), []);
  },
);
