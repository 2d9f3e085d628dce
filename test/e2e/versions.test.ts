/** Versions that replace one another: two copies of the source, with other numbers and formats in them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ConnectingClients, startGreeter } from './connecting-clients.ts';
import { root, runtime } from './grace.ts';
import { kill, pidInFile, processesOf } from './processes.ts';

const timeout = 180_000;
const skip = runtime === 'deno' && 'copies of the source run on Node';
const src = 'tcp:0:interface=127.0.0.1';

type Outcome = { code: number | null; stdout: string; stderr: string };
type Build = { version: string; run: (...args: string[]) => Promise<Outcome> };
type Change = [file: string, from: string, to: string];

/** A copy of the source as another version, whose client and daemon both are. */
function copyAs(
  t: TestContext,
  { dir, version, changes = [] }: { dir: string; version: string; changes?: Change[] },
): Build {
  const copy = mkdtempSync(join(tmpdir(), 'grace-version-'));
  t.after(() => rmSync(copy, { recursive: true, force: true }));
  cpSync(join(root, 'src'), join(copy, 'src'), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(join(copy, 'package.json'), JSON.stringify({ ...manifest, version }));
  for (const [file, from, to] of changes) {
    const path = join(copy, 'src', file);
    const text = readFileSync(path, 'utf8');
    assert.ok(text.includes(from), `${file} holds no ${from}`);
    writeFileSync(path, text.replaceAll(from, to));
  }
  const run = async (...args: string[]): Promise<Outcome> => {
    const child = spawn(process.execPath, [join(copy, 'src/main.ts'), '-d', dir, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    const outcome: Outcome = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (outcome.stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (outcome.stderr += text));
    [outcome.code] = await once(child, 'close');
    return outcome;
  };
  return { version, run };
}

function stateDir(t: TestContext): string {
  const parent = mkdtempSync(join(tmpdir(), 'grace-versions-'));
  const dir = join(parent, 'state');
  // Hooks run in the order in which they were made: one that stops the daemon would come after the end of its state dir.
  t.after(async () => {
    for (let left = runningIn(dir); left.length > 0; left = runningIn(dir))
      await Promise.allSettled(left.map(({ pid }) => kill(pid)));
    rmSync(parent, { recursive: true, force: true });
  });
  return dir;
}

function runningIn(dir: string): { pid: number }[] {
  return processesOf(dir).filter(({ state }) => state !== 'Z');
}

async function ok({ run }: Build, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  assert.equal(code, 0, stderr);
  return stdout;
}

type Status = { pid: number; version: string; keeper: { pid: number; version: string } };

const status = async (build: Build): Promise<Status> => JSON.parse(await ok(build, 'status', '--json'));

/** One rule in a daemon of this build, under connecting clients, and its end. */
async function serve(t: TestContext, build: Build): Promise<ConnectingClients> {
  const greeter = await startGreeter();
  await ok(build, 'start', src, `tcp:127.0.0.1:${greeter.port}`);
  t.after(async () => {
    await clients.stop();
    greeter.server.close();
  });
  const [row] = JSON.parse(await ok(build, 'ls', '--json'));
  const clients: ConnectingClients = new ConnectingClients(Number(/[0-9]+$/.exec(row.listening)?.[0]), { count: 2 });
  await clients.served(5);
  return clients;
}

test(
  'a newer and an older version replace one another under connecting clients, and the keeper goes with them',
  { timeout, skip },
  async (t) => {
    const dir = stateDir(t);
    const older = copyAs(t, { dir, version: '0.0.7' });
    const newer = copyAs(t, { dir, version: '7.0.0' });
    const clients = await serve(t, older);
    const { keeper } = await status(older);
    for (const [from, to] of [
      [older, newer],
      [newer, older],
    ] as const) {
      assert.match(
        await ok(to, 'restart', '--timeout', '100s'),
        new RegExp(`\\(${from.version}\\) -> .*\\(${to.version}\\)`),
      );
      const now = await status(from);
      assert.deepEqual([now.version, now.keeper], [to.version, { pid: keeper.pid, version: to.version }]);
      await clients.served(5);
      await kill(now.pid);
      await clients.served(5);
      assert.equal((await status(from)).version, to.version);
    }
    const { refused } = await clients.stop();
    assert.equal(refused, 0);
  },
);

test(
  'a version that cannot read what is handed over says so, and the old one goes on',
  { timeout, skip },
  async (t) => {
    const dir = stateDir(t);
    const current = copyAs(t, { dir, version: '1.0.0' });
    const other = copyAs(t, {
      dir,
      version: '2.0.0',
      changes: [
        ['daemon/handover/messages.ts', 'v.literal(1)', 'v.literal(2)'],
        ['daemon/handover/messages.ts', 'reads format 1', 'reads format 2'],
      ],
    });
    const clients = await serve(t, current);
    const before = await status(current);
    const { code, stderr } = await other.run('restart', '--timeout', '100s');
    assert.equal(code, 1);
    assert.match(stderr, /^grace: cannot restart: this version cannot take over from the running daemon: .*\nhint: /);
    assert.deepEqual([(await status(current)).pid, (await status(current)).keeper], [before.pid, before.keeper]);
    await clients.served(5);
    assert.equal((await clients.stop()).refused, 0);
  },
);

test(
  'a version that cannot read the kept rules says so, at a restart and at a start, and leaves them alone',
  { timeout, skip },
  async (t) => {
    const dir = stateDir(t);
    const newer = copyAs(t, {
      dir,
      version: '2.0.0',
      changes: [['daemon/state/rules-file.ts', 'stateFormat = 1', 'stateFormat = 2']],
    });
    const older = copyAs(t, { dir, version: '1.0.0' });
    const clients = await serve(t, newer);
    const { pid } = await status(newer);
    const restart = await older.run('restart', '--timeout', '100s');
    assert.equal(restart.code, 1);
    assert.match(
      restart.stderr,
      /^grace: cannot restart: cannot read the rules in .*: they have format 2, and this version reads format 1\nhint: /,
    );
    assert.equal((await status(newer)).pid, pid);
    assert.equal((await clients.stop()).refused, 0);
    await ok(newer, 'stop', '--now');
    const text = readFileSync(join(dir, 'state.json'), 'utf8');
    for (const args of [
      ['start', 'tcp:0:interface=127.0.0.1:backlog=7', 'tcp:127.0.0.1:1'],
      ['daemon'],
      ['daemon', '--no-keeper'],
    ]) {
      const { code, stderr } = await older.run(...args);
      assert.equal(code, 1);
      assert.match(stderr, /they have format 2/);
    }
    assert.equal(readFileSync(join(dir, 'state.json'), 'utf8'), text);
    assert.deepEqual(
      readdirSync(dir).filter((name) => name.includes('damaged')),
      [],
    );
    assert.deepEqual(processesOf(dir), []);
  },
);

test('a keeper of another kind stays, says so in the log, and goes on keeping', { timeout, skip }, async (t) => {
  const dir = stateDir(t);
  const current = copyAs(t, { dir, version: '1.0.0' });
  const other = copyAs(t, {
    dir,
    version: '2.0.0',
    changes: [['keeper/messages.ts', 'keeperFormat = 1', 'keeperFormat = 2']],
  });
  const clients = await serve(t, current);
  const { keeper } = await status(current);
  await ok(other, 'restart', '--timeout', '100s');
  const now = await status(current);
  assert.deepEqual([now.version, now.keeper], ['2.0.0', keeper]);
  assert.match(readFileSync(join(dir, 'grace.log'), 'utf8'), /the keeper stays version 1\.0\.0/);
  await kill(now.pid);
  await clients.served(5);
  assert.equal(pidInFile(join(dir, 'grace.pid')), keeper.pid);
  assert.equal((await clients.stop()).refused, 0);
});
