/** What of the caller's surroundings reaches grace, and what of them a daemon keeps: nothing that is not meant for it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace, program, runtime, startProgram } from './grace.ts';

const timeout = 60_000;
const skip =
  runtime === 'executable' && process.platform === 'linux'
    ? false
    : 'the surroundings of the built executable on Linux';

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'grace-surroundings-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Keeper and daemon. */
async function processes(grace: ReturnType<typeof makeGrace>): Promise<number[]> {
  const { pid } = await grace.status();
  return [pid, Number(readFileSync(join(grace.dir, 'grace.pid'), 'utf8'))];
}

const foreign = {
  NODE_OPTIONS: '--require DIR/boot.js --tls-keylog=DIR/keys --inspect=127.0.0.1:0',
  NODE_V8_COVERAGE: 'DIR/coverage',
  NODE_DEBUG: 'net,tls,http,child_process,timer',
  NODE_DEBUG_NATIVE: 'crypto',
  NODE_EXTRA_CA_CERTS: 'DIR/nothing',
  NODE_REDIRECT_WARNINGS: 'DIR/warnings',
  NODE_PENDING_DEPRECATION: '1',
  NODE_USE_ENV_PROXY: '1',
  NODE_UNIQUE_ID: '1',
  NODE_REPL_EXTERNAL_MODULE: 'DIR/boot.js',
  NODE_TLS_REJECT_UNAUTHORIZED: '0',
  OPENSSL_CONF: 'DIR/boot.js',
  OPENSSL_MODULES: 'DIR',
  UV_THREADPOOL_SIZE: '1',
  UV_USE_IO_URING: '1',
  RES_OPTIONS: 'timeout:1',
  FORCE_COLOR: '1',
};

test(
  'the variables that set up Node, OpenSSL and the resolver do nothing, and no daemon keeps them',
  { timeout, skip },
  async (t) => {
    const dir = tempDir(t);
    writeFileSync(join(dir, 'boot.js'), 'console.error("loaded"); ][');
    const files = readdirSync(dir);
    const backend = await startBackend(t, 'one');
    const grace = makeGrace(
      t,
      Object.fromEntries(Object.entries(foreign).map(([name, value]) => [name, value.replaceAll('DIR', dir)])),
    );
    const { code, stdout, stderr } = await grace.run('start', 'tcp:0:interface=127.0.0.1', backend.endpoint);
    assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'Started\n', stderr: '' });
    const names = new RegExp(`(?:^|\0)(?:${Object.keys(foreign).join('|')})=`);
    for (const pid of await processes(grace))
      assert.doesNotMatch(readFileSync(`/proc/${pid}/environ`, 'latin1'), names);
    assert.deepEqual(readdirSync(dir), files);
  },
);

test('a runtime option that is none ends no command', { timeout, skip }, async () => {
  for (const name of ['NODE_OPTIONS', 'NODE_REPL_EXTERNAL_MODULE', 'OPENSSL_CONF']) {
    const { stdout, stderr } = await startProgram(['--version'], { [name]: '--no-such-option' }).ended;
    assert.match(stdout, /^grace /);
    assert.equal(stderr, '');
  }
});

test('a daemon in the foreground is as deaf, and goes on in the same process', { timeout, skip }, async (t) => {
  const dir = tempDir(t);
  const grace = makeGrace(t, {
    NODE_V8_COVERAGE: join(dir, 'coverage'),
    NODE_EXTRA_CA_CERTS: join(dir, 'nothing'),
    GRACE_TEST_KEPT: 'yes',
  });
  const daemon = grace.spawn('daemon');
  await until('it serves', async () => (await grace.run('ls')).code === 0);
  const all = await processes(grace);
  assert.ok(all.includes(daemon.child.pid!));
  for (const pid of all) {
    const environ = readFileSync(`/proc/${pid}/environ`, 'latin1');
    assert.doesNotMatch(environ, /NODE_/);
    assert.match(environ, /GRACE_TEST_KEPT=yes/);
  }
  await grace.ok('stop', '--now');
  await daemon.ended;
  assert.equal(existsSync(join(dir, 'coverage')), false);
});

