import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { unitFiles } from '../../src/cli/unit-files.ts';
import { unitKinds } from '../../src/control/commands/program.ts';
import { root } from '../../scripts/build.ts';
import { openTempDir, runWords } from './run-cli.ts';

const timeout = 60_000;
const self = { file: '/opt/grace/bin/grace', args: [] };

for (const kind of unitKinds) {
  test(`grace unit ${kind} prints the file of scripts/init with the real paths`, { timeout }, async () => {
    const original = readFileSync(join(root, 'scripts/init', unitFiles[kind]), 'utf8');
    const asIs = await runWords(['unit', kind], { self: { ...self, file: '/usr/local/bin/grace' } });
    assert.deepEqual(asIs, { exitCode: 0, stdout: original, stderr: '' });
    const { stdout } = await runWords(['-d', '/var/lib/edge/one', 'unit', kind], { self });
    assert.ok(!/\/usr\/local\/bin\/grace|\/var\/lib\/grace/.test(stdout), stdout);
    if (kind !== 'socket' && kind !== 'logrotate') assert.ok(stdout.includes(self.file));
    assert.ok(stdout.includes('/var/lib/edge/one'));
  });

  test(`the executable has the file for ${kind} that scripts/init has`, { timeout }, () => {
    const { stdout, status } = spawnSync(join(root, 'dist/grace'), ['unit', kind], { encoding: 'utf8', env: {} });
    assert.equal(status, 0);
    assert.equal(
      stdout.replaceAll(join(root, 'dist/grace'), '/usr/local/bin/grace'),
      readFileSync(join(root, 'scripts/init', unitFiles[kind]), 'utf8'),
    );
  });
}

test('systemd finds nothing wrong with the unit, wherever the state dir is', { timeout }, async (t) => {
  if (spawnSync('systemd-analyze', ['--version']).error) return t.skip('systemd is not installed');
  using directory = openTempDir();
  for (const dir of ['/var/lib/grace', '/var/lib/edge/one', '/srv/grace']) {
    const { stdout } = await runWords(['-d', dir, 'unit', 'systemd'], { self: { ...self, file: '/bin/true' } });
    const file = join(directory.path, 'grace.service');
    writeFileSync(file, stdout);
    const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' });
    assert.doesNotMatch(stderr, /grace\.service/, dir);
    assert.match(
      stdout,
      dir.startsWith('/var/lib/')
        ? new RegExp(`^StateDirectory=${dir.slice(9)}$`, 'm')
        : /^ReadWritePaths=\/srv\/grace$/m,
    );
    assert.equal(/^DynamicUser=yes$/m.test(stdout), dir.startsWith('/var/lib/'));
  }
});

test(
  'grace unit takes the state dir of GRACE_DIR, and refuses what a file would have to quote',
  { timeout },
  async () => {
    assert.match(
      (await runWords(['unit', 'runit'], { self, env: { GRACE_DIR: '/srv/edge' } })).stdout,
      /^exec \/opt\/grace\/bin\/grace -d \/srv\/edge daemon$/m,
    );
    assert.deepEqual(await runWords(['-d', '/srv/my edge', 'unit', 'systemd'], { self }), {
      exitCode: 1,
      stdout: '',
      stderr:
        'grace: cannot put "/srv/my edge" into a file for systemd: it has a character that such files take for something else\nhint: use a path of letters, digits and / . , + @ : _ -\n',
    });
    const { exitCode, stderr } = await runWords(['unit', 'upstart'], { self });
    assert.equal(exitCode, 2);
    assert.match(stderr, /^grace: unit takes systemd or socket or sysv or .*, not "upstart"/);
  },
);

test('from source the path is that of an installed executable, and that is said', { timeout }, async () => {
  const { stdout, stderr } = await runWords(['unit', 'runit'], {
    self: { file: '/usr/bin/node', args: ['/src/main.ts'] },
  });
  assert.match(stdout, /^exec \/usr\/local\/bin\/grace /m);
  assert.equal(stderr, 'note: this grace is no executable; the file is for /usr/local/bin/grace\n');
});

test('grace unit --socket-group has the daemon started for that group', { timeout }, async () => {
  const of = (kind: string) => runWords(['unit', kind, '--socket-group', 'deploy'], { self });
  assert.match(
    (await of('systemd')).stdout,
    /^ExecStart=.* daemon --socket-group deploy$[^]*^DynamicUser=no\nUser=grace\nSupplementaryGroups=deploy$/m,
  );
  assert.match(
    (await runWords(['-d', '/srv/grace', 'unit', 'systemd', '--socket-group', 'deploy'], { self })).stdout,
    /^User=grace\nSupplementaryGroups=deploy$/m,
  );
  assert.match((await of('sysv')).stdout, /^GRACE_ARGS='--socket-group deploy' #/m);
  assert.match((await of('openrc')).stdout, /^: "\$\{command_args_extra:=--socket-group deploy\}"\n\ncommand=/m);
  assert.match((await of('runit')).stdout, /^exec .* daemon --socket-group deploy$/m);
  assert.match((await of('supervisord')).stdout, /^command=.* daemon --socket-group deploy$/m);
  for (const kind of ['socket', 'logrotate']) {
    const { exitCode, stderr } = await of(kind);
    assert.equal(exitCode, 2);
    assert.match(stderr, /^grace: --socket-group is for a file that starts the daemon, and that for \w+ does not\n/);
  }
  assert.match(
    (await runWords(['unit', 'runit', '--socket-group', 'a b'], { self })).stderr,
    /^grace: --socket-group takes the name or number of a group, not "a b"\n/,
  );
});
