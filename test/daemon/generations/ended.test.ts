import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerationReport } from '../../../src/control/shapes.ts';
import { EndedGenerations } from '../../../src/daemon/generations/ended.ts';

function setUp() {
  const counted: [key: string, bytesIn: number][] = [];
  const ended = new EndedGenerations({
    add: ({ srcKey, dstKey }, { bytesIn }) => void counted.push([`${srcKey} ${dstKey}`, bytesIn]),
  });
  return { counted, ended };
}

function report(pid: number, bytesIn: number, isRest = true): GenerationReport {
  const since = '2026-01-02T03:04:05.678Z';
  const row = { src: 'a', dst: 'b', connections: 0, active: false, pid, bytesIn, bytesOut: 0, since, listening: '' };
  return { pid, version: '1.2.3', since, rows: [{ srcKey: 'a', dstKey: 'b', row }], ...(isRest ? { isRest } : {}) };
}

test('what a generation moved that no successor counts is counted once', () => {
  const { counted, ended } = setUp();
  ended.ended(report(1, 10));
  ended.ended(report(1, 10));
  ended.ended(report(2, 5));
  assert.deepEqual(counted, [
    ['a b', 10],
    ['a b', 5],
  ]);
});

test('bytes that the successor counts already are not counted again', () => {
  const { counted, ended } = setUp();
  ended.ended(report(1, 10, false));
  assert.deepEqual(counted, []);
});

test('what ends while it is undecided who counts is counted when this process goes on', () => {
  const { counted, ended } = setUp();
  ended.defer();
  ended.ended(report(1, 10));
  ended.defer();
  assert.deepEqual([ended.deferred.map(({ pid }) => pid), counted], [[1], []]);
  ended.resume();
  ended.resume();
  assert.deepEqual([ended.deferred, counted], [[], [['a b', 10]]]);
});
