import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { printRulesFile, readRulesFile } from '../../src/cli/rules-file.ts';
import type { FileRule } from '../../src/cli/rules-file.ts';
import { GraceError } from '../../src/error.ts';
import { always, hostileJson, hostileText, mustBeLinear, mutatedText, readOrRefused, timeout } from '../hostile.ts';

const options = { file: 'rules.yaml', cwd: '/', env: { A: '1', B: '', EVIL: '\u001b[2J\n- x' } };
const read = (text: string): FileRule[] | null => readOrRefused(() => readRulesFile(text, options));

const words = [
  ['rules', 'src', 'dst', 'name', ':', ': ', '- ', '\n', '\n  ', '\n    ', '{', '}', '[', ']', ',', '"', "'", '|', '>'],
  [
    '&a ',
    '*a',
    '<<: ',
    '!!binary ',
    '!!str ',
    '!x ',
    '? ',
    '#',
    '---\n',
    '...\n',
    '%YAML 1.2\n',
    '%TAG ! x\n',
    '~',
    '\t',
  ],
  ['tcp:80', '"tcp:81"', 'tcp:a:1', '/run/a', '${A}', '${A:-x}', '${', '$$', '${EVIL}', 'null', '.inf', '0o7', '1_000'],
].flat();
const known = [
  'rules:\n  - src: tcp:80\n    dst: tcp:a:1\n    name: web\n  - {src: "81", dst: "/run/a"}\n',
  'rules: []\n',
  'x: &a {src: "80", dst: "90"}\nrules: [*a]\n',
  '{"rules":[{"src":"80","dst":"90"}]}',
  'rules:\n  - src: ${A}\n    dst: >-\n      tcp:a:1\n',
];

test('any text is read as rules that can be printed and read again, or is refused in a line', { timeout }, () => {
  let count = 0;
  always(1000, fc.oneof(hostileText(words, 24), mutatedText(known, words), fc.string()), (text) => {
    const rules = read(text);
    if (rules === null) return;
    count++;
    const again = readRulesFile(printRulesFile(rules), { ...options, env: {} });
    assert.deepEqual(
      again.map(({ key, src }) => [key, src.name]),
      rules.map(({ key, src }) => [key, src.name]),
    );
  });
  assert.ok(count > 20, `only ${count} could be read`);
});

test('any value in the place of rules, or in a rule, is refused with its place', { timeout }, () => {
  always(500, hostileJson, (value) => {
    read(JSON.stringify(value));
    read(JSON.stringify({ rules: value }));
    read(JSON.stringify({ rules: [{ src: value, dst: value, name: value }] }));
  });
});

test('a rule whose text has a dollar in it, and anything else, is printed as it will be read', { timeout }, () => {
  const path = hostileText(['$', '${A}', '$$', '#', ': ', '- ', '!', '&', '*'], 6);
  always(300, path, (name) => {
    const src = `unix:/run/${name.replace(/[\\:=]/g, '\\$&')}`;
    const rules = read(JSON.stringify({ rules: [{ src: src.replaceAll('$', '$$$$'), dst: '90' }] }));
    if (rules === null) return;
    assert.equal(rules[0]?.src.typed, src);
    assert.equal(readRulesFile(printRulesFile(rules), options)[0]?.src.typed, src);
    assert.equal(readRulesFile(printRulesFile(rules), options)[0]?.src.typed, src);
  });
});

const wrong: [what: string, text: string, message: RegExp][] = [
  ['an alias of nothing', 'rules: *a\n', /^rules\.yaml:1:8: there is no anchor "a" before this alias$/],
  ['an alias within its own anchor', 'rules: &a [*a]\n', /^rules\.yaml:1:12: there is no anchor "a"/],
  ['two documents', 'rules: []\n---\nrules: []\n', /^rules\.yaml:2:1: there is more than one document in it$/],
  ['a key twice', 'rules: []\nrules: []\n', /^rules\.yaml:2:1: the key "rules" is given twice$/],
  [
    'a list that is nested deep',
    `rules: ${'['.repeat(40)}${']'.repeat(40)}`,
    /^rules\.yaml:1:\d+: it is nested too deep$/,
  ],
  ['a list that is nested deeper', `rules: ${'['.repeat(5000)}`, /^rules\.yaml:1:\d+: it is nested too deep$/],
  ['maps that are nested deeper', '{a: '.repeat(5000), /^rules\.yaml:1:\d+: it is nested too deep$/],
  [
    'aliases that stand for a billion of nodes',
    Array.from(
      { length: 12 },
      (_, at) =>
        `a${at}: &a${at} [${Array(9)
          .fill(at === 0 ? 'x' : `*a${at - 1}`)
          .join()}]\n`,
    ).join(''),
    /^rules\.yaml:\d+:\d+: its aliases stand for too much$/,
  ],
];
for (const [what, text, message] of wrong)
  test(`${what} is refused in words`, { timeout }, () => {
    assert.throws(
      () => readRulesFile(text, options),
      (error) => {
        assert.ok(error instanceof GraceError);
        assert.match(error.message, message);
        return error.code === 'ERR_GRACE_USAGE';
      },
    );
  });

test('a key that is a list is refused without a warning of the runtime', { timeout }, (t) => {
  const warnings: unknown[] = [];
  const { emitWarning } = process;
  process.emitWarning = (warning: unknown) => void warnings.push(warning);
  t.after(() => (process.emitWarning = emitWarning));
  assert.equal(read('? [a, b]\n: c\nrules: []\n'), null);
  assert.deepEqual(warnings, []);
});

test('a rule may be said by an alias', () => {
  assert.equal(read('rules:\n  - &a {src: "80", dst: "90"}\nx: 1\n'), null);
  const [rule] = readRulesFile('rules:\n  - {src: &a "80", dst: *a}\n', options);
  assert.equal(rule?.dst.typed, '80');
});

test('a long file is read in time that grows with its length', { timeout }, () => {
  const lines = (line: (at: number) => string) => (size: number) =>
    Array.from({ length: size }, (_, at) => line(at)).join('');
  const address = (at: number) => `127.${(at >> 16) & 255}.${(at >> 8) & 255}.${at & 255}:80`;
  mustBeLinear(
    'keys',
    lines((at) => `k${at}: 1\n`),
    1000,
    read,
  );
  mustBeLinear(
    'anchors',
    lines((at) => `k${at}: &a${at} 1\n`),
    1000,
    read,
  );
  mustBeLinear('aliases', (size) => `a: &a 1\nb: [${Array(size).fill('*a').join()}]\n`, 1000, read);
  mustBeLinear(
    'rules',
    (size) => `rules:\n${lines((at) => `- {src: "${address(at)}", dst: "90"}\n`)(size)}`,
    500,
    read,
  );
  mustBeLinear('brackets', (size) => `rules: ${'['.repeat(size)}`, 2000, read);
  mustBeLinear('dollars', (size) => `rules: "${'${A:-'.repeat(size)}"`, 2000, read);
  mustBeLinear('spaces', (size) => `rules: "${' '.repeat(size)}x"\n${'# \n'.repeat(size)}`, 2000, read);
  mustBeLinear('tags', (size) => `rules: !${'x'.repeat(size)} []`, 2000, read);
});
