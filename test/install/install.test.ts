import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
  globSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fakeGrace, machine, makeKey, makeTempDir, openReleaseServer } from './release-server.ts';
import type { ReleaseServer } from './release-server.ts';

const timeout = 60_000;
const shells = [['dash'], ['bash', '--posix'], ['busybox', 'sh']].filter(
  ([file = '']) => spawnSync(file, ['-c', 'exit 0']).error === undefined,
);

type Outcome = { code: number; stdout: string; stderr: string };
type Options = { shell?: string[]; script?: string; env?: NodeJS.ProcessEnv; uid?: number };

/** Run the released install.sh as `curl … | sh` does: from stdin. */
function install(
  server: ReleaseServer,
  args: readonly string[],
  { shell = shells[0]!, script, env = {}, uid }: Options = {},
): Promise<Outcome> {
  const [file = 'sh', ...words] = shell;
  const text = script ?? readFileSync(join(server.directory, 'install.sh'), 'utf8');
  return new Promise((resolve) => {
    const { GRACE_RELEASE_URL: _, ...inherited } = process.env;
    const options = { env: { ...inherited, ...env }, cwd: '/', ...(uid === undefined ? {} : { uid, gid: uid }) };
    const child = execFile(file, [...words, '-s', '--', ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
    child.stdin!.on('error', () => {}); // it ended before it had read everything
    child.stdin!.end(text);
  });
}

/** A directory with nothing but these programs in it, for PATH. */
function programs(t: TestContext, names: readonly string[]): string {
  const directory = makeTempDir(t);
  for (const name of names)
    symlinkSync(
      realpathSync(execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim()),
      join(directory, name),
    );
  return directory;
}

const plainPrograms = [
  'uname',
  'mktemp',
  'sed',
  'head',
  'cut',
  'dirname',
  'mkdir',
  'chmod',
  'mv',
  'cp',
  'rm',
  'df',
  'awk',
  'grep',
  'readlink',
  'gzip',
  'sha256sum',
  'sh',
];

for (const shell of shells) {
  test(`install.sh installs, upgrades and goes back, in ${shell[0]}`, { timeout }, async (t) => {
    const server = await openReleaseServer(t);
    const prefix = join(makeTempDir(t), 'not yet', 'there');
    const grace = join(prefix, 'bin/grace');
    await server.publish('0.1.0');
    const first = await install(server, ['--prefix', prefix], { shell });
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /Installed grace 0\.1\.0 as .*bin\/grace \(checksum and signature verified\)/);
    assert.match(first.stdout, /To undo it: .*rm -f .*bin\/grace .*grace\.1/);
    assert.match(first.stdout, /is not in your PATH/);
    assert.equal(lstatSync(grace).mode & 0o777, 0o755);
    assert.equal(readFileSync(join(prefix, 'share/man/man1/grace.1'), 'utf8'), '0.1.0: man\n');
    assert.equal(
      readFileSync(join(prefix, 'share/fish/vendor_completions.d/grace.fish'), 'utf8'),
      '0.1.0: completion fish\n',
    );

    await server.publish('0.2.0');
    const env = { GRACE_FAKE_RUNNING: '0.1.0' };
    const second = await install(server, [`--prefix=${prefix}`], { shell, env });
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stdout, /Upgraded .*: 0\.1\.0 -> 0\.2\.0/);
    assert.match(second.stdout, /--version 0\.1\.0/);
    assert.match(second.stdout, /A daemon of grace 0\.1\.0 runs\. .*: grace restart\n/);
    assert.doesNotMatch(second.stdout, /Restarted/);
    assert.equal(execFileSync(grace, ['--version'], { encoding: 'utf8' }).split('\n')[0], 'grace 0.2.0');

    const back = await install(server, ['--prefix', prefix, '--version', 'v0.1.0', '--restart'], {
      shell,
      env: { GRACE_FAKE_RUNNING: '0.2.0' },
    });
    assert.equal(back.code, 0, back.stderr);
    assert.match(back.stdout, /Upgraded .*: 0\.2\.0 -> 0\.1\.0/);
    assert.match(back.stdout, new RegExp(`Restarted by ${grace}`));
    assert.deepEqual(readdirSync(join(prefix, 'bin')), ['grace']);
  });

  test(`install.sh leaves what is there when the download is bad, in ${shell[0]}`, { timeout }, async (t) => {
    const server = await openReleaseServer(t);
    const prefix = makeTempDir(t);
    await server.publish('0.1.0');
    await install(server, ['--prefix', prefix], { shell });
    const untouched = async (
      spoil: (server: ReleaseServer) => unknown,
      expected: RegExp,
      options: Options = {},
    ): Promise<void> => {
      const bad = await openReleaseServer(t);
      await bad.publish('0.2.0');
      await spoil(bad);
      const outcome = await install(bad, ['--prefix', prefix, '--from', bad.url], { shell, ...options });
      assert.equal(outcome.code, 1, outcome.stdout + outcome.stderr);
      assert.match(outcome.stderr, expected);
      assert.deepEqual(readdirSync(join(prefix, 'bin')), ['grace']);
      assert.equal(readFileSync(join(prefix, 'bin/grace'), 'utf8'), fakeGrace('0.1.0'));
    };
    const artifact = /grace-0\.2\.0-.*\.(gz|zst)$/;
    await untouched((bad) => bad.spoil(artifact, 'truncated'), /install\.sh: cannot download .*grace-0\.2\.0/);
    await untouched((bad) => bad.spoil(artifact, 'missing'), /install\.sh: cannot download/);
    await untouched((bad) => bad.spoil(/SHA256SUMS$/, 'missing'), /install\.sh: there is no release at/);
    await untouched((bad) => bad.spoil(/SHA256SUMS\.sig$/, 'missing'), /install\.sh: .*is not signed/);
    await untouched((bad) => {
      for (const name of readdirSync(join(bad.directory, 'download/v0.2.0')).filter((each) => artifact.test(each))) {
        writeFileSync(join(bad.directory, 'download/v0.2.0', name), 'something else');
      }
    }, /is damaged: its SHA-256 is [0-9a-f]{64} instead of [0-9a-f]{64}/);
    await untouched(
      (bad) =>
        writeFileSync(
          join(bad.directory, 'download/v0.2.0/SHA256SUMS'),
          `${readFileSync(join(bad.directory, 'download/v0.2.0/SHA256SUMS'), 'utf8')}\n`,
        ),
      /the signature of the release at .* is wrong/,
    );
    // Signed, but by somebody else than the one whose key this install.sh has.
    const script = readFileSync(join(server.directory, 'install.sh'), 'utf8');
    await untouched(
      (bad) => bad.publish('0.2.0', fakeGrace('0.2.0'), makeKey()),
      /the signature of the release at .* is wrong/,
      { script },
    );
  });
}

