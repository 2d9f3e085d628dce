/** A log's disk that fills up, directories from which nothing may be executed, a control group without memory: what was served stays served, and commands say what is wrong. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { isRunning, makeGrace, program, runtime } from './grace.ts';

const timeout = 120_000;
const skip =
  runtime !== 'executable' || process.platform !== 'linux'
    ? 'the executable on Linux'
    : process.getuid?.() !== 0 && 'it takes root';
const skipMount = skip || (spawnSync('unshare', ['-m', 'true']).status !== 0 && 'no mount namespace can be made here');

/** Run a script in a mount namespace of its own; it stops at each `read` until it is told to go on. */
function inMountNamespace(t: TestContext, script: string) {
  const child = spawn('unshare', ['-m', 'bash', '-ec', script], { stdio: ['pipe', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  t.after(async () => {
    child.stdin.end();
    await ended;
  });
  return {
    ended,
    text: () => text,
    goOn: () => child.stdin.write('on\n'),
    until: (pattern: RegExp) =>
      until(
        () => `${pattern} comes: ${text}`,
        () => {
          assert.equal(child.exitCode, null, text);
          return pattern.test(text);
        },
      ),
  };
}

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'grace-faults-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

test(
  'a log that cannot be written any more stops nothing, status says so, and it goes on when there is room',
  { timeout, skip: skipMount },
  async (t) => {
    const dir = tempDir(t);
    const backend = await startBackend(t, 'A', { path: join(dir, 'out.sock') });
    const script = inMountNamespace(
      t,
      `cd ${dir}; mkdir m; mount -t tmpfs -o size=64k none m
       g() { ${program[0]} -d ${dir}/state "$@"; }
       trap 'g stop --now' EXIT
       GRACE_LOG=${dir}/m/log g start unix:${dir}/in.sock ${backend.endpoint}
       cat /dev/zero >m/fill 2>/dev/null || true
       head -c 4096 /dev/zero | tr '\\0' '\\n' >>m/log 2>/dev/null || true
       for n in $(seq 30); do g status | grep -q 'cannot be written' && break; g start --switch unix:${dir}/in.sock:idle=\${n}h ${backend.endpoint} >/dev/null; done
       g status | sed 's/^/full: /'
       read -r _; rm m/fill; g restart; g start unix:${dir}/later.sock ${backend.endpoint}
       g status | sed 's/^/room: /'; sed 's/^/log: /' m/log; read -r _`,
    );
    await script.until(/full: problem/);
    const client = await openClient(t, { path: join(dir, 'in.sock') });
    assert.equal(await client.line(), 'A');
    assert.equal(await client.echo('still there'), 'still there');
    assert.match(
      script.text(),
      /full: problem +the log cannot be written: .*\/m\/log: .*(ENOSPC|no space left).*; [0-9]+ lines? (is|are) lost/i,
    );
    script.goOn();
    await script.until(/log: .*later\.sock/);
    assert.equal(await client.echo('moved'), 'moved');
    script.goOn();
    assert.equal(await script.ended, 0, script.text());
    assert.doesNotMatch(script.text(), /room: problem/);
    assert.match(script.text(), /^log: \[.*lines of the log were lost.*\{"lines":[0-9]+\}$/m);
    assert.match(script.text(), /^log: \[.*serving .*\n(?:.*\n)*log: \[.*rule started .*later\.sock/m);
  },
);

test(
  'where nothing may be executed in temporary and home directories, it starts, restarts and comes back after a crash',
  { timeout, skip: skipMount },
  async (t) => {
    const dir = tempDir(t);
    const backend = await startBackend(t, 'A', { path: join(dir, 'out.sock') });
    const script = inMountNamespace(
      t,
      `cd ${dir}; mkdir m; mount -t tmpfs -o noexec,nosuid,nodev none m; mkdir m/tmp m/home
       mount -t tmpfs -o noexec none /dev/shm
       export HOME=${dir}/m/home TMPDIR=${dir}/m/tmp
       printf '#!/bin/sh\\n' >m/tmp/x; chmod +x m/tmp/x; ! m/tmp/x 2>/dev/null
       g() { ${program[0]} "$@"; }
       trap 'g stop --now' EXIT
       g start unix:${dir}/in.sock ${backend.endpoint}
       echo up; read -r _
       g restart
       kill -9 $(g status --json | grep -o '"pid": *[0-9]*' | head -1 | grep -o '[0-9]*$')
       for n in 1 2 3 4 5 6 7 8; do g status >told 2>&1 && break; done
       echo again; read -r _`,
    );
    await script.until(/up\n/);
    const kept = await openClient(t, { path: join(dir, 'in.sock') });
    assert.equal(await kept.line(), 'A');
    script.goOn();
    await script.until(/Restarted: [^]*Moved 1 connection [^]*again\n/);
    const client = await openClient(t, { path: join(dir, 'in.sock') });
    assert.equal(await client.line(), 'A');
    script.goOn();
    assert.equal(await script.ended, 0, script.text());
  },
);

/** A control group for memory, by whichever version is mounted; null where none can be made. */
function openMemoryGroup() {
  const v1 = '/sys/fs/cgroup/memory';
  const isV1 = existsSync(join(v1, 'memory.limit_in_bytes'));
  const dir = join(isV1 ? v1 : '/sys/fs/cgroup', `grace-test-${process.pid}`);
  try {
    if (!isV1) writeFileSync('/sys/fs/cgroup/cgroup.subtree_control', '+memory');
    mkdirSync(dir);
  } catch {
    return null;
  }
  const members = () => readFileSync(join(dir, 'cgroup.procs'), 'utf8').trim().split('\n').filter(Boolean);
  if (!existsSync(join(dir, isV1 ? 'memory.limit_in_bytes' : 'memory.max'))) {
    rmdirSync(dir);
    return null;
  }
  return {
    procs: join(dir, 'cgroup.procs'),
    /** When all that is in it has been told to end. */
    async remove(): Promise<void> {
      await until('the control group is empty', () => members().length === 0);
      rmdirSync(dir);
    },
    /** Memory of its own, which the system cannot have back. */
    get ownBytes(): number {
      const name = isV1 ? 'total_rss' : 'anon';
      return Number(new RegExp(`^${name} ([0-9]+)$`, 'm').exec(readFileSync(join(dir, 'memory.stat'), 'utf8'))?.[1]);
    },
    limit(bytes: number): void {
      writeFileSync(join(dir, isV1 ? 'memory.limit_in_bytes' : 'memory.max'), `${bytes}`);
      if (!isV1 && existsSync(join(dir, 'memory.swap.max'))) writeFileSync(join(dir, 'memory.swap.max'), '0');
    },
  };
}

test(
  'out of memory in its control group, the daemon is killed and started again, and others are served',
  { timeout, skip },
  async (t) => {
    const group = openMemoryGroup();
    if (group === null) return t.skip('no control group for memory can be made here');
    const grace = makeGrace(t);
    const dir = tempDir(t);
    const backend = await startBackend(t, 'A');
    const stuck = createServer({ pauseOnConnect: true }).listen(join(dir, 'stuck'));
    t.after(() => stuck.close());
    stuck.on('connection', (socket) => t.after(() => socket.destroy()));
    const daemon = spawn(
      'sh',
      ['-c', `echo $$ >${group.procs}; exec "$@"`, 'sh', ...program, '-d', grace.dir, 'daemon'],
      {
        stdio: 'ignore',
      },
    );
    t.after(() => void daemon.kill('SIGKILL'));
    t.after(() => group.remove());
    await until('it serves', () => grace.log().includes('serving'));
    const src = 'tcp:0:interface=127.0.0.1';
    await grace.ok('start', src, backend.endpoint);
    await grace.ok('start', `unix:${dir}/in`, `unix:${dir}/stuck`);
    const { pid } = await grace.status();
    const port = await grace.port(src);
    group.limit(group.ownBytes + 24 * 2 ** 20);
    const bytes = Buffer.alloc(2 ** 20);
    for (let count = 0; count < 3000 && isRunning(pid); count += 50) {
      for (let each = 0; each < 50; each++) {
        const client = connect(join(dir, 'in')).on('error', () => {});
        t.after(() => client.destroy());
        client.write(bytes);
      }
      await grace.run('status');
    }
    assert.equal(isRunning(pid), false, 'it had no memory left');
    const client = await openClient(t, { port });
    assert.equal(await client.line(), 'A');
    assert.equal(await client.echo('served'), 'served');
    const after = await grace.status();
    assert.notEqual(after.pid, pid);
    assert.equal(after.keeper?.pid, daemon.pid);
    assert.match(grace.log(), /started again after a crash .*SIGKILL/);
  },
);
