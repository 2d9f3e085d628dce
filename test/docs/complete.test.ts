/** Whatever the program heeds is on the page where its reader looks for it. */
import assert from 'node:assert/strict';
import { globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commands, globalOptions } from '../../src/control/commands.ts';
import { connectionRow, destinationRow, statusResult } from '../../src/control/shapes.ts';
import { clientShapes } from '../../src/endpoint/client.ts';
import { serverShapes } from '../../src/endpoint/server-shapes.ts';
import { closingReasons } from '../../src/engine/closing-reason.ts';
import { readPage, root, sectionOf } from './page.ts';

test('every command and option is in the reference', () => {
  const text = readPage('src/cli/README.md') + readPage('src/upgrade/README.md');
  const names = commands.flatMap(({ name, options }) => [name, ...options.map((option) => `--${option.name}`)]);
  const missing = [...names, ...globalOptions.map(({ name }) => `--${name}`)].filter(
    (name) => !new RegExp(`\`(grace )?([^\`]*, )?${name}[ \`=]`).test(text),
  );
  assert.deepEqual([...new Set(missing)], []);
});

test('every property of what ls and status print as JSON is in the reference', () => {
  const text = sectionOf(readPage('src/cli/README.md'), 'JSON');
  const names = [destinationRow, connectionRow, statusResult].flatMap(({ entries }) => Object.keys(entries));
  assert.deepEqual(
    names.filter((name) => !text.includes(`\`${name}\``)),
    [],
  );
});

test('every type of endpoint is on the page of endpoints, with its parameters', () => {
  const text = readPage('src/endpoint/README.md');
  const names = Object.values({ ...serverShapes, ...clientShapes }).flatMap(({ type, parameters }) => [
    type,
    ...Object.keys(parameters),
  ]);
  assert.deepEqual(
    [...new Set(names)].filter((name) => !new RegExp(`\\b${name}\\b`, 'i').test(text)),
    [],
  );
});

test('every variable of the environment is in the table', () => {
  const files = globSync(['src/**/*.ts', 'scripts/**/*'], { cwd: root, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const sources = files.map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8')).join('\n');
  const builtIn = new Set([...sources.matchAll(/declare const (GRACE_\w+)/g)].map(([, name]) => name));
  const names = [...new Set(sources.match(/\bGRACE_[A-Z_]*[A-Z]\b/g))].filter((name) => !builtIn.has(name));
  const table = sectionOf(readPage('src/daemon/README.md'), 'Environment');
  assert.ok(names.length > 10, names.join(' '));
  assert.deepEqual(names.filter((name) => !table.includes(`\`${name}`)).sort(), []);
});

test('every reason for which a connection ends is in the table', () => {
  const table = sectionOf(readPage('src/daemon/README.md'), 'Why connections end');
  const named = [...table.matchAll(/^\|([^|]*)\|/gm)].flatMap(([, cell]) => cell!.match(/`[a-z-]+`/g) ?? []);
  assert.deepEqual(
    named,
    closingReasons.map((reason) => `\`${reason}\``),
  );
});

test('every room of the source, and every file beside them, is in the list of rooms', () => {
  const text = sectionOf(readPage('src/README.md'), 'Architecture');
  const names = readdirSync(join(root, 'src'), { withFileTypes: true })
    .map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name))
    .filter((name) => name !== 'README.md');
  assert.deepEqual(
    names.filter((name) => !new RegExp(`^\\| [^|]*\`${name.replace('.', '\\.')}\``, 'm').test(text)),
    [],
  );
});
