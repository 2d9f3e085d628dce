/** A daemon that root starts for another user: it opens low ports, and then has that user's rights alone. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback, program, runtime, startProgram } from './grace.ts';
import type { Grace } from './grace.ts';
import { kill, pidInFile } from './processes.ts';
import { until } from '../until.ts';

const timeout = 120_000;
const firstOpenPort = Number(
  process.platform === 'linux' ? readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8') : 0,
);
const skip =
  runtime === 'executable' && process.getuid?.() === 0 && firstOpenPort > 443
    ? false
    : 'it takes root on Linux, the executable, and low ports that are the user root alone may open';
const uid = 65_534;

/** A grace whose file and state dir `nobody` may reach. */
function makePlace(t: TestContext): { grace: Grace; file: string } {
  const grace = makeGrace(t);
  chmodSync(dirname(grace.dir), 0o755);
  const file = join(dirname(grace.dir), 'grace');
  copyFileSync(program[0], file);
  chmodSync(file, 0o755);
  return { grace, file };
}

function startAs(t: TestContext, { grace, file }: { grace: Grace; file: string }, ...args: string[]) {
  const before = program[0];
  program[0] = file;
  try {
    const daemon = startProgram(['-d', grace.dir, 'daemon', '--log', '-', ...args], {});
    t.after(() => daemon.child.kill('SIGKILL'));
    return daemon;
  } finally {
    program[0] = before;
  }
}

/** The ids and capabilities of every thread, once each. */
function rightsOf(pid: number): string[] {
  const all = readdirSync(`/proc/${pid}/task`).map((task) =>
    (
      readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8').match(
        /^(?:Uid|Gid|Groups|Cap(?:Inh|Prm|Eff|Amb)):.*$/gm,
      ) ?? []
    )
      .map((line) => line.replace(/\s+/g, ' ').trim())
      .join('; '),
  );
  return [...new Set(all)];
}

const none = '0'.repeat(16);
const ofNobody = [
  `Uid: ${uid} ${uid} ${uid} ${uid}; Gid: ${uid} ${uid} ${uid} ${uid}; Groups: ${uid}; CapInh: ${none}; CapPrm: ${none}; CapEff: ${none}; CapAmb: ${none}`,
];

async function greeting(t: TestContext, port: number): Promise<string> {
  const client = await openClient(t, { host: ownLoopback, port });
  const line = await client.line();
  await client.end();
  return line;
}

test(
  'low ports are opened by root, and every thread of keeper and daemon has the rights of the user alone, over restart, crash and stop',
  { timeout, skip },
  async (t) => {
    const place = makePlace(t);
    const { grace, file } = place;
    const backend = await startBackend(t, 'hello');
    const src = (port: number) => `tcp:${port}:interface=${ownLoopback}`;
    const start = () => startAs(t, place, '--user', 'nobody', '--group', String(uid), `${src(80)}=${backend.endpoint}`);
    mkdirSync(grace.dir, { mode: 0o700 });
    chownSync(grace.dir, uid, uid);
    const daemon = start();
    await until('it serves', () => / serving/.test(daemon.outcome().stderr));
    const keeper = pidInFile(join(grace.dir, 'grace.pid'))!;
    assert.equal(keeper, daemon.child.pid);
    const { pid } = await grace.status();
    for (const each of [keeper, pid]) assert.deepEqual(rightsOf(each), ofNobody);
    assert.equal(await greeting(t, 80), 'hello');

    const client = await openClient(t, { host: ownLoopback, port: 80 });
    assert.equal(await client.line(), 'hello');
    await grace.ok('restart', '--exec', file);
    const { pid: successor } = await grace.status();
    assert.notEqual(successor, pid);
    for (const each of [keeper, successor]) assert.deepEqual(rightsOf(each), ofNobody);
    assert.equal(await greeting(t, 80), 'hello');
    await client.end();

    await kill(successor);
    assert.equal(await greeting(t, 80), 'hello');
    await until('another daemon serves', async () => (await grace.status()).pid !== successor);
    assert.deepEqual(rightsOf((await grace.status()).pid), ofNobody);
    for (const name of readdirSync(grace.dir)) assert.equal(statSync(join(grace.dir, name)).uid, uid, name);

    // Root itself may command it, but what root gave up is gone.
    const refused = await grace.run('start', src(443), backend.endpoint);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /^grace: cannot listen on tcp:.*:443: permission denied \(EACCES\)\nhint: the daemon runs as the user nobody \(65534\), who may not; .*--user.*\n$/,
    );
    await grace.ok('start', src(0), backend.endpoint);
    // The keeper lets go of a low port with its rule.
    await grace.ok('stop', src(80));
    await assert.rejects(openClient(t, { host: ownLoopback, port: 80 }), /ECONNREFUSED/);
    await grace.ok('stop', '--now');
    await daemon.ended;

    // What is stored is opened as well, without a keeper too.
    const again = startAs(t, place, '--user', 'nobody', `${src(443)}=${backend.endpoint}`);
    await until('it serves again', () => / serving/.test(again.outcome().stderr));
    await grace.ok('stop', '--now');
    await again.ended;
    const alone = startAs(t, place, '--user', 'nobody', '--no-keeper');
    await until('it serves what is stored', () => / serving/.test(alone.outcome().stderr));
    assert.equal((await grace.status()).pid, alone.child.pid);
    assert.deepEqual(rightsOf(alone.child.pid!), ofNobody);
    assert.equal(await greeting(t, 443), 'hello');
    await grace.ok('restart', '--exec', file);
    assert.equal(await greeting(t, 443), 'hello');
    assert.deepEqual(rightsOf((await grace.status()).pid), ofNobody);
  },
);

