/** What the page about security says is so because a test shows it. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readPage, root, sectionOf } from './page.ts';

test('each sentence about who is trusted with what names a test that is there', () => {
  const rows = sectionOf(readPage('.github/SECURITY.md'), 'Who is trusted with what')
    .split('\n')
    .filter((line) => /^\| [^-|]/.test(line) && !line.startsWith('| | Test |'));
  assert.ok(rows.length > 15, String(rows.length));
  for (const row of rows) {
    const [, sentence = '', tests = ''] = row.split(/ ?\| ?/);
    const named = [...tests.matchAll(/\[[a-z-]+\]\(\.\.\/(test\/[^)]+)\): "([^"]+)"/g)];
    assert.ok(named.length > 0, sentence);
    assert.equal(named.length, tests.split('; [').length, sentence);
    for (const [, file = '', name = ''] of named) {
      assert.ok(existsSync(join(root, file)), `${file}: ${sentence}`);
      assert.ok(readFileSync(join(root, file), 'utf8').includes(name), `${file} has no test "${name}"`);
    }
  }
});
