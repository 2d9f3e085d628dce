import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { GenerationReport } from '../../../src/control/shapes.ts';
import { Book } from '../../../src/daemon/metrics/book.ts';
import { CountersWriter, loadCounters } from '../../../src/daemon/state/counters-file.ts';
import { readRule } from '../../../src/daemon/rules/specs.ts';
import { Destination } from '../../../src/forward/destination.ts';
import { FakeUpstream } from '../../forward/fake-engine.ts';
import { makeTempDir } from '../../net/temp-dir.ts';

const text = (endpoint: string) => ({ typed: endpoint, absolute: endpoint });
const rule = readRule({ src: text('tcp:9000'), dst: text('tcp:127.0.0.1:9001') });
const since = '2026-01-02T03:04:05.678Z';
const reports: GenerationReport[] = [{ pid: 7, version: '1.2.3', since, isRest: true, rows: [] }];

function setUp(path: string) {
  const destination = new Destination(rule.dst, new FakeUpstream(rule.dst.endpoint), {
    bytesIn: 5,
    bytesOut: 6,
    since,
  });
  const earlier = new Destination(rule.dst, new FakeUpstream(rule.dst.endpoint), {
    bytesIn: 1000,
    bytesOut: 1000,
    since,
  });
  const views = [
    { src: rule.src, destination: earlier, isCurrent: false, percent: null, listener: null, hold: null },
    { src: rule.src, destination, isCurrent: true, percent: null, listener: null, hold: null },
  ];
  const may = { write: true };
  const counters = new CountersWriter({
    path,
    forwarder: { views: () => views },
    generations: { reports },
    book: new Book({ tallies: [], switches: 0 }),
    hasEnded: () => false,
    mayWrite: () => may.write,
  });
  return { counters, destination, views, may, [Symbol.dispose]: () => counters.close() };
}

test('what was counted is read again, for the current destination of each rule, and what older generations said', () => {
  using temp = makeTempDir();
  using parts = setUp(temp.file('counters.json'));
  parts.counters.write();
  const loaded = loadCounters(temp.file('counters.json'));
  assert.deepEqual(loaded.of(rule), { bytesIn: 5, bytesOut: 6, since });
  assert.deepEqual(loaded.generations, reports);
  assert.equal(loaded.of(readRule({ src: text('tcp:9000'), dst: text('tcp:127.0.0.1:9002') })), undefined);
  assert.equal(statSync(temp.file('counters.json')).mode & 0o777, 0o600);
});

test('nothing is written as long as nothing has changed', () => {
  using temp = makeTempDir();
  using parts = setUp(temp.file('counters.json'));
  parts.counters.write();
  const { ino } = statSync(temp.file('counters.json'));
  parts.counters.write();
  assert.equal(statSync(temp.file('counters.json')).ino, ino);
  parts.destination.add({ bytesIn: 1, bytesOut: 0 });
  parts.counters.write();
  assert.equal(loadCounters(temp.file('counters.json')).of(rule)?.bytesIn, 6);
});

test('the file of another process is left alone', () => {
  using temp = makeTempDir();
  using parts = setUp(temp.file('counters.json'));
  parts.may.write = false;
  parts.counters.write();
  parts.counters.close();
  assert.equal(existsSync(temp.file('counters.json')), false);
});

test('rules that go because the daemon stops keep their counters, with what comes until then', () => {
  using temp = makeTempDir();
  using parts = setUp(temp.file('counters.json'));
  parts.counters.stopping();
  parts.views.length = 0;
  parts.destination.add({ bytesIn: 10, bytesOut: 10 });
  parts.counters.close();
  assert.deepEqual(loadCounters(temp.file('counters.json')).of(rule), { bytesIn: 15, bytesOut: 16, since });
});

test('a link in the place of the temporary file is not followed', () => {
  using temp = makeTempDir();
  writeFileSync(temp.file('precious'), 'mine');
  symlinkSync(temp.file('precious'), temp.file(`counters.json.${process.pid}`));
  using parts = setUp(temp.file('counters.json'));
  parts.counters.write();
  assert.equal(readFileSync(temp.file('precious'), 'utf8'), 'mine');
  assert.deepEqual(loadCounters(temp.file('counters.json')).generations, reports);
});

test('a directory that is gone is no error', () => {
  using temp = makeTempDir();
  using parts = setUp(temp.file('missing/counters.json'));
  parts.counters.write();
});

for (const [what, contents] of [
  ['is missing', null],
  ['is cut off', '{"format":1,"rules":[{"srcKey"'],
  ['is of another format', '{"format":2,"rules":[],"generations":[]}'],
  [
    'has a counter that is a text',
    '{"format":1,"rules":[{"srcKey":"a","dstKey":"b","bytesIn":"1","bytesOut":1,"since":""}],"generations":[]}',
  ],
] as const) {
  test(`a file of counters that ${what} has none`, () => {
    using temp = makeTempDir();
    if (contents !== null) writeFileSync(temp.file('counters.json'), contents);
    const loaded = loadCounters(temp.file('counters.json'));
    assert.equal(loaded.of(rule), undefined);
    assert.deepEqual(loaded.generations, []);
  });
}
