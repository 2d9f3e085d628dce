/** What a user who is neither the daemon's nor root gets to see of a daemon: what it forwards, and nothing else. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace, program, runtime } from './grace.ts';
import { kill } from './processes.ts';

const timeout = 120_000;
const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const skip =
  runtime === 'executable' &&
  process.getuid?.() === 0 &&
  spawnSync(nobody[0]!, [...nobody.slice(1), 'true']).status === 0
    ? false
    : 'it takes root, setpriv and the executable';

/** What it prints as another user. */
function asNobody(...command: string[]): { code: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(nobody[0]!, [...nobody.slice(1), ...command], {
    encoding: 'utf8',
    timeout: 30_000,
    env: { PATH: process.env['PATH'], HOME: '/' },
  });
  return { code: status, text: stdout + stderr };
}

for (const mode of [0o700, 0o755]) {
  test(
    `another user can neither list a state dir nor read a file in it nor connect to the control socket (mode ${mode.toString(8)})`,
    { timeout, skip },
    async (t) => {
      const grace = makeGrace(t);
      chmodSync(dirname(grace.dir), 0o755);
      mkdirSync(grace.dir);
      chmodSync(grace.dir, mode);
      const file = join(dirname(grace.dir), 'grace');
      copyFileSync(program[0], file);
      const backend = await startBackend(t, 'one');
      const token = join(dirname(grace.dir), 'token');
      writeFileSync(token, 'a-token-of-more-than-sixteen-characters', { mode: 0o600 });
      const src = `unix:${grace.dir}-in:mode=600`;
      await grace.ok(
        'start',
        '--access-log',
        join(grace.dir, 'access'),
        '--admin',
        `unix:${grace.dir}/admin`,
        src,
        backend.endpoint,
      );
      await grace.ok('restart', '--exec', file);
      const { pid, keeper } = await grace.status();
      const names = readdirSync(grace.dir);
      for (const name of [
        'grace.sock',
        `grace-${pid}.sock`,
        'grace.lock',
        'state.json',
        'grace.log',
        'grace.pid',
        'counters.json',
        'ready',
        'access',
        'admin',
      ])
        assert.ok(names.includes(name), `${name} of ${names}`);

      if (mode === 0o700) assert.notEqual(asNobody('ls', grace.dir).code, 0);
      const probe = `
        const { readFileSync } = require('fs'); const { connect } = require('net');
        for (const path of process.argv.slice(1)) {
          try { readFileSync(path); console.log('read', path); } catch (error) { if (!/EACCES|ENXIO/.test(error.code) && !/\\.lock$/.test(path)) console.log(error.code, path); }
          connect(path).on('connect', () => console.log('connected', path)).on('error', (error) => { if (error.code !== 'EACCES' && !/\\.lock$/.test(path)) console.log(error.code, path); });
        }`;
      const paths = [...names.map((name) => join(grace.dir, name)), `${grace.dir}-in`];
      const node = join(dirname(grace.dir), 'node');
      copyFileSync(process.execPath, node);
      assert.deepEqual(asNobody(node, '-e', probe, ...paths), { code: 0, text: '' });
      for (const each of [pid, keeper!.pid])
        for (const name of ['environ', 'fd', 'mem', 'maps'])
          assert.notEqual(asNobody('head', '-c1', `/proc/${each}/${name}`).code, 0, name);
      const { code, text } = asNobody(file, '-d', grace.dir, 'ls');
      assert.notEqual(code, 0);
      assert.doesNotMatch(text, /one|127\.0\.0\.1/);
      assert.equal(asNobody('kill', String(pid)).code, 1);
    },
  );
}

