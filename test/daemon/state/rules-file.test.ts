import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { loadState, saveState } from '../../../src/daemon/state/rules-file.ts';
import { readPidFile, removePidFile, writePidFile } from '../../../src/daemon/state/pid-file.ts';

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'grace-state-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

const rule = { src: { typed: 'tcp:9000', absolute: 'tcp:9000' }, dst: { typed: 'unix:a', absolute: 'unix:/tmp/a' } };

test('kept rules are read as they were written, in a file for the owner alone', async (t) => {
  const path = join(tempDir(t), 'state.json');
  await saveState(path, [rule, { ...rule, port: 7 }]);
  assert.deepEqual(loadState(path), { rules: [rule, { ...rule, port: 7 }], note: null });
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('no file means no rules', (t) => {
  assert.deepEqual(loadState(join(tempDir(t), 'state.json')), { rules: [], note: null, isMissing: true });
});

for (const [what, text] of [
  ['half a file', '{"format":1,"rules":[{'],
  ['another shape', '{"format":1,"rules":{"src":1}}'],
  ['nothing', ''],
]) {
  test(`a file with ${what} is kept aside, and said so`, (t) => {
    const dir = tempDir(t);
    const path = join(dir, 'state.json');
    writeFileSync(path, text!);
    const { rules, note } = loadState(path);
    assert.deepEqual(rules, []);
    const [aside] = readdirSync(dir);
    assert.match(aside!, /^state\.json\.damaged-/);
    assert.ok(note?.includes(aside!));
    assert.equal(readFileSync(join(dir, aside!), 'utf8'), text);
  });
}

const notAFile: [what: string, make: (path: string) => void, told: RegExp][] = [
  ['a FIFO', (path) => execFileSync('mkfifo', [path]), /is damaged \(a named pipe \(FIFO\), not a file\)/],
  ['a link to a device', (path) => symlinkSync('/dev/zero', path), /is damaged \(a device, not a file\)/],
];
for (const [what, make, told] of notAFile) {
  test(`${what} in the place of the file holds nobody up: it is kept aside, and said so`, { timeout: 60_000 }, (t) => {
    const dir = tempDir(t);
    make(join(dir, 'state.json'));
    const { mode } = lstatSync(join(dir, 'state.json'));
    const { rules, note } = loadState(join(dir, 'state.json'));
    assert.deepEqual(rules, []);
    assert.match(note ?? '', told);
    const [aside, ...others] = readdirSync(dir);
    assert.match(aside!, /^state\.json\.damaged-/);
    assert.deepEqual(others, []);
    assert.equal(lstatSync(join(dir, aside!)).mode, mode);
  });
}

test('a directory in the place of the file is refused in a line, and left alone', (t) => {
  const path = join(tempDir(t), 'state.json');
  mkdirSync(path);
  assert.throws(() => loadState(path), /^GraceError: cannot read the rules in .*: a directory, not a file$/);
  assert.ok(statSync(path).isDirectory());
});

test('a FIFO in the place of the pid file names nobody', { timeout: 60_000 }, (t) => {
  const path = join(tempDir(t), 'grace.pid');
  execFileSync('mkfifo', [path]);
  assert.equal(readPidFile(path), null);
});

test('of a file with a bad rule the good ones are read, the bad one is named, and all of it is kept aside', (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'state.json');
  const text = JSON.stringify({
    format: 1,
    rules: [rule, { ...rule, src: { typed: 'tcp:"9001"' } }, 7, { ...rule, port: 3 }],
  });
  writeFileSync(path, text);
  const { rules, note, isPart } = loadState(path);
  assert.deepEqual(rules, [rule, { ...rule, port: 3 }]);
  assert.equal(isPart, true);
  const aside = readdirSync(dir).find((name) => name !== 'state.json');
  assert.equal(readFileSync(join(dir, aside!), 'utf8'), text);
  for (const part of ['rule 2, "tcp:\\"9001\\""', 'rule 3, 7', aside!])
    assert.ok(note?.includes(part), `${part} in ${note}`);
  assert.equal(readFileSync(path, 'utf8'), text, 'a crash before it is written anew loses nothing');
});

test('a byte order mark is no damage', (t) => {
  const path = join(tempDir(t), 'state.json');
  writeFileSync(path, `\uFEFF${JSON.stringify({ format: 1, rules: [rule] })}`);
  assert.deepEqual(loadState(path), { rules: [rule], note: null });
});

test('rules in a format of the future are left alone, and said so', (t) => {
  const path = join(tempDir(t), 'state.json');
  writeFileSync(path, '{"format":99,"rules":[]}');
  assert.throws(() => loadState(path), /format 99/);
  assert.equal(readFileSync(path, 'utf8'), '{"format":99,"rules":[]}');
});

test('properties of a newer version are no obstacle', (t) => {
  const path = join(tempDir(t), 'state.json');
  writeFileSync(path, JSON.stringify({ format: 1, writtenBy: '9.9', rules: [{ ...rule, weight: 3 }] }));
  assert.deepEqual(loadState(path).rules, [rule]);
});

test('rules that cannot be written leave the old file as it was', async (t) => {
  const dir = tempDir(t);
  await assert.rejects(saveState(join(dir, 'missing', 'state.json'), [rule]), /cannot keep the rules/);
});

test('a pid file of another process is left alone', (t) => {
  const path = join(tempDir(t), 'grace.pid');
  writePidFile(path, 12345);
  removePidFile(path, 54321);
  assert.equal(readPidFile(path), 12345);
  assert.equal(readFileSync(path, 'utf8'), '12345\n');
  removePidFile(path, 12345);
  assert.equal(readPidFile(path), null);
});
