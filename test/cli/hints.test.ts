import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { withUsefulHint } from '../../src/cli/hints.ts';
import { GraceError } from '../../src/error.ts';
import { openTempDir, runWords } from './run-cli.ts';

function hintOf(error: unknown): string | undefined {
  assert.ok(error instanceof GraceError);
  return error.hint;
}

test('a hint names the state dir that was given', () => {
  const error = new GraceError('it runs', { hint: 'replace it with: grace restart, or end it with: grace stop' });
  assert.equal(
    hintOf(withUsefulHint(error, { dir: '/srv/a b', option: '/srv/a b' })),
    "replace it with: grace -d '/srv/a b' restart, or end it with: grace -d '/srv/a b' stop",
  );
  assert.equal(withUsefulHint(error, { dir: '/home/me/.grace', option: undefined }), error);
  const other = new GraceError('no', { hint: 'the processes of grace have none; grace listens there' });
  assert.equal(withUsefulHint(other, { dir: '/d', option: '/d' }), other);
});

test('where no daemon runs, the one of the service is named', () => {
  using service = openTempDir();
  const error = new GraceError('no daemon runs in /home/me/.grace', {
    hint: 'start one with: grace start SRC DST',
    code: 'ERR_GRACE_NO_DAEMON',
  });
  assert.equal(
    hintOf(withUsefulHint(error, { dir: '/home/me/.grace', option: undefined, service: service.path })),
    'start one with: grace start SRC DST',
  );
  writeFileSync(`${service.path}/grace.sock`, '');
  const useful = withUsefulHint(error, { dir: '/home/me/.grace', option: undefined, service: service.path });
  assert.equal(hintOf(useful), `one runs in ${service.path}: grace -d ${service.path} …`);
  assert.equal((useful as GraceError).code, 'ERR_GRACE_NO_DAEMON');
  assert.equal(withUsefulHint(error, { dir: service.path, option: undefined, service: service.path }), error);
});

test('the hint of a command carries its -d', async () => {
  using dir = openTempDir();
  const { stderr } = await runWords(['-d', dir.path, 'ls']);
  assert.match(stderr, new RegExp(`^hint: (start one with: grace -d ${dir.path} start SRC DST|one runs in)`, 'm'));
});

test('a state dir that is a file is said to be no directory', async () => {
  using directory = openTempDir();
  const file = `${directory.path}/file`;
  writeFileSync(file, '');
  const { exitCode, stderr } = await runWords(['-d', file, 'ls']);
  assert.equal(exitCode, 3);
  assert.equal(
    stderr,
    `grace: no daemon runs in ${file}\nhint: ${file} is not a directory; choose another with -d DIR\n`,
  );
});
