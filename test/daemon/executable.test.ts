import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { checkExecutable, problemOfExecutable, whyNotRunnable } from '../../src/daemon/executable.ts';
import { makeTempDir } from '../net/temp-dir.ts';

const skip = process.platform !== 'linux' && 'executables of Linux';
const invocation = (file: string) => ({ file, args: [] });

/** Files that somebody may name as the next executable. */
function makeFiles() {
  const temp = makeTempDir();
  const script = (name: string, text: string) => writeFileSync(temp.file(name), text, { mode: 0o755 });
  script('text', 'echo this is for a shell\n');
  script('script', '#!/missing/interpreter\n');
  mkdirSync(temp.file('directory'));
  copyFileSync('/bin/true', temp.file('whole'));
  copyFileSync('/bin/true', temp.file('cut'));
  truncateSync(temp.file('cut'), 5000);
  copyFileSync('/bin/true', temp.file('forbidden'));
  chmodSync(temp.file('forbidden'), 0o644);
  return temp;
}

test(
  'an executable that cannot be run is refused before a restart begins, with the reason and what to do',
  { skip },
  () => {
    using temp = makeFiles();
    checkExecutable(invocation(temp.file('whole')));
    for (const [name, why] of [
      ['missing', /no such file/],
      ['directory', /it is not a file/],
      ['forbidden', /permission denied/],
      ['cut', /it is cut off/],
    ] as const) {
      assert.throws(
        () => checkExecutable(invocation(temp.file(name))),
        { name: 'GraceError', message: why, hint: 'name another executable with --exec PATH' },
        name,
      );
    }
  },
);

test('status tells of an executable on disk that could not be started', { skip }, () => {
  using temp = makeFiles();
  assert.equal(problemOfExecutable(invocation(temp.file('whole'))), null);
  for (const [name, why] of [
    ['missing', 'no such file'],
    ['cut', 'it is cut off'],
    ['text', 'it is no program'],
    ['forbidden', 'permission denied'],
  ] as const) {
    assert.ok(
      problemOfExecutable(invocation(temp.file(name)))?.includes(`${temp.file(name)} cannot be started: ${why}`),
      name,
    );
  }
});

test('of a program that did not come up the file says why, where it can', { skip }, () => {
  using temp = makeFiles();
  const missing = Object.assign(new Error('spawn'), { code: 'ENOENT' });
  assert.equal(whyNotRunnable(temp.file('whole')), null);
  assert.match(whyNotRunnable(temp.file('whole'), missing) ?? '', /needs a loader that is not here/);
  assert.match(whyNotRunnable(temp.file('text')) ?? '', /is no program$/);
  assert.match(whyNotRunnable(temp.file('script'), missing) ?? '', /interpreter \/missing\/interpreter does not exist/);
  assert.equal(whyNotRunnable(temp.file('missing'), missing), null);
});
