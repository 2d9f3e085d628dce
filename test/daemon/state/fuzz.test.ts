import assert from 'node:assert/strict';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { addCounts } from '../../../src/daemon/metrics/counts.ts';
import { loadCounters } from '../../../src/daemon/state/counters-file.ts';
import { readPidFile } from '../../../src/daemon/state/pid-file.ts';
import { checkStateFormat, loadState } from '../../../src/daemon/state/rules-file.ts';
import {
  always,
  hostileJson,
  hostileText,
  mustBeLinear,
  mutatedBytes,
  mutatedJson,
  readOrRefused,
  timeout,
} from '../../hostile.ts';
import { makeTempDir } from '../../net/temp-dir.ts';

const text = (typed: string) => ({ typed, absolute: typed });
const rule = { src: text('tcp:9000'), dst: text('tcp:a:1') };
const other = {
  src: { ...text('tcp:9001'), name: 'web' },
  dst: text('unix:/run/a'),
  share: { dst: text('tcp:b:2'), percent: 10, secret: '0123456789abcdef' },
  port: 9001,
};
const state = { format: 1, rules: [rule, other] };
const counters = {
  format: 1,
  rules: [{ srcKey: 'a', dstKey: 'b', bytesIn: 1, bytesOut: 2, since: '2026-01-02T03:04:05.678Z' }],
  generations: [
    {
      pid: 1,
      version: '1',
      since: '2026-01-02T03:04:05.678Z',
      rows: [{ srcKey: 'a', dstKey: 'b', row: { bytesIn: 1, bytesOut: 2, since: '' } }],
    },
  ],
  counts: { sources: [{ key: 'a', src: 'b', connections: 1, numbers: { 'end finished': 3 } }], daemon: { crashes: 1 } },
  hasEnded: true,
};

/** Bytes that were the JSON of this once. */
function spoilt(value: unknown): fc.Arbitrary<Buffer> {
  const bytes = Buffer.from(JSON.stringify(value));
  return fc.oneof(
    mutatedJson(value).map((changed) => Buffer.from(JSON.stringify(changed) ?? '')),
    mutatedBytes([bytes]),
    hostileJson.map((each) => Buffer.from(JSON.stringify(each) ?? '')),
    hostileText(['{', '}', '[', ']', '"rules"', ':', ',', '1'], 8).map((each) => Buffer.from(each)),
  );
}

test('of stored rules all that can be read is, and the file is there still, or kept aside', { timeout }, () => {
  using temp = makeTempDir();
  const dir = temp.path;
  const path = temp.file('state.json');
  always(600, spoilt(state), (bytes) => {
    writeFileSync(path, bytes);
    readOrRefused(() => checkStateFormat(path));
    const loaded = readOrRefused(() => loadState(path));
    const kept = readdirSync(dir).map((name) => readFileSync(join(dir, name)));
    assert.ok(kept.some((each) => each.equals(bytes)));
    for (const name of readdirSync(dir)) rmSync(join(dir, name));
    if (loaded === null) return;
    assert.ok(loaded.note === null || loaded.note.length < 5000, loaded.note ?? '');
    assert.deepEqual(
      [rule, other].filter(
        (each) => isWhole(bytes, each) && !loaded.rules.some((found) => found.src.typed === each.src.typed),
      ),
      [],
    );
  });
});

/** Whether the rule is still said in the file, which is JSON with a list of rules. */
function isWhole(bytes: Buffer, wanted: unknown): boolean {
  try {
    const { rules } = JSON.parse(bytes.toString()) as { rules: unknown[] };
    return rules.some((each) => JSON.stringify(each) === JSON.stringify(wanted));
  } catch {
    return false;
  }
}

test('a rule that is nested too deep to be named does not take the others with it', () => {
  using temp = makeTempDir();
  const path = temp.file('state.json');
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  writeFileSync(
    path,
    `{"format":1,"rules":[${JSON.stringify(rule)},${deep},{"src":{"typed":"${'x'.repeat(100_000)}"}}]}`,
  );
  const { rules, note } = loadState(path);
  assert.deepEqual(rules, [rule]);
  assert.match(note ?? '', /rule 2, .*rule 3, "x+…x+": /);
  assert.ok(note!.length < 2000);
});

test('counters that could not have been counted are none', { timeout }, () => {
  using temp = makeTempDir();
  const path = temp.file('counters.json');
  always(600, spoilt(counters), (bytes) => {
    writeFileSync(path, bytes);
    const { of, counts, generations } = loadCounters(path);
    const spec = { src: { key: 'a' }, dst: { key: 'b' } } as Parameters<typeof of>[0];
    for (const { bytesIn, bytesOut, since } of [
      of(spec),
      ...generations.flatMap(({ rows }) => rows.map(({ row }) => row)),
    ].filter((each) => each !== undefined)) {
      assert.ok(Number.isSafeInteger(bytesIn) && bytesIn >= 0 && Number.isSafeInteger(bytesOut) && bytesOut >= 0);
      assert.equal(typeof since, 'string');
    }
    if (counts === null) return;
    const sum = addCounts(counts, { sources: [], daemon: {} });
    for (const number of [
      ...Object.values(sum.daemon),
      ...sum.sources.flatMap(({ numbers }) => Object.values(numbers)),
    ])
      assert.ok(Number.isFinite(number) && number >= 0, String(number));
  });
});

test('a pid file that names no process is none', { timeout }, () => {
  using temp = makeTempDir();
  const path = temp.file('grace.pid');
  always(300, fc.oneof(mutatedBytes([Buffer.from('123\n')]), hostileText(['1', '9', '-', '0', '\n'])), (bytes) => {
    writeFileSync(path, bytes);
    const pid = readPidFile(path);
    assert.ok(pid === null || (Number.isInteger(pid) && pid > 0 && pid < 2 ** 31), String(pid));
  });
});

test('a long state file is read in time that grows with its length', { timeout }, () => {
  using temp = makeTempDir();
  const dir = temp.path;
  const path = temp.file('state.json');
  const load = (content: string) => {
    writeFileSync(path, content);
    readOrRefused(() => loadState(path));
    for (const name of readdirSync(dir)) rmSync(join(dir, name));
  };
  mustBeLinear('rules', (size) => JSON.stringify({ format: 1, rules: Array(size).fill(rule) }), 1000, load);
  mustBeLinear(
    'bad rules',
    (size) => JSON.stringify({ format: 1, rules: Array(size).fill({ src: rule.src }) }),
    1000,
    load,
  );
  mustBeLinear(
    'escapes',
    (size) => JSON.stringify({ format: 1, rules: [{ src: { typed: '"\\'.repeat(size) } }] }),
    20_000,
    load,
  );
  mustBeLinear('brackets', (size) => `{"format":1,"rules":[${'['.repeat(size)}${']'.repeat(size)}]}`, 20_000, load);
});
