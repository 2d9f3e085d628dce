/** Disks and limits that fail under a daemon, and a machine that sleeps: forwarding goes on, and commands say in one line what is wrong. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, program, runtime } from './grace.ts';

const timeout = 180_000;
const skip = runtime === 'executable' && process.platform === 'linux' ? false : 'the executable on Linux';
const src = 'tcp:0:interface=127.0.0.1';

/** Why a test cannot be tried that needs these programs, and perhaps root. */
function without(programs: readonly string[], { root = false } = {}): string | false {
  if (skip !== false) return skip;
  if (root && process.getuid?.() !== 0) return 'it takes root';
  const missing = programs.find((each) => spawnSync('sh', ['-c', `command -v ${each}`]).status !== 0);
  return missing === undefined ? false : `${missing} is not here`;
}

test(
  'on a file system that is full clients are served, a new rule is refused in a line, rules stay whole, and it goes on when there is room',
  { timeout, skip: without(['unshare', 'mount'], { root: true }) },
  async (t) => {
    const home = mkdtempSync(join(tmpdir(), 'grace-full-'));
    t.after(() => rmSync(home, { recursive: true, force: true }));
    const backend = await startBackend(t, 'one', { path: join(home, 'out.sock') });
    const script = `
      set -e; cd ${home}; mkdir m; mount -t tmpfs -o size=64k none m; D=${home}/m/state; g() { ${program[0]} -d $D "$@"; }
      trap 'rm -f m/fill; g stop --now >/dev/null' EXIT
      g start unix:${home}/in.sock ${backend.endpoint} >/dev/null
      cat /dev/zero >m/fill 2>/dev/null || true
      cp $D/state.json before
      if g start unix:${home}/second.sock ${backend.endpoint} 2>told; then exit 8; fi; echo refused: $(cat told)
      if g switch unix:${home}/in.sock unix:${home}/none --no-check 2>told; then exit 9; fi; echo refused: $(cat told)
      cmp before $D/state.json
      g ls >&2; g status | sed 's/^/status: /'
      read -r _; rm m/fill; g start unix:${home}/second.sock ${backend.endpoint}; g ls`;
    const child = spawn('unshare', ['-m', 'bash', '-c', script], { stdio: ['pipe', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const ended = new Promise((resolve) => child.once('close', resolve));
    await Promise.race([
      until(
        () => `it is full: ${text}`,
        () => /status: /.test(text),
      ),
      ended,
    ]);
    const client = await openClient(t, { path: join(home, 'in.sock') });
    assert.equal(await client.line(), 'one');
    assert.equal(await client.echo('still there'), 'still there');
    child.stdin.end('on\n');
    assert.equal(await ended, 0, text);
    assert.equal([...text.matchAll(/^refused: grace: cannot .*(ENOSPC|no space left).*$/gim)].length, 2, text);
    assert.match(text, /Started\n(?:.*\n)*.*second\.sock/);
  },
);

for (const step of ['openat', 'fsync', 'rename'])
  test(
    `a daemon that is killed at any ${step} of a change of rules leaves the old ones or the new ones, whole`,
    { timeout, skip: without(['strace']) },
    async (t) => {
      const grace = makeGrace(t);
      const backend = await startBackend(t, 'one');
      const trace = `${grace.dir}-trace`;
      await grace.ok('start', `unix:${grace.dir}-0`, backend.endpoint);
      await grace.ok('stop', '--now');
      const file = join(grace.dir, 'state.json');
      const rulesIn = () => (JSON.parse(readFileSync(file, 'utf8')) as { rules: unknown[] }).rules.length;
      let kills = 0;
      for (let count = 1; count <= 2; count++) {
        const daemon = grace.spawn('daemon', '--no-keeper');
        await until('it serves', async () => (await grace.run('status')).code === 0);
        const before = rulesIn();
        const { pid } = await grace.status();
        // Only what has to do with the state dir counts, the last of it the rename.
        const strace = spawn(
          'strace',
          [
            '-f',
            '-qq',
            '-o',
            trace,
            '-p',
            String(pid),
            '-e',
            `trace=${step}`,
            '-e',
            `inject=${step}:signal=SIGKILL:when=${count}`,
          ],
          { stdio: ['ignore', 'ignore', 'pipe'] },
        );
        const traced = new Promise((resolve) => strace.once('exit', resolve));
        await until('it is traced', () => /^TracerPid:\t[1-9]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
        const { code } = await grace.run('start', `unix:${grace.dir}-${count}`, backend.endpoint);
        // A command that lost its daemon starts another, which reads what the first one left.
        await grace.run('stop', '--now');
        await daemon.ended;
        if (daemon.child.signalCode === 'SIGKILL') kills++;
        await traced;
        const after = rulesIn(); // throws when it is half written
        assert.ok(after === before + 1 || (code !== 0 && after === before), `${before} rules, then ${after}`);
      }
      assert.ok(kills > 0);
      await grace.ok('start', src, backend.endpoint);
      assert.equal((await grace.ls()).filter(({ active }) => active).length, rulesIn());
      assert.doesNotMatch(grace.log(), /damaged/);
    },
  );

test(
  'a limit of descriptors that is lowered while it runs cuts nobody off, commands are answered, and raised again who waits is served',
  { timeout, skip: without(['prlimit']) },
  async (t) => {
    const { grace, backend, port, client } = await startWithClient(t);
    const { pid } = await grace.status();
    const limit = (soft: number) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${soft}:`]);
    const before = Number(/Max open files +([0-9]+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1]);
    limit(8);
    const late = await openClient(t, { port });
    assert.equal(await client.echo('still there'), 'still there');
    const { code, stderr } = await grace.run('start', `unix:${grace.dir}-in`, backend.endpoint);
    assert.equal(code, 1);
    assert.match(stderr, /^grace: .*\n(hint: .*\n)?$/);
    limit(before);
    assert.equal(await late.line(), 'one');
    assert.equal((await grace.status()).pid, pid);
    await grace.ok('start', `unix:${grace.dir}-in`, backend.endpoint);
  },
);

test('a machine that sleeps, daemon, keeper and all, goes on where it was', { timeout, skip }, async (t) => {
  const { grace, port, client } = await startWithClient(t);
  const { pid, keeper, engine } = await grace.status();
  for (const each of [pid, keeper!.pid]) process.kill(each, 'SIGSTOP');
  const late = await openClient(t, { port });
  client.socket.write('sent meanwhile\n');
  // Longer than any watchdog inside: commands give up by then.
  const rules = readFileSync(join(grace.dir, 'state.json'), 'utf8');
  const commands = [['ls'], ['switch', src, `unix:${grace.dir}-none`, '--no-check'], ['stop', src], ['stop']];
  for (const asleep of await Promise.all(commands.map((words) => grace.run(...words)))) {
    assert.equal(asleep.code, 1);
    assert.match(asleep.stderr, /^grace: the daemon in .* does not answer\nhint: /);
  }
  for (const each of [keeper!.pid, pid]) process.kill(each, 'SIGCONT');
  assert.equal(await client.line(), 'sent meanwhile');
  assert.equal(await late.line(), 'one');
  const after = await grace.status();
  assert.deepEqual([after.pid, after.keeper?.pid, after.engine], [pid, keeper!.pid, engine]);
  // What was said to have failed is not done late.
  await grace.ok('start', `unix:${grace.dir}-later`, `unix:${grace.dir}-none`);
  await grace.ok('stop', `unix:${grace.dir}-later`);
  assert.equal(readFileSync(join(grace.dir, 'state.json'), 'utf8'), rules);
  await grace.ok('restart');
  assert.equal(await client.echo('moved'), 'moved');
});

/** A rule, and a client of it that has been greeted. */
async function startWithClient(t: TestContext) {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'one');
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  const client = await openClient(t, { port });
  assert.equal(await client.line(), 'one');
  return { grace, backend, port, client };
}
