import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { noteOnPackage } from '../../src/upgrade/package.ts';
import { makeTempDir } from '../net/temp-dir.ts';

test('a file of a package is said to be one, and no other', () => {
  using temp = makeTempDir();
  const list = temp.file('grace.list');
  writeFileSync(list, '/.\n/usr\n/usr/bin\n/usr/bin/grace\n');
  assert.match(noteOnPackage('/usr/bin/grace', list) ?? '', /^\/usr\/bin\/grace is a file of the package grace/);
  assert.equal(noteOnPackage('/usr/bin', temp.file('none')), null);
  assert.equal(noteOnPackage('/usr/local/bin/grace', list), null);
});
