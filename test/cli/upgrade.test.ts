import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { lockPrivately } from '../../src/sys/private-lock.ts';
import { fakeGrace, machine, makeKey, makeTempDir, openReleaseServer } from '../install/release-server.ts';
import type { ReleaseServer } from '../install/release-server.ts';
import { openFakeDaemon } from './fake-daemon.ts';
import type { Answer } from './fake-daemon.ts';
import { runWords } from './run-cli.ts';
import type { Outcome } from './run-cli.ts';

const timeout = 60_000;
const status = {
  result: {
    pid: 100,
    version: '0.1.0',
    uptimeMs: 1,
    engine: 'native',
    engineReason: 'test',
    dir: '/nowhere',
    rules: 0,
    connections: 0,
    keeper: null,
    generations: [],
  },
};

type Site = {
  server: ReleaseServer;
  keyFile: string;
  /** The installed executable, of version 0.1.0. */
  file: string;
  /** Files beside it. */
  beside(): string[];
  upgrade(...words: string[]): Promise<Outcome>;
};

/** An installed grace 0.1.0, and a server that has 0.2.0. */
async function openSite(t: TestContext, { dir = '/nowhere/state', prefix = makeTempDir(t) } = {}): Promise<Site> {
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  await server.publish('0.2.0');
  const file = join(prefix, 'bin/grace');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, fakeGrace('0.1.0'), { mode: 0o755 });
  const keyFile = join(makeTempDir(t), 'key.pem');
  writeFileSync(keyFile, server.key.publicPem);
  return {
    server,
    keyFile,
    file,
    beside: () => readdirSync(dirname(file)),
    upgrade: (...words) =>
      runWords(['upgrade', '-d', dir, '--from', server.url, '--key', keyFile, ...words], {
        version: '0.1.0',
        self: { file, args: [] },
      }),
  };
}

test('upgrade replaces the executable by the newest one, and says so', { timeout }, async (t) => {
  const { file, upgrade, beside } = await openSite(t);
  chmodSync(file, 0o750);
  linkSync(file, `${file}.kept`);
  assert.deepEqual(await upgrade(), { exitCode: 0, stdout: `Upgraded ${file}: 0.1.0 -> 0.2.0\n`, stderr: '' });
  assert.equal(readFileSync(file, 'utf8'), fakeGrace('0.2.0'));
  assert.equal(statSync(file).mode & 0o777, 0o750);
  assert.equal(readFileSync(`${file}.kept`, 'utf8'), fakeGrace('0.1.0'), 'the old file was replaced, not written to');
  assert.deepEqual(beside(), ['grace', 'grace.kept']);
});

test('upgrade replaces what a symbolic link leads to', { timeout }, async (t) => {
  const { file, server, keyFile } = await openSite(t);
  const link = join(makeTempDir(t), 'grace');
  symlinkSync(file, link);
  const { stdout } = await runWords(['upgrade', '-d', '/nowhere', '--key', keyFile], {
    version: '0.1.0',
    self: { file: link, args: [] },
    env: { GRACE_RELEASE_URL: server.url },
  });
  assert.equal(stdout, `Upgraded ${file}: 0.1.0 -> 0.2.0\n`);
  assert.equal(lstatSync(link).isSymbolicLink(), true);
  assert.equal(readFileSync(file, 'utf8'), fakeGrace('0.2.0'));
});

