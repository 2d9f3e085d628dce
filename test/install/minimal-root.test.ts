/** grace where nothing is installed: it is put there by install.sh, and forwards, switches and restarts. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { addDownloader, makeDebianRoot, makeMuslRoot, noRoot } from './minimal-root.ts';
import { openReleaseServer, root } from './release-server.ts';

const timeout = 180_000;
const executable = join(root, 'dist/grace');
const skip = noRoot();

const talk = String.raw`
ask() { exec 3<>/dev/tcp/127.0.0.1/$1; cat <&3; exec 3<&-; }
serve() { perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,6);setsockopt(S,SOL_SOCKET,SO_REUSEADDR,1);bind(S,sockaddr_in(0,inet_aton("127.0.0.1")));listen(S,9);open(F,">",$ARGV[1]);print F +(sockaddr_in(getsockname S))[0];close F;while(accept(C,S)){syswrite C,$ARGV[0];close C}' "$1" "/tmp/$1" & until [ -s "/tmp/$1" ]; do sleep 0.02; done; }
serve blue; serve green
set -e
grace start tcp:0:interface=127.0.0.1 tcp:127.0.0.1:$(cat /tmp/blue)
port=$(grace ls --json | sed 's/.*127\.0\.0\.1:\([0-9]*\)".*/\1/; s/.*"listening":"[^"]*:\([0-9]*\)".*/\1/')
ask $port; echo
grace switch tcp:0:interface=127.0.0.1 tcp:127.0.0.1:$(cat /tmp/green)
ask $port; echo
grace restart
ask $port; echo
grace stop --now
`;

test('install.sh installs grace in a minimal Debian, and it serves there', { timeout, skip }, async (t) => {
  const server = await openReleaseServer(t);
  await server.publishFile('0.1.0', executable);
  const minimal = await makeDebianRoot(t);
  assert.deepEqual(
    readdirSync(join(minimal.directory, 'usr/lib'), { recursive: true }).filter((name) =>
      `${name}`.includes('libatomic'),
    ),
    [],
  );
  addDownloader(minimal);
  copyFileSync(join(server.directory, 'install.sh'), join(minimal.directory, 'tmp/install.sh'));
  const installed = await minimal.run('sh /tmp/install.sh');
  assert.equal(installed.stderr, '');
  assert.equal(installed.status, 0, installed.stdout);
  assert.match(installed.stdout, /Installed grace 0\.1\.0 as \/usr\/local\/bin\/grace/);
  const { status, stdout, stderr } = await minimal.run(`exec bash -c "$1"`, talk);
  assert.equal(status, 0, `${stdout}${stderr}`);
  assert.match(stdout, /^Started\nblue\nSwitched\ngreen\nRestarted: .*\ngreen\nStopped\n/m);
});

test(
  'where a library is missing, install.sh names its package before it touches anything',
  { timeout, skip },
  async (t) => {
    const server = await openReleaseServer(t);
    await server.publish('0.1.0');
    const minimal = await makeDebianRoot(t);
    addDownloader(minimal);
    copyFileSync(join(server.directory, 'install.sh'), join(minimal.directory, 'tmp/install.sh'));
    const libraries = join(minimal.directory, `usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`);
    for (const name of readdirSync(libraries).filter((each) => each.startsWith('libstdc++')))
      rmSync(join(libraries, name));
    const old = join(minimal.directory, 'usr/local/bin/grace');
    writeFileSync(old, '#!/bin/sh\necho grace 0.0.9\n', { mode: 0o755 });
    const requests: string[] = [];
    server.onRequest = (path) => void requests.push(path);
    const attempt = (tool: string) => {
      for (const name of ['apt-get', 'dnf', 'apk'])
        rmSync(join(minimal.directory, 'usr/local/bin', name), { force: true });
      writeFileSync(join(minimal.directory, 'usr/local/bin', tool), '#!/bin/sh\n', { mode: 0o755 });
      return minimal.run('ldconfig; sh /tmp/install.sh');
    };
    const { status, stderr } = await attempt('apt-get');
    assert.equal(status, 1);
    assert.equal(
      stderr,
      'install.sh: grace needs libstdc++.so.6, which is not here\nhint: apt-get install libstdc++6\n',
    );
    assert.match((await attempt('dnf')).stderr, /hint: dnf install libstdc\+\+\n/);
    assert.deepEqual(requests, []);
    assert.equal((await minimal.run('grace')).stdout, 'grace 0.0.9\n');
  },
);

test('in a system with musl install.sh says one clear sentence', { timeout, skip }, async (t) => {
  const musl = await makeMuslRoot(t);
  if (!musl) return t.skip('it needs the packages musl and busybox-static');
  const server = await openReleaseServer(t);
  await server.publish('0.1.0');
  copyFileSync(join(server.directory, 'install.sh'), join(musl.directory, 'tmp/install.sh'));
  const { status, stderr } = await musl.run('sh /tmp/install.sh');
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^install\.sh: grace needs a system with glibc, and this one has musl\nhint: in a container use an image with glibc, debian:12-slim for one\n$/,
  );
  assert.equal(existsSync(join(musl.directory, 'usr/local/bin/grace')), false);
});