test(
  'a daemon that a script starts holds none of its descriptors, whatever their numbers',
  { timeout, skip },
  async (t) => {
    const dir = tempDir(t);
    const grace = makeGrace(t);
    const script = `exec 5>"$0/low" 77>"$0/middle" 200>"$0/high"; text=$("$@" -d "${grace.dir}" start tcp:0:interface=127.0.0.1 tcp:127.0.0.1:9 30>&1); echo "$text"`;
    const { stdout, status } = spawnSync('bash', ['-c', script, dir, ...program], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.deepEqual({ stdout, status }, { stdout: 'Started\n', status: 0 }); // the command substitution ended with the client
    await grace.ok('restart');
    for (const pid of await processes(grace)) {
      const open = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
      assert.deepEqual(
        open.filter((target) => target.startsWith(dir)),
        [],
      );
    }
  },
);

test(
  'a daemon in the foreground passes what it was left with to no process of its own',
  { timeout, skip },
  async (t) => {
    const dir = tempDir(t);
    const grace = makeGrace(t);
    const { spawn } = await import('node:child_process');
    const file = openSync(join(dir, 'lock'), 'w');
    const daemon = spawn('bash', ['-c', 'exec 200>&3 3>&-; exec "$@"', 'bash', ...program, '-d', grace.dir, 'daemon'], {
      stdio: ['ignore', 'ignore', 'ignore', file],
    });
    closeSync(file);
    await until('it serves', async () => (await grace.run('ls')).code === 0);
    await grace.ok('start', 'tcp:0:interface=127.0.0.1', 'tcp:127.0.0.1:9');
    const { pid } = await grace.status();
    assert.notEqual(pid, daemon.pid);
    assert.deepEqual(
      readdirSync(`/proc/${pid}/fd`)
        .map((fd) => linkOf(`/proc/${pid}/fd/${fd}`))
        .filter((target) => target.startsWith(dir)),
      [],
    );
  },
);

test(
  'a daemon that a client starts has neither the priority nor the limits of its shell',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const script = 'ulimit -S -t 600; ulimit -S -f 64; umask 0777; exec nice -n 7 "$@"';
    const { status, stderr } = spawnSync(
      'bash',
      ['-c', script, 'bash', ...program, '-d', grace.dir, 'start', 'tcp:0:interface=127.0.0.1', 'tcp:127.0.0.1:9'],
      { encoding: 'utf8' },
    );
    assert.equal(status, 0);
    assert.equal(stderr, '');
    for (const pid of await processes(grace)) {
      const limits = readFileSync(`/proc/${pid}/limits`, 'utf8');
      assert.match(limits, /Max cpu time +unlimited/);
      assert.match(limits, /Max file size +unlimited/);
      assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /Umask:\t0077/);
      const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
        .replace(/^.*\) /s, '')
        .split(' ');
      if (process.getuid?.() === 0) assert.equal(fields[16], '0', 'nice');
      assert.equal(readlinkSync(`/proc/${pid}/cwd`), '/');
    }
  },
);

test(
  'a successor gets the sockets, the lock, the channels and the log of its predecessor, its variables, and nothing else',
  { timeout, skip },
  async (t) => {
    const dir = tempDir(t);
    const grace = makeGrace(t, { GRACE_TEST_KEPT: 'yes' });
    const stranger = openSync(join(dir, 'stranger'), 'w');
    const { spawn } = await import('node:child_process');
    const daemon = spawn(
      'bash',
      [
        '-c',
        'exec 200>&3 3>&-; exec "$@"',
        'bash',
        ...program,
        '-d',
        grace.dir,
        'daemon',
        '--log',
        join(grace.dir, 'grace.log'),
      ],
      {
        stdio: ['ignore', 'ignore', 'ignore', stranger],
        env: { PATH: process.env['PATH'], GRACE_TEST_KEPT: 'yes', NODE_OPTIONS: '--bad' },
      },
    );
    closeSync(stranger);
    t.after(() => daemon.kill('SIGKILL'));
    await until('it serves', () => existsSync(join(grace.dir, 'grace.log')) && grace.log().includes('serving'));
    await grace.ok('start', 'tcp:0:interface=127.0.0.1', 'tcp:127.0.0.1:9');
    await grace.ok('start', `unix:${grace.dir}-in`, 'tcp:127.0.0.1:9');
    const script = join(dir, 'told');
    writeFileSync(
      script,
      `#!/bin/bash\ncat /proc/$$/environ >${dir}/variables\nls -l /proc/$$/fd >${dir}/descriptors\nexec ${program[0]} "$@"\n`,
      { mode: 0o755 },
    );
    await grace.ok('restart', '--exec', script);
    const names = readFileSync(join(dir, 'variables'), 'utf8')
      .split('\0')
      .filter((each) => each !== '')
      .map((each) => each.slice(0, each.indexOf('=')));
    assert.deepEqual(names.filter((name) => !['PWD', 'SHLVL', '_', 'OLDPWD'].includes(name)).sort(), [
      'GRACE_FOREIGN_FDS',
      'GRACE_KEEPER',
      'GRACE_LOG',
      'GRACE_PARENT',
      'GRACE_SUCCESSOR',
      'GRACE_TEST_KEPT',
      'LISTEN_FDNAMES',
      'LISTEN_FDS',
      'PATH',
      'UV_THREADPOOL_SIZE', // its own, for lookups of names
    ]);
    const targets = readFileSync(join(dir, 'descriptors'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(/ (?=[0-9]+ -> )| -> /).slice(1))
      .filter(([fd]) => fd !== undefined)
      .filter(([fd, target]) => fd !== '255' && target !== script) // the script itself
      .map(([fd, target]) => [Number(fd), target!.replace(/\[[0-9]+\]/, '')])
      .sort(([a], [b]) => Number(a) - Number(b));
    assert.deepEqual(targets, [
      [0, 'socket:'], // what predecessor and successor say to each other
      [1, 'socket:'],
      [2, 'socket:'],
      [3, 'socket:'], // the listeners of the rules
      [4, 'socket:'],
      [5, join(grace.dir, 'grace.lock')],
      [6, 'socket:'], // the channel to the keeper
      [7, 'socket:'],
      [8, 'socket:'], // by which connections move
      [9, '/dev/null'], // what was standard error
    ]);
    await grace.ok('stop', '--now');
    await new Promise((resolve) => (daemon.exitCode === null ? daemon.once('exit', resolve) : resolve(null)));
  },
);

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // closed meanwhile
  }
}