test(
  'what lies in the state dir in the place of a file of the daemon is replaced, and leads nobody elsewhere',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'one');
    mkdirSync(grace.dir, { mode: 0o700 });
    const victim = `${grace.dir}-victim`;
    writeFileSync(victim, 'precious', { mode: 0o640 });
    const names = ['grace.pid', 'ready', 'counters.json', 'services.json'];
    for (const name of names) symlinkSync(victim, join(grace.dir, name));
    const planted = createServer((socket) => socket.destroy()).listen(join(grace.dir, 'grace.sock'));
    await once(planted, 'listening');
    t.after(() => planted.close());
    const daemon = grace.spawn('daemon');
    await until(
      () => `it serves: ${daemon.outcome().stderr}${grace.log()}`,
      () => grace.log().includes('serving'),
      { limitMs: 20_000 },
    );
    await grace.ok('start', 'tcp:0:interface=127.0.0.1', backend.endpoint);
    const { pid } = await grace.status();
    await kill(pid);
    await until('another daemon serves', async () => (await grace.status()).pid !== pid);
    assert.equal(readFileSync(victim, 'utf8'), 'precious');
    assert.equal(statSync(victim).mode & 0o777, 0o640);
    await grace.ok('stop', '--now');
    await daemon.ended;
  },
);

test(
  'the mode of a Unix source is set on its socket alone, whatever lies in its place by then',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'one');
    const [path, victim] = [`${grace.dir}-in`, `${grace.dir}-victim`];
    writeFileSync(victim, 'precious', { mode: 0o600 });
    await grace.ok('start', `unix:${path}:mode=600`, backend.endpoint);
    spawnSync('ln', ['-sf', victim, path]);
    const { code, stderr } = await grace.run('start', '--switch', `unix:${path}:mode=666`, backend.endpoint);
    assert.equal(statSync(victim).mode & 0o777, 0o600);
    assert.notEqual(code, 0, stderr);
    assert.match(stderr, /^grace: .*\n(hint: .*\n)?$/);
  },
);

test(
  'no file and no socket of a daemon has at any moment more rights than it is to have, whatever the umask',
  { timeout, skip: skip || (spawnSync('strace', ['-V']).error ? 'it needs strace' : false) },
  async (t) => {
    const grace = makeGrace(t);
    const [trace, path] = [`${grace.dir}-trace`, `${grace.dir}-in`];
    const args = [
      '-f',
      '-qq',
      '--seccomp-bpf',
      '-e',
      'trace=openat,open,mkdir,mkdirat,bind,chmod,fchmod,fchmodat,listen,umask',
      '-o',
      trace,
    ];
    const daemon = spawn(
      'sh',
      [
        '-c',
        'umask 0; exec "$@"',
        'sh',
        'strace',
        ...args,
        ...program,
        '-d',
        grace.dir,
        'daemon',
        '--no-keeper',
        '--log',
        join(grace.dir, 'grace.log'),
        `unix:${path}:mode=640=tcp:127.0.0.1:1`,
      ],
      { stdio: 'ignore' },
    );
    t.after(() => void daemon.kill('SIGKILL'));
    await until('it serves', () => grace.log().includes('serving'), { limitMs: 60_000 });
    await grace.ok('stop', '--now');
    await until('strace has written', () => daemon.exitCode !== null);
    const lines = readFileSync(trace, 'utf8').split('\n');
    const made = lines.filter((line) => line.includes(dirname(grace.dir)) && /O_CREAT|mkdir/.test(line));
    assert.ok(made.length > 4, made.join('\n'));
    assert.deepEqual(
      made.filter((line) => !/, 0[67]00[ )]/.test(line)),
      [],
    );
    const modes = new Map<string, string>();
    let binds = 0;
    for (const line of lines) {
      const [, fd, mode] = /\bfchmod\((\d+), 0(\d+)\b/.exec(line) ?? [];
      if (fd) modes.set(fd, mode!);
      const [, bound, name] = /\bbind\((\d+), \{sa_family=AF_UNIX, sun_path="([^"]+)"/.exec(line) ?? [];
      if (!bound || !name!.startsWith(dirname(grace.dir))) continue;
      binds++;
      assert.equal(modes.get(bound), name === path ? '640' : '600', line);
    }
    assert.equal(binds, 2);
    // Then none but that of the source is changed, to what it is to be.
    const changed = lines.filter((line) => /\b(chmod|fchmodat)\(/.test(line) && !/, 0600\b/.test(line));
    assert.deepEqual(
      changed.filter((line) => !/\/proc\/self\/fd\/\d+", 0640\b/.test(line)),
      [],
    );
  },
);