test('upgrade --check tells which version is there and changes nothing', { timeout }, async (t) => {
  const { file, server, upgrade, beside } = await openSite(t);
  const checked = async (...args: string[]) => {
    const { exitCode, stdout } = await upgrade('--check', ...args);
    return [exitCode, stdout];
  };
  assert.deepEqual(await checked(), [100, 'grace 0.2.0 is there; this is 0.1.0\n']);
  assert.deepEqual(await checked('--to', '0.1.0'), [0, 'This is grace 0.1.0 already\n']);
  assert.deepEqual(await checked('--json'), [
    100,
    '{"version":"0.1.0","available":"0.2.0","isNewer":true,"changed":false}\n',
  ]);
  await server.publish('0.1.0');
  assert.deepEqual(await checked(), [0, 'grace 0.1.0 is the newest\n']);
  assert.equal((await upgrade()).stdout, 'grace 0.1.0 is the newest\n');
  await server.publish('0.0.9');
  assert.equal(
    (await upgrade()).stdout,
    'This is grace 0.1.0; the newest that is released is 0.0.9\n',
    'no way back without being asked',
  );
  assert.equal(readFileSync(file, 'utf8'), fakeGrace('0.1.0'));
  assert.deepEqual(beside(), ['grace']);
  assert.equal((await upgrade('--to', '0.0.9')).stdout, `Downgraded ${file}: 0.1.0 -> 0.0.9\n`);
});

test('upgrade restarts the daemon by the path it was started from', { timeout }, async (t) => {
  const restarted = { result: { oldPid: 100, newPid: 200, oldVersion: '0.1.0', newVersion: '0.2.0', draining: 2 } };
  const answer: Answer = ({ command }) => [command === 'status' ? status : restarted];
  await using daemon = await openFakeDaemon(answer);
  const { file, upgrade, beside } = await openSite(t, { dir: daemon.dir });
  const { exitCode, stdout } = await upgrade('--timeout', '3s');
  assert.equal(exitCode, 0);
  assert.equal(
    stdout,
    `Upgraded ${file}: 0.1.0 -> 0.2.0\nRestarted: pid 100 (0.1.0) -> pid 200 (0.2.0)\n2 open connections will finish in the old process\n`,
  );
  assert.deepEqual(daemon.requests.at(-1), { command: 'restart', exec: { file, args: [] }, timeoutMs: 3000 });
  assert.deepEqual(beside(), ['grace']);
});

test('upgrade --json tells what was done', { timeout }, async (t) => {
  const restarted = { oldPid: 100, newPid: 200, oldVersion: '0.1.0', newVersion: '0.2.0', draining: 0 };
  await using daemon = await openFakeDaemon(({ command }) => [command === 'status' ? status : { result: restarted }]);
  const { file, upgrade } = await openSite(t, { dir: daemon.dir });
  const { stdout } = await upgrade('--json');
  assert.deepEqual(JSON.parse(stdout), {
    version: '0.1.0',
    available: '0.2.0',
    isNewer: true,
    changed: true,
    target: file,
    restarted: [{ dir: daemon.dir, ...restarted }],
    notes: [],
  });
});

test('on a terminal upgrade shows how much of it has come, and leaves nothing of that', { timeout }, async (t) => {
  const { file, server, keyFile } = await openSite(t);
  const { stdout } = await runWords(['upgrade', '-d', '/nowhere/state', '--from', server.url, '--key', keyFile], {
    version: '0.1.0',
    self: { file, args: [] },
    isTTY: true,
  });
  assert.match(stdout, /Kdownloading grace 0\.2\.0: \d[\d.]* k?B of \d[\d.]* k?B \(100 %\)/);
  assert.ok(stdout.endsWith(`\r\u001b[KUpgraded ${file}: 0.1.0 -> 0.2.0\n`));
});

test('upgrade puts the old executable back when the new daemon does not come up', { timeout }, async (t) => {
  let duringRestart = '';
  let executable = '';
  await using daemon = await openFakeDaemon(({ command }) => {
    if (command === 'status') return [status];
    duringRestart = readFileSync(executable, 'utf8');
    return [{ error: { message: 'cannot restart: the new process exited with code 7 before it served', exitCode: 1 } }];
  });
  const { file, upgrade, beside } = await openSite(t, { dir: daemon.dir });
  executable = file;
  const { ino } = statSync(file);
  const { exitCode, stdout, stderr } = await upgrade();
  assert.equal(exitCode, 1);
  assert.equal(stdout, '');
  assert.equal(
    stderr,
    `grace: cannot upgrade to 0.2.0: the new process exited with code 7 before it served\nhint: ${file} is 0.1.0 again, and the daemon goes on as before\n`,
  );
  assert.equal(duringRestart, fakeGrace('0.2.0'));
  assert.equal(readFileSync(file, 'utf8'), fakeGrace('0.1.0'));
  assert.equal(statSync(file).ino, ino, 'it is the very same file');
  assert.deepEqual(beside(), ['grace']);
});

