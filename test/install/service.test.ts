/** install.sh --service and --uninstall, in roots of their own. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { addDownloader, makeDebianRoot, noRoot } from './minimal-root.ts';
import type { Root } from './minimal-root.ts';
import { fakeGrace, openReleaseServer, root } from './release-server.ts';

const timeout = 180_000;
const skip = noRoot();
const shared = [
  'share/man/man1/grace.1',
  'share/bash-completion/completions/grace',
  'share/zsh/site-functions/_grace',
  'share/fish/vendor_completions.d/grace.fish',
];

/** Tells where it is called from, as the executable does. */
const fake = fakeGrace('0.1.0').replace(
  '  restart)',
  '  unit) echo "every process of grace: $0 for $2" ;;\n  -d) exit 3 ;;\n  restart)',
);

async function prepare(
  t: TestContext,
  real: boolean,
): Promise<Root & { write(path: string, text: string): void; has(path: string): boolean; read(path: string): string }> {
  const server = await openReleaseServer(t);
  await (real ? server.publishFile('0.1.0', join(root, 'dist/grace')) : server.publish('0.1.0', fake, null));
  const minimal = await makeDebianRoot(t);
  addDownloader(minimal);
  copyFileSync(join(server.directory, 'install.sh'), join(minimal.directory, 'tmp/install.sh'));
  const at = (path: string) => join(minimal.directory, path);
  return {
    ...minimal,
    write(path, text) {
      mkdirSync(dirname(at(path)), { recursive: true });
      writeFileSync(at(path), text, { mode: 0o755 });
    },
    has: (path) => existsSync(at(path)),
    read: (path) => readFileSync(at(path), 'utf8'),
  };
}

test(
  '--service lets SysV init run grace, and --uninstall leaves nothing but rules and logs',
  { timeout, skip },
  async (t) => {
    const machine = await prepare(t, true);
    for (const name of ['init.d', 'logrotate.d']) mkdirSync(join(machine.directory, 'etc', name), { recursive: true });
    const { status, stdout, stderr } = await machine.run(`
    sh /tmp/install.sh --service --prefix /opt/grace || exit 1
    /etc/init.d/grace status >/dev/null || exit 2
    /opt/grace/bin/grace -d /var/lib/grace start tcp:0:interface=127.0.0.1 tcp:127.0.0.1:9 || exit 3
    sh /tmp/install.sh --service --prefix /opt/grace || exit 4
    /opt/grace/bin/grace -d /var/lib/grace ls || exit 5
    cp /etc/logrotate.d/grace /tmp
    /opt/grace/bin/grace -d /opt/other start tcp:0:interface=127.0.0.1 tcp:127.0.0.1:9 || exit 8
    mkdir -p /opt/real && ln -s /opt/real /opt/link && /opt/grace/bin/grace -d /opt/link start tcp:0:interface=127.0.0.1 tcp:127.0.0.1:9 || exit 9
    sh /tmp/install.sh --uninstall --dry-run --prefix /opt/grace || exit 10
    for dir in /var/lib/grace /opt/other /opt/link; do /opt/grace/bin/grace -d $dir status >/dev/null || exit 11; done
    [ -x /etc/init.d/grace ] && [ -e /etc/logrotate.d/grace ] || exit 12
    sh /tmp/install.sh --uninstall --prefix /opt/grace || exit 6
    ! readlink /proc/[0-9]*/exe | grep -q grace || exit 7`);
    assert.equal(status, 0, `${stdout}${stderr}`);
    assert.match(machine.read('tmp/grace'), /every process of grace/, 'the file for logrotate');
    assert.match(stdout, /^sysv runs grace \(\/etc\/init\.d\/grace, pid \d+, version 0\.1\.0\)/m);
    assert.match(stdout, /^Restarted: /m, 'the second one restarts it without losing a connection');
    assert.match(stdout, /^Removed .*\/etc\/init\.d\/grace .*\/opt\/grace\/bin\/grace/m);
    assert.match(
      stdout,
      /^Would stop the daemon in \/opt\/other$[^]*^Would remove .*\/opt\/grace\/bin\/grace.*\nRules and logs would stay: /m,
    );
    // Those of daemons elsewhere too, and what a link leads to.
    const [, left = ''] = /^Rules and logs are still there\. To remove them: rm -r (.*)$/m.exec(stdout) ?? [];
    assert.deepEqual(left.split(' ').sort(), ['/opt/link', '/opt/other', '/opt/real', '/var/lib/grace']);
    for (const path of [
      'etc/init.d/grace',
      'etc/logrotate.d/grace',
      'opt/grace/bin/grace',
      ...shared.map((each) => `opt/grace/${each}`),
    ])
      assert.ok(!machine.has(path), path);
    assert.ok(machine.has('var/lib/grace/state.json'));
  },
);

test('--service and --uninstall ask each init system for what they need', { timeout, skip }, async (t) => {
  const machine = await prepare(t, false);
  for (const [kind, file, setUp, calls] of [
    [
      'systemd',
      'etc/systemd/system/grace.service',
      'mkdir -p /run/systemd/system',
      /daemon-reload\nsystemctl enable -q grace\nsystemctl is-active -q grace\nsystemctl reload grace\nsystemctl disable -q --now grace\nsystemctl daemon-reload\n$/,
    ],
    [
      'openrc',
      'etc/init.d/grace',
      'mkdir -p /run/openrc',
      /rc-update -q add grace default\nrc-service -q grace status\nrc-service grace restart\n.*rc-update -q del grace\n$/s,
    ],
    ['runit', 'etc/sv/grace/run', 'mkdir -p /run /etc/sv /etc/service', /sv force-stop grace\n$/],
    ['supervisord', 'etc/supervisor/conf.d/grace.conf', ':', /supervisorctl update\nsupervisorctl update\n$/],
  ] as const) {
    const tools = {
      systemd: ['systemctl'],
      openrc: ['rc-update', 'rc-service'],
      runit: ['sv'],
      supervisord: ['supervisorctl'],
    }[kind];
    for (const tool of tools) machine.write(`usr/local/bin/${tool}`, '#!/bin/sh\necho "${0##*/} $*" >>/tmp/calls\n');
    machine.write(file, 'an older one\n');
    machine.write('tmp/calls', '');
    const { status, stdout, stderr } = await machine.run(
      `${setUp}; sh /tmp/install.sh --service=${kind} && cp /${file} /tmp/unit && sh /tmp/install.sh --uninstall`,
    );
    assert.equal(status, 0, `${stdout}${stderr}`);
    assert.match(machine.read('tmp/calls'), calls);
    assert.match(machine.read('tmp/unit'), /\/usr\/local\/bin\/grace/);
    assert.match(stdout, new RegExp(`^${kind} runs grace`, 'm'));
    assert.match(stdout, /^note: .* was another; it is .*\.before now$/m);
    assert.ok(!machine.has(file));
    assert.ok(!machine.has('usr/local/bin/grace'));
    assert.ok(!machine.has('etc/service/grace'));
    rmSync(join(machine.directory, 'run'), { recursive: true, force: true });
    for (const tool of tools) rmSync(join(machine.directory, 'usr/local/bin', tool));
  }
});
