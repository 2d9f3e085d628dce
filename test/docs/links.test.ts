/** Links in the documentation lead somewhere, and everything is to be found from the first page. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { anchorsOf, linksOf, pages, readPage, root } from './page.ts';

type Link = { file: string; anchor: string | undefined };

/** Where the links of a page lead that stay in the repository. */
function localLinks(page: string): Link[] {
  const inside = linksOf(readPage(page)).filter((target) => !/^[a-z]+:/.test(target));
  return inside.map((target) => {
    const [path = '', anchor] = target.split('#');
    return { file: path === '' ? page : relative(root, join(root, dirname(page), path)), anchor };
  });
}

for (const page of pages()) {
  test(`links of ${page} lead to files and headings that there are`, () => {
    const broken = localLinks(page).filter(({ file, anchor }) => {
      if (file.startsWith('..') || !existsSync(join(root, file))) return true;
      return anchor !== undefined && !anchorsOf(readPage(file)).has(anchor);
    });
    assert.deepEqual(broken, []);
  });
}

test('every page is reached from the first one', () => {
  const reached = new Set(['README.md']);
  for (const page of reached)
    for (const { file } of localLinks(page))
      if (file.endsWith('.md') && existsSync(join(root, file))) reached.add(file);
  assert.deepEqual(
    pages().filter((page) => !reached.has(page)),
    [],
  );
});

test('the first page is no longer than somebody reads', () => {
  const lines = readPage('README.md').trimEnd().split('\n').length;
  assert.ok(lines <= 250, `${lines} lines`);
});

test('anchors are those of GitHub', () => {
  const page = '# `grace/http`: A, b & c\n## Limits\n```\n# no heading\n```\n## Limits\n## snake_case [link](x.md)\n';
  assert.deepEqual([...anchorsOf(page)], ['gracehttp-a-b--c', 'limits', 'limits-1', 'snake_case-link']);
});