test('upgrade changes nothing when the release cannot be trusted or does not run', { timeout }, async (t) => {
  const { file, server, upgrade, beside } = await openSite(t);
  const refuses = async (expected: RegExp, ...words: string[]): Promise<void> => {
    const { exitCode, stderr } = await upgrade(...words);
    assert.equal(exitCode, 1, stderr);
    assert.match(stderr, expected);
    assert.equal(readFileSync(file, 'utf8'), fakeGrace('0.1.0'));
    assert.deepEqual(beside(), ['grace']);
  };
  await refuses(/there is no release 9\.9\.9 at/, '--to', '9.9.9');
  const artifact = join(server.directory, `download/v0.2.0/grace-0.2.0-${machine}.zst`);
  writeFileSync(artifact, 'something else');
  await refuses(/is damaged: its SHA-256 is not that of SHA256SUMS/);
  rmSync(artifact);
  await refuses(/there is no http:/);
  await server.publish('0.2.0', 'not a program');
  await refuses(/the new executable does not run here/);
  await server.publish('0.2.0', fakeGrace('0.3.0'));
  await refuses(/it says that it is "grace 0\.3\.0"/);
  await server.publish('0.2.0', fakeGrace('0.2.0'), makeKey());
  await refuses(/the signature is not of a key that this grace trusts/);
  await server.publish('0.2.0', fakeGrace('0.2.0'), null);
  await refuses(/the release is not signed/);
  // The signed sums of an older release in the place of another.
  await server.publish('0.1.0');
  await server.publish('0.2.0');
  for (const name of ['SHA256SUMS', 'SHA256SUMS.sig'])
    writeFileSync(
      join(server.directory, 'download/v0.2.0', name),
      readFileSync(join(server.directory, 'download/v0.1.0', name)),
    );
  await refuses(/what is at .* as 0\.2\.0 is 0\.1\.0/, '--to', '0.2.0');
});

test('upgrade needs a place, a key, and an executable to replace', { timeout }, async (t) => {
  const { file, upgrade } = await openSite(t);
  const refuses = async (words: string[], expected: RegExp, exitCode = 2): Promise<void> => {
    const outcome = await runWords(['upgrade', ...words], { version: '0.1.0', self: { file, args: [] } });
    assert.match(outcome.stderr, expected);
    assert.equal(outcome.exitCode, exitCode);
  };
  await refuses([], /does not know where releases are\nhint: .*--from URL/);
  await refuses(['--from', 'http://127.0.0.1:1'], /trusts no key\nhint: .*--key FILE/);
  await refuses(['--from', 'ftp://127.0.0.1', '--key', '/dev/null'], /expected an https address/);
  await refuses(['--from', 'http://127.0.0.1:1', '--key', '/dev/null'], /cannot read the public key/);
  await refuses(['--to', 'newest'], /"newest" is no version/);
  const fromSource = await runWords(
    ['upgrade', '--check', '--from', 'http://127.0.0.1:1', '--key', join(dirname(file), 'none')],
    {
      self: { file, args: ['main.ts'] },
    },
  );
  assert.equal(fromSource.exitCode, 2);
  rmSync(file);
  assert.match((await upgrade()).stderr, /cannot find the executable/);
});

