/** Nothing is exported that nobody else uses: what is private may be changed without a look elsewhere. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from './page.ts';

const declaration = /^export (?:async )?(?:function\*?|class|const|let) (\w+)/gm;

test('every function, class and constant that is exported is used in another file', () => {
  const files = globSync('{src,test,scripts}/**/*.ts', { cwd: root });
  const textOf = new Map(files.map((file) => [file, readFileSync(join(root, file), 'utf8')]));
  const usersOf = new Map<string, Set<string>>();
  for (const [file, text] of textOf)
    for (const word of text.match(/\w+/g) ?? []) usersOf.set(word, (usersOf.get(word) ?? new Set()).add(file));
  const unused = [...textOf]
    .filter(([file]) => file.startsWith('src'))
    .flatMap(([file, text]) => [...text.matchAll(declaration)].map(([, name = '']) => ({ file, name })))
    .filter(({ name }) => usersOf.get(name)?.size === 1);
  assert.deepEqual(unused, []);
});
