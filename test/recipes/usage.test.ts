/** What the scripts of the recipes say to whoever calls them wrongly, and that they do nothing then. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { root } from '../e2e/grace.ts';

function call(script: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync('sh', [join(root, 'scripts/recipes', script), ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
  });
  return { status, stdout, stderr };
}

function makePlace(t: TestContext): string {
  const place = mkdtempSync(join(tmpdir(), 'grace-usage-'));
  t.after(() => rmSync(place, { recursive: true, force: true }));
  return place;
}

test('upgrade-all.sh touches no machine when a word is no version or no machine', (t) => {
  const place = makePlace(t);
  const called = join(place, 'called');
  const on = join(place, 'on');
  writeFileSync(on, `#!/bin/sh\n: >"${called}"\n`, { mode: 0o755 });
  for (const words of [
    ['--dryrun', '0.2.0', 'web1'],
    ['0.2.0', '--dry-run', 'web1'],
    ['0.2.0', 'web1', '-oProxyCommand=x'],
    ['-v', 'web1'],
    ['web1', 'web2'],
    ['0.2.0'],
    [],
  ]) {
    const { status, stdout, stderr } = call('upgrade-all.sh', words, { ON: on });
    assert.equal(status, 2, words.join(' '));
    assert.equal(stdout, '');
    for (const name of ['ON', 'GRACE', 'CHECK', 'UPGRADE', 'LOOKS'])
      assert.match(stderr, new RegExp(`^  ${name} +\\S`, 'm'));
  }
  assert.equal(call('upgrade-all.sh', ['--help']).status, 0);
  assert.equal(existsSync(called), false);
});

test('upgrade-all.sh says what there is to say of a machine that is not well and is silent', () => {
  const { status, stderr } = call('upgrade-all.sh', ['0.2.0', 'web1', 'web2'], { ON: 'false', CHECK: 'true' });
  assert.equal(status, 1);
  assert.equal(
    stderr,
    'upgrade-all.sh: web1: is not well: "grace -d /var/lib/grace status --health" failed and said nothing\n' +
      'hint: nothing was begun; mend that machine, or leave it out\n',
  );
});

test('render.sh without its arguments says what they are', () => {
  const { status, stderr } = call('render.sh', ['values']);
  assert.equal(status, 2);
  assert.match(stderr, /^usage: .*render\.sh VALUES FILE$/m);
  assert.doesNotMatch(stderr, /unbound|parameter not set/);
});

test(
  'ready.sh looks into GRACE_DIR',
  { skip: spawnSync('flock', ['--version']).error ? 'it needs flock' : false },
  (t) => {
    const place = makePlace(t);
    writeFileSync(join(place, 'ready'), '50\n');
    const lock = join(place, 'grace.lock');
    const script = join(root, 'scripts/recipes/ready.sh');
    const { status } = spawnSync('flock', [lock, 'sh', script], {
      env: { PATH: process.env['PATH'], GRACE_DIR: place },
    });
    assert.equal(status, 0);
    assert.equal(call('ready.sh', [], { GRACE_DIR: place }).status, 1); // nobody has the lock
  },
);
