/** A daemon of root that the members of a group may command. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { startBackend } from './backend.ts';
import { makeGrace, program, runtime, startProgram } from './grace.ts';
import type { Outcome } from './grace.ts';
import { kill, pidInFile } from './processes.ts';
import { until } from '../until.ts';

const timeout = 120_000;
const canTry =
  runtime === 'executable' &&
  process.geteuid?.() === 0 &&
  spawnSync('setpriv', ['--reuid=65534', '--regid=1', '--clear-groups', 'true']).status === 0;
const skip = canTry ? false : 'it takes root, setpriv and the executable';
/** A group that every Linux has, and one number that is nobody's. */
const [group, groupId] = ['daemon', 1];
const src = 'tcp:0:interface=127.0.0.1';

test(
  'members of the socket group command the daemon, over restart and crash, and nobody else does',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const [a, b] = [await startBackend(t, 'A'), await startBackend(t, 'B')];
    // Where others can reach it.
    chmodSync(dirname(grace.dir), 0o755);
    const file = join(dirname(grace.dir), 'grace');
    copyFileSync(program[0], file);
    const daemon = spawn(file, ['-d', grace.dir, 'daemon', '--socket-group', group], {
      stdio: 'ignore',
      env: { ...process.env, GRACE_LOG: join(grace.dir, 'grace.log') },
    });
    t.after(() => daemon.kill('SIGKILL'));
    await until('it serves', () => grace.log().includes('serving'));

    const as =
      (gid: number) =>
      (...args: string[]): Outcome => {
        const { status, stdout, stderr } = spawnSync(
          'setpriv',
          ['--reuid=65534', `--regid=${gid}`, '--clear-groups', file, '-d', grace.dir, ...args],
          { encoding: 'utf8', timeout: 60_000, env: { PATH: process.env['PATH'], HOME: '/' } },
        );
        return { code: status, stdout, stderr };
      };
    const [member, stranger] = [as(groupId), as(65_534)];
    const modes = () =>
      [grace.dir, join(grace.dir, 'grace.sock')].map((path) => [
        (statSync(path).mode & 0o777).toString(8),
        statSync(path).gid,
      ]);
    const isShared = () =>
      assert.deepEqual(modes(), [
        ['710', groupId],
        ['660', groupId],
      ]);
    const mayCommand = (dst: string) => {
      isShared();
      assert.deepEqual(member('switch', src, dst), { code: 0, stdout: 'Switched\n', stderr: '' });
      assert.deepEqual(
        JSON.parse(member('ls', '--json').stdout).map((row: { dst: string }) => row.dst),
        [dst],
      );
      assert.equal(member('status').code, 0);
    };

    assert.deepEqual(member('start', src, a.endpoint), { code: 0, stdout: 'Started\n', stderr: '' });
    mayCommand(b.endpoint);
    const refused = stranger('ls');
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /^grace: .*(EACCES|permission|may not)/);

    const other = member('restart', '--exec', '/bin/sleep');
    assert.equal(other.code, 1);
    assert.match(
      other.stderr,
      /^grace: a restart with another executable than .*grace is for root and the daemon's own user alone, not for the user with id 65534\nhint: /,
    );
    const restarted = member('restart', '--timeout', '60s');
    assert.equal(restarted.code, 0, restarted.stderr);
    mayCommand(a.endpoint);

    const { pid } = await grace.status();
    await kill(pid, 'SIGKILL');
    await until('it is served again', async () => (await grace.status()).pid !== pid);
    mayCommand(b.endpoint);
    // Nothing else in there is theirs.
    for (const name of ['state.json', 'grace.log', 'grace.lock'])
      assert.equal(statSync(join(grace.dir, name)).mode & 0o077, 0, name);
    assert.match(member('logs').stderr, /^grace: .*grace\.log/);
    assert.deepEqual(member('stop', '--now'), { code: 0, stdout: 'Stopped\n', stderr: '' });

    // Without the option nobody but root gets in again.
    await grace.ok('start', `unix:${grace.dir}.sock`, a.endpoint);
    assert.deepEqual(
      modes().map(([mode]) => mode),
      ['700', '600'],
    );
    assert.equal(member('ls').code, 1);
  },
);

test(
  "a group that there is not, or that is not the daemon's to give to, is said before anything is served",
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const unknown = await startProgram(['-d', grace.dir, 'daemon', '--socket-group', 'no-such-group']).ended;
    assert.equal(unknown.code, 2);
    assert.match(
      unknown.stderr,
      /^grace: --socket-group: there is no group "no-such-group"\nhint: make it with: groupadd --system no-such-group\n$/,
    );
    assert.ok(!existsSync(grace.dir));

    chmodSync(dirname(grace.dir), 0o777);
    const file = join(dirname(grace.dir), 'grace');
    copyFileSync(program[0], file);
    const { status, stderr } = spawnSync(
      'setpriv',
      [
        '--reuid=65534',
        '--regid=65534',
        '--clear-groups',
        file,
        '-d',
        grace.dir,
        'daemon',
        '--socket-group',
        String(groupId),
      ],
      { encoding: 'utf8', timeout: 60_000, env: { HOME: '/' } },
    );
    assert.equal(status, 1, stderr);
    assert.match(
      stderr,
      /cannot give .* to the group 1 \(--socket-group\): .*EPERM\)?\n(hint: )?.*the user that the daemon runs as must be a member of that group, or root/,
    );
    assert.equal(pidInFile(join(grace.dir, 'grace.pid')), null);
  },
);