test('of two upgrades at once, one is told to wait; what a killed one left is removed', { timeout }, async (t) => {
  const { file, upgrade, beside } = await openSite(t);
  const lock = lockPrivately(join(dirname(file), '.grace-upgrade.lock'));
  assert.ok(lock !== null && lock !== 'held');
  assert.match((await upgrade()).stderr, /another upgrade is at it/);
  lock.release();
  mkdirSync(join(dirname(file), '.grace-upgrade-killed'));
  assert.equal((await upgrade()).exitCode, 0);
  assert.deepEqual(beside(), ['grace']);
});

test('upgrade brings the manual page and the completions along that are there', { timeout }, async (t) => {
  const { file, upgrade } = await openSite(t);
  const share = join(dirname(dirname(file)), 'share');
  mkdirSync(join(share, 'man/man1'), { recursive: true });
  writeFileSync(join(share, 'man/man1/grace.1'), 'old');
  assert.equal((await upgrade()).exitCode, 0);
  assert.equal(readFileSync(join(share, 'man/man1/grace.1'), 'utf8'), '0.2.0: man\n');
  assert.deepEqual(readdirSync(share), ['man']);
});

test('an upgrade that is given up while it downloads leaves nothing behind', { timeout }, async (t) => {
  const { file, server, keyFile, beside } = await openSite(t);
  const aborter = new AbortController();
  server.spoil(/\.zst$/, 'silent');
  server.onRequest = (path) => void (path.endsWith('.zst') && aborter.abort(new Error('interrupted')));
  const outcome = await runWords(['upgrade', '-d', '/nowhere', '--from', server.url, '--key', keyFile], {
    version: '0.1.0',
    self: { file, args: [] },
    signal: aborter.signal,
  });
  assert.deepEqual(outcome, { exitCode: 130, stdout: '', stderr: '' });
  assert.deepEqual(beside(), ['grace']);
});

test('an upgrade without space for it leaves what is there', { timeout }, async (t) => {
  const prefix = makeTempDir(t);
  if (process.getuid?.() !== 0 || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', prefix]).status !== 0)
    return t.skip('it takes root to mount a small file system');
  try {
    const { file, server, upgrade, beside } = await openSite(t, { prefix });
    for (const padding of ['x'.repeat(1024 * 1024), randomBytes(512 * 1024).toString('hex')]) {
      await server.publish('0.2.0', fakeGrace('0.2.0', padding));
      const { exitCode, stderr } = await upgrade();
      assert.equal(exitCode, 1);
      assert.match(stderr, /^grace: cannot (unpack|download) .*ENOSPC/);
      assert.equal(readFileSync(file, 'utf8'), fakeGrace('0.1.0'));
      assert.deepEqual(beside(), ['grace']);
    }
  } finally {
    spawnSync('umount', [prefix]);
  }
});

test('a key that has no end, and a proxy that is none, are told of in a line', { timeout }, async (t) => {
  const publicFile = join(makeTempDir(t), 'key.pem');
  const { publicKey } = generateKeyPairSync('ed25519');
  writeFileSync(publicFile, publicKey.export({ type: 'spki', format: 'pem' }));
  const upgrade = (key: string, env = {}) =>
    runWords(['upgrade', '--from', 'http://127.0.0.1:9999/', '--key', key], { env });
  for (const [outcome, problem] of [
    [await upgrade(''), /^grace: option --key needs a file, not an empty text\n$/],
    [await upgrade('/dev/zero'), /^grace: cannot read the key \/dev\/zero: it is larger than 1 MiB\n$/],
    [
      await upgrade(publicFile, { HTTP_PROXY: 'secret' }),
      /^grace: HTTP_PROXY is no address of a proxy: expected one like [^\n]*\n$/,
    ],
    [await upgrade(publicFile, { https_proxy: 'ftp://secret:1' }), /^grace: https_proxy is no address of a proxy: /],
  ] as const) {
    assert.equal(outcome.exitCode, 2, outcome.stderr);
    assert.match(outcome.stderr, problem);
    assert.ok(!outcome.stderr.includes('secret'));
  }
});