test('install.sh cut off anywhere does nothing', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  const script = readFileSync(join(server.directory, 'install.sh'), 'utf8');
  for (const part of [0.2, 0.5, 0.8, 0.99]) {
    const prefix = join(makeTempDir(t), 'prefix');
    await install(server, ['--prefix', prefix], { script: script.slice(0, Math.floor(script.length * part)) });
    assert.equal(existsSync(prefix), false, `cut off at ${part}`);
  }
  const prefix = join(makeTempDir(t), 'prefix');
  await install(server, ['--prefix', prefix], { script: script.slice(0, script.lastIndexOf('main "$@"')) });
  assert.equal(existsSync(prefix), false);
});

test(
  'install.sh uses wget and gzip where there is neither curl nor zstd, and goes without openssl',
  { timeout },
  async (t) => {
    const server = await openReleaseServer(t);
    await server.publish('0.1.0');
    for (const wget of [['wget'], ['busybox']]) {
      if (spawnSync(wget[0]!, ['--help']).error) continue;
      const PATH = programs(t, [...plainPrograms, ...wget]);
      if (wget[0] === 'busybox') symlinkSync(join(PATH, 'busybox'), join(PATH, 'wget'));
      const prefix = makeTempDir(t);
      const { code, stdout, stderr } = await install(server, ['--prefix', prefix], {
        shell: ['/bin/sh'],
        env: { PATH },
      });
      assert.equal(code, 0, stderr);
      assert.match(stdout, /note: there is no openssl 3 .*SHA256SUMS alone/);
      assert.match(stdout, /\(checksum verified\)/);
      assert.equal(readFileSync(join(prefix, 'bin/grace'), 'utf8'), fakeGrace('0.1.0'));
    }
    const PATH = programs(t, plainPrograms);
    const { code, stderr } = await install(server, ['--prefix', makeTempDir(t)], { shell: ['/bin/sh'], env: { PATH } });
    assert.equal(code, 1);
    assert.match(stderr, /neither curl nor wget/);
  },
);