test(
  'root follows no link of the user in the state dir, gives none away that is there, and says what is in the way',
  { timeout, skip },
  async (t) => {
    const place = makePlace(t);
    const { grace, file } = place;
    const base = dirname(grace.dir);
    const refused = async (wanted: RegExp, ...args: string[]) => {
      const { code, stderr } = await startAs(t, place, ...args).ended;
      assert.match(stderr, wanted);
      assert.equal(stderr.trim().split('\n').length, 2);
      return code;
    };
    assert.equal(await refused(/^grace: --user: there is no user "no-such-user"\nhint: /, '--user', 'no-such-user'), 2);
    assert.equal(await refused(/^grace: --group is for a daemon .*\nhint: .*--user/, '--group', '1'), 2);
    assert.equal(
      await refused(/^grace: the user with id 4000000 is not known .*\nhint: .*--group/, '--user', '4000000'),
      2,
    );
    assert.ok(!existsSync(grace.dir));

    // A dir of root's own is not used, and not given away.
    mkdirSync(grace.dir, { mode: 0o700 });
    assert.equal(
      await refused(
        /^grace: cannot use the state dir .*: it belongs to the user with id 0, .*\nhint: .*chown/,
        '--user',
        'nobody',
      ),
      1,
    );
    assert.equal(statSync(grace.dir).uid, 0);

    // What the user has put there leads root nowhere: the secret is neither read nor told.
    const secret = join(base, 'secret');
    writeFileSync(secret, 'root:hidden', { mode: 0o600 });
    chownSync(grace.dir, uid, uid);
    symlinkSync(secret, join(grace.dir, 'state.json'));
    const { stderr } = await startAs(t, place, '--user', 'nobody').ended;
    assert.match(stderr, /cannot read the rules in .*: permission denied/);
    assert.doesNotMatch(stderr, /hidden/);
    assert.equal(statSync(secret).uid, 0);

    // An executable that the user cannot reach could not be restarted.
    chmodSync(file, 0o700);
    assert.equal(
      await refused(
        /^grace: cannot go on as the user "nobody": .* cannot be executed: permission denied.*\nhint: /,
        '--user',
        'nobody',
      ),
      1,
    );
    chmodSync(file, 0o755);
    renameSync(join(grace.dir, 'state.json'), join(base, 'link'));

    // A port that somebody has does not keep the others from being served.
    const squatter = createServer().listen(81, ownLoopback);
    await once(squatter, 'listening');
    t.after(() => squatter.close());
    const backend = await startBackend(t, 'hello');
    const rules = [81, 82].map((port) => `tcp:${port}:interface=${ownLoopback}=${backend.endpoint}`);
    const daemon = startAs(t, place, '--user', String(uid), ...rules);
    await until('it serves', () => / serving/.test(daemon.outcome().stderr));
    assert.match(daemon.outcome().stderr, /^grace: tcp:81:.* is not served until .*address already in use/m);
    assert.equal(await greeting(t, 82), 'hello');
    assert.deepEqual(rightsOf((await grace.status()).pid), ofNobody);
  },
);

test('where only root may write, root makes the state dir and gives it to the user', { timeout, skip }, async (t) => {
  const { file } = makePlace(t);
  const script = `set -e; mount -t tmpfs -o mode=755 none /mnt; g() { "$0" -d /mnt/state "$@"; }
    g daemon --user nobody --log - 2>/mnt/log & trap 'kill -9 $!' EXIT
    while ! g status >/dev/null 2>&1; do kill -0 $!; done; stat -c '%U %a' /mnt/state; g stop --now; wait $!; trap - EXIT`;
  const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'bash', '-c', script, file], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.deepEqual([status, stdout], [0, 'nobody 700\nStopped\n'], stderr);
});

test('a user who is not root cannot go on as another', { timeout, skip }, async (t) => {
  const place = makePlace(t);
  const { status, stderr } = spawnSync(
    'setpriv',
    [
      '--reuid=65534',
      '--regid=65534',
      '--clear-groups',
      place.file,
      '-d',
      place.grace.dir,
      'daemon',
      '--user',
      'daemon',
    ],
    { encoding: 'utf8', timeout: 60_000, env: { HOME: '/' } },
  );
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^grace: cannot go on as the user "daemon": only root may, and this is the user with id 65534\nhint: /,
  );
});
