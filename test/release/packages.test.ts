/** The packages and the image, each in a minimal Debian of its own. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makePackages } from '../../scripts/release/packages.ts';
import { makeDebianRoot, noRoot } from '../install/minimal-root.ts';
import { machine, root } from '../install/release-server.ts';

const timeout = 240_000;
const skip = noRoot();
const executable = join(root, 'dist/grace');

test('the packages for dpkg and rpm are installed, run, and go', { timeout, skip }, async (t) => {
  if (spawnSync('dpkg-deb', ['--version']).error) return t.skip('dpkg is not installed');
  const minimal = await makeDebianRoot(t);
  const outdir = join(minimal.directory, 'tmp');
  const [deb, rpm] = await makePackages({ root, version: '0.1.0', machine, executable, outdir, isSmall: false });
  const files = [
    '/usr/bin/grace',
    '/usr/lib/systemd/system/grace.service',
    '/etc/logrotate.d/grace',
    '/usr/share/man/man1/grace.1.gz',
  ];
  mkdirSync(join(minimal.directory, 'var/lib/dpkg/updates'), { recursive: true });
  for (const name of ['info', 'triggers', 'alternatives', 'parts'])
    mkdirSync(join(minimal.directory, 'var/lib/dpkg', name), { recursive: true });
  // What is installed is known to dpkg by the list alone.
  copyFileSync('/var/lib/dpkg/status', join(minimal.directory, 'var/lib/dpkg/status'));
  const { status, stdout, stderr } = await minimal.run(`
    dpkg -i /tmp/${deb} && grace --version && ls ${files.join(' ')} && grep ^ExecStart=/usr/bin/grace /usr/lib/systemd/system/grace.service &&
    mkdir /var/lib/grace && dpkg -r grace && [ ! -e /usr/bin/grace ] && [ -d /var/lib/grace ] && dpkg -P grace && [ ! -e /var/lib/grace ]`);
  assert.equal(status, 0, `${stdout}${stderr}`);
  assert.match(stdout, /^grace 0\.1\.0$/m);

  if (rpm === undefined) return t.diagnostic('rpmbuild is not installed');
  const listed = execFileSync('rpm', ['-qpl', join(outdir, rpm)], { encoding: 'utf8' });
  for (const file of files) assert.ok(listed.includes(`${file}\n`), file);
  assert.match(
    execFileSync('rpm', ['-qp', '--requires', join(outdir, rpm)], { encoding: 'utf8' }),
    /^libc\.so\.6\(GLIBC_2\.28\)\(64bit\)\nlibgcc_s.*\nlibstdc\+\+\.so\.6\(CXXABI_1\.3\.11\)\(64bit\)$/m,
  );
  const unpacked = mkdtempSync(join(tmpdir(), 'grace-rpm-'));
  t.after(() => rmSync(unpacked, { recursive: true, force: true }));
  execFileSync('rpm', ['--root', unpacked, '--nodeps', '--noscripts', '-i', join(outdir, rpm)], { stdio: 'ignore' });
  assert.ok(readFileSync(join(unpacked, 'usr/bin/grace')).equals(readFileSync(executable)));
});

test('the image of the Dockerfile is built and forwards as process 1', { timeout, skip }, async (t) => {
  const image = await makeDebianRoot(t); // what debian:12-slim has
  let env = '';
  let entry: string[] = [];
  let health: string[] = [];
  const lines = readFileSync(join(root, 'scripts/release/Dockerfile'), 'utf8').split('\n');
  for (const line of lines.filter((each) => each !== '' && !each.startsWith('#'))) {
    const [, instruction, rest = ''] = /^(\w+) (.*)$/.exec(line)!;
    if (instruction === 'FROM') assert.equal(rest, 'debian:12-slim');
    else if (instruction === 'COPY') {
      assert.equal(rest, 'grace /usr/local/bin/grace');
      mkdirSync(join(image.directory, 'usr/local/bin'), { recursive: true });
      copyFileSync(executable, join(image.directory, 'usr/local/bin/grace'));
    } else if (instruction === 'RUN') {
      const words: string[] = JSON.parse(rest);
      const { status, stderr } = await image.run('exec "$@"', ...words);
      assert.equal(status, 0, stderr);
    } else if (instruction === 'ENV') env += `export ${rest}\n`;
    else if (instruction === 'VOLUME') mkdirSync(join(image.directory, rest), { recursive: true });
    else if (instruction === 'ENTRYPOINT') entry = JSON.parse(rest);
    else if (instruction === 'HEALTHCHECK') health = JSON.parse(rest.replace(/^CMD /, ''));
    else assert.equal(line, 'STOPSIGNAL SIGTERM');
  }
  // The first process becomes the daemon; another one does what "docker exec" would, and ends it as "docker stop" does.
  const { status, stdout, stderr } = await image.run(`${env}
    { until ${health.join(' ')} >/dev/null 2>&1; do sleep 0.1; done
      grace start tcp:0:interface=127.0.0.1 tcp:127.0.0.1:9; grace restart; grace ls; cat /var/lib/grace/grace.pid; kill -TERM 1; } &
    exec ${entry.join(' ')}`);
  assert.equal(status, 0, `${stdout}${stderr}`);
  assert.match(
    stdout,
    /^Started\n(note: .*\n)?Restarted: pid .*\n(Moved .*\n)?src .*\ntcp:0:interface=127\.0\.0\.1 .*\n1$/m,
  );
});