test('install.sh --dry-run tells and changes nothing', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  const prefix = join(makeTempDir(t), 'prefix');
  const { code, stdout } = await install(server, ['--prefix', prefix, '--dry-run']);
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(`Would download ${server.url}/download/v0\\.1\\.0/grace-0\\.1\\.0-${machine}`));
  assert.match(stdout, /Would install grace 0\.1\.0 as .*prefix\/bin\/grace/);
  assert.equal(existsSync(prefix), false);
});

test(
  'install.sh takes the place of releases from --from and from the environment, and no http without being told',
  { timeout },
  async (t) => {
    const server = await openReleaseServer(t);
    await server.publish('0.1.0');
    const script = readFileSync(join(server.directory, 'install.sh'), 'utf8').replace(
      `default_url='${server.url}'`,
      "default_url=''",
    );
    const dry = ['--dry-run', '--prefix', '/nowhere'];
    assert.match(
      (await install(server, dry, { script })).stderr,
      /does not know where releases are\nhint: .*--from URL/,
    );
    assert.equal((await install(server, [...dry, '--from', `${server.url}/`], { script })).code, 0);
    assert.equal((await install(server, dry, { script, env: { GRACE_RELEASE_URL: server.url } })).code, 0);
    const insecure = script.replace("default_url=''", "default_url='http://releases.invalid'");
    assert.match((await install(server, dry, { script: insecure })).stderr, /is not https/);
    assert.match((await install(server, [...dry, '--version', '../x'])).stderr, /is no version/);
    const unknown = await install(server, ['--no-such']);
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /^install\.sh: there is no option --no-such\nhint: [^\n]*--help\n$/);
  },
);

test('install.sh keeps a symbolic link and replaces what it leads to', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.2.0');
  const prefix = makeTempDir(t);
  const elsewhere = makeTempDir(t);
  mkdirSync(join(prefix, 'bin'));
  writeFileSync(join(elsewhere, 'grace-0'), fakeGrace('0.1.0'), { mode: 0o755 });
  symlinkSync(join(elsewhere, 'grace-0'), join(prefix, 'bin/grace'));
  const { code, stdout } = await install(server, ['--prefix', prefix]);
  assert.equal(code, 0);
  assert.match(stdout, /Upgraded .*grace-0: 0\.1\.0 -> 0\.2\.0/);
  assert.equal(lstatSync(join(prefix, 'bin/grace')).isSymbolicLink(), true);
  assert.equal(readFileSync(join(elsewhere, 'grace-0'), 'utf8'), fakeGrace('0.2.0'));
});

test('install.sh refuses a program that does not run here', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.2.0', 'not a program');
  const prefix = makeTempDir(t);
  const { code, stderr } = await install(server, ['--prefix', prefix]);
  assert.equal(code, 1);
  assert.match(stderr, /the downloaded grace does not run here/);
  assert.deepEqual(readdirSync(join(prefix, 'bin')), []);
});

test('install.sh says where it may not write', { timeout }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  const prefix = makeTempDir(t);
  mkdirSync(join(prefix, 'bin'));
  chmodSync(prefix, 0o755);
  chmodSync(join(prefix, 'bin'), 0o555);
  const { code, stderr } = await install(server, ['--prefix', prefix], process.getuid?.() === 0 ? { uid: 65534 } : {});
  assert.equal(code, 1);
  assert.match(stderr, /cannot write to .*\/bin\nhint: choose another place with --prefix DIR, or run this as root/);
  assert.deepEqual(readdirSync(join(prefix, 'bin')), []);
});

test('install.sh leaves nothing behind on a file system without space', { timeout }, async (t) => {
  const prefix = makeTempDir(t);
  if (process.getuid?.() !== 0 || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', prefix]).status !== 0)
    return t.skip('it takes root to mount a small file system');
  try {
    const server = await openReleaseServer(t);
    await server.publish('0.1.0', fakeGrace('0.1.0', 'x'.repeat(1024 * 1024)));
    const { code, stderr } = await install(server, ['--prefix', prefix]);
    assert.equal(code, 1);
    assert.match(stderr, /cannot (unpack|download) .*\nhint: there are \d+ MB free in /);
    assert.deepEqual(readdirSync(join(prefix, 'bin')), []);
  } finally {
    spawnSync('umount', [prefix]);
  }
});

test('install.sh and the scripts of recipes are clean for shellcheck', { timeout }, (t) => {
  const { error, stdout, status } = spawnSync(
    'shellcheck',
    ['scripts/install.sh', ...globSync('scripts/recipes/*.sh')],
    { encoding: 'utf8' },
  );
  if (error) return t.skip('shellcheck is not installed');
  assert.equal(stdout, '');
  assert.equal(status, 0);
});
