/** Every exported name says what it is. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from './page.ts';

/** Names of the system's own, a table under a comment each. */
const tables = ['src/sys/constants.ts'];
const declaration = /^export (default )?(abstract )?(async )?(function|class|const|let|type|interface) (?!\{)/;

test('every exported name has a docstring', () => {
  const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !tables.includes(file));
  assert.ok(files.length > 200);
  const bare = files.flatMap((file) => {
    const lines = readFileSync(join(root, file), 'utf8').split('\n');
    return lines.flatMap((line, index) =>
      declaration.test(line) && !(lines[index - 1] ?? '').endsWith('*/') ? [`${file}:${index + 1}: ${line}`] : [],
    );
  });
  assert.deepEqual(bare, []);
});
