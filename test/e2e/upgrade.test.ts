/**
 * The life of an installed grace, with real executables of two versions, a real release of each, and
 * a daemon that is under load all the time.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { bundle, hostTarget, makeExecutable } from '../../scripts/build.ts';
import { packRelease } from '../../scripts/release/pack.ts';
import type { StatusResult } from '../../src/control/shapes.ts';
import { machine, openReleaseServer } from '../install/release-server.ts';
import type { ReleaseServer } from '../install/release-server.ts';
import { openClient, startBackend } from './backend.ts';
import { ConnectingClients, startGreeter } from './connecting-clients.ts';
import { isRunning, root, runtime } from './grace.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1';

type Outcome = { code: number; stdout: string; stderr: string };

function run(
  file: string,
  args: readonly string[],
  { input = '', env = {} }: { input?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(file, args, { env: { ...process.env, NO_COLOR: '1', ...env } }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
    child.stdin!.end(input);
  });
}

/** An executable of this tree that says that it is of another version, released. */
async function release(server: ReleaseServer, version: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'grace-release-'));
  const bundleFile = join(directory, 'grace.cjs');
  const outfile = join(directory, 'grace');
  await bundle(bundleFile, { version, publicKeys: server.key.publicPem, releaseUrl: server.url });
  await makeExecutable({ target: hostTarget(), bundleFile, outfile });
  await packRelease({
    root,
    version,
    executables: new Map([[machine, outfile]]),
    outdir: server.directory,
    key: server.key,
    releaseUrl: server.url,
    level: 1,
  });
  rmSync(directory, { recursive: true });
}

function makeNewest({ directory }: ReleaseServer, version: string): void {
  rmSync(join(directory, 'latest/download'));
  symlinkSync(`../download/v${version}`, join(directory, 'latest/download'));
}

/** An installation below a prefix, and its daemon. */
function makeInstallation(t: TestContext, server: ReleaseServer) {
  const prefix = mkdtempSync(join(tmpdir(), 'grace-life-'));
  const file = join(prefix, 'bin/grace');
  const env = { GRACE_DIR: join(prefix, 'state'), HOME: prefix };
  const installation = {
    prefix,
    file,
    run: (...args: string[]) => run(file, args, { env }),
    async ok(...args: string[]): Promise<string> {
      const { code, stdout, stderr } = await installation.run(...args);
      assert.equal(code, 0, `grace ${args.join(' ')}: ${stderr}${stdout}`);
      return stdout;
    },
    install: (...args: string[]) =>
      run('sh', ['-s', '--', '--prefix', prefix, ...args], {
        input: readFileSync(join(server.directory, 'install.sh'), 'utf8'),
        env,
      }),
    status: async (): Promise<StatusResult> => JSON.parse(await installation.ok('status', '--json')),
  };
  t.after(async () => {
    if (existsSync(file)) await installation.run('stop', '--now');
    rmSync(prefix, { recursive: true, force: true });
  });
  return installation;
}

test(
  'installed, upgraded under load, a broken version refused, gone back, deleted while it runs: nobody is refused or cut off',
  { timeout, skip: runtime !== 'executable' },
  async (t) => {
    const server = await openReleaseServer(t);
    await release(server, '1.1.0');
    await release(server, '1.0.0');
    const grace = makeInstallation(t, server);
    const installed = await grace.install();
    assert.equal(installed.code, 0, installed.stderr);
    assert.match(installed.stdout, /Installed grace 1\.0\.0 as /);
    assert.match(await grace.ok('--version'), /^grace 1\.0\.0\ncommit \w+\nnode v26\.\d+\.\d+ \(.*\)\nengine \w+.*\n$/);

    const greeter = await startGreeter();
    t.after(() => void greeter.server.close());
    const backend = await startBackend(t, 'A');
    await grace.ok('start', src, `tcp:127.0.0.1:${greeter.port}`);
    await grace.ok('start', `unix:${grace.prefix}/app.sock`, backend.endpoint);
    const kept = await openClient(t, { path: `${grace.prefix}/app.sock` });
    assert.equal(await kept.line(), 'A');
    const rows: { src: string; listening: string }[] = JSON.parse(await grace.ok('ls', '--json'));
    const clients = new ConnectingClients(
      Number(
        rows
          .find((row) => row.src === src)!
          .listening.split(':')
          .at(-1),
      ),
      { count: 2 },
    );
    t.after(() => clients.stop());

    const other = join(grace.prefix, 'other');
    await grace.ok('-d', other, 'start', src, backend.endpoint);
    makeNewest(server, '1.1.0');
    const before = await grace.status();
    assert.deepEqual(await grace.run('upgrade', '--check'), {
      code: 100,
      stdout: 'grace 1.1.0 is there; this is 1.0.0\n',
      stderr: '',
    });
    const upgraded = await grace.ok('upgrade', '--timeout', '100s');
    assert.match(upgraded, /Upgraded .*: 1\.0\.0 -> 1\.1\.0\nRestarted: pid \d+ \(1\.0\.0\) -> pid \d+ \(1\.1\.0\)\n/);
    assert.ok(upgraded.includes(`Restarted ${other}: pid `), upgraded);
    assert.equal((JSON.parse(await grace.ok('-d', other, 'status', '--json')) as StatusResult).version, '1.1.0');
    await grace.ok('-d', other, 'stop');
    const after = await grace.status();
    assert.equal(after.version, '1.1.0');
    assert.notEqual(after.pid, before.pid);
    assert.equal(await kept.echo('still here'), 'still here');

    // It says its version, and then does not come up.
    await server.publish('1.2.0', '#!/bin/sh\n[ "$1" = --version ] && echo \'grace 1.2.0\' && exit 0\nexit 7\n');
    const { ino } = statSync(grace.file);
    const refused = await grace.run('upgrade', '--timeout', '100s');
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /^grace: cannot upgrade to 1\.2\.0: the new process exited with code 7 before it served\nhint: .* is 1\.1\.0 again, and the daemon goes on as before\n$/,
    );
    assert.equal(statSync(grace.file).ino, ino);
    assert.equal((await grace.status()).pid, after.pid);

    assert.match(
      await grace.ok('upgrade', '--to', '1.0.0', '--timeout', '100s'),
      /1\.1\.0 -> 1\.0\.0\nRestarted: .*\(1\.0\.0\)\n/,
    );
    const back = await grace.status();
    assert.equal(back.version, '1.0.0');

    rmSync(grace.file);
    assert.equal(isRunning(back.pid), true);
    const again = await grace.install('--version', '1.1.0', '--restart');
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /A daemon of grace 1\.0\.0 runs[^\n]*\nRestarted: .*\(1\.0\.0\) -> .*\(1\.1\.0\)/);
    assert.equal((await grace.status()).version, '1.1.0');
    assert.equal(await kept.echo('after all of it'), 'after all of it');
    assert.deepEqual(readdirSync(join(grace.prefix, 'bin')), ['grace']);

    await clients.stop();
    const { served, refused: turnedAway, cut } = clients.tally;
    t.diagnostic(`${served} connections served, ${turnedAway} refused, ${cut} cut off`);
    assert.deepEqual([turnedAway, cut], [0, 0]);
    assert.ok(served > 100);
  },
);
