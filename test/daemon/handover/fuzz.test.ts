import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  parseHandover,
  readGo,
  readMoveAnswer,
  readMoveMessage,
  readSuccessorMessage,
} from '../../../src/daemon/handover/messages.ts';
import { always, hostileJson, mutatedJson, readOrRefused, timeout } from '../../hostile.ts';
import { text, whole } from './example.ts';

const place = { src: text('tcp:9000'), dst: text('tcp:a:1'), since: '2026-01-02T03:04:05.678Z' };
const handover = {
  ...whole,
  rules: [
    {
      ...place,
      listener: 1,
      bytesIn: 10,
      bytesOut: 20,
      share: { dst: text('tcp:b:2'), percent: 10, secret: '0123456789abcdef' },
      others: [{ dst: text('tcp:b:2'), bytesIn: 1, bytesOut: 2, since: '' }],
      trial: { before: { dst: text('tcp:b:2') }, watched: text('tcp:a:1'), leftMs: 5 },
      addresses: [1, 2],
      hold: { since: '', maxWaiting: 5, leftMs: 1, holders: [{ id: 'a', timeoutMs: 1 }] },
    },
  ],
  tickets: { keys: ['a'], sinceMs: 1 },
};
const messages: Record<string, unknown> = {
  ready: { ready: { pid: 7, version: '1', move: 1 } },
  serving: { serving: true },
  failed: { failed: { message: 'no', hint: 'yes' } },
  go: { go: true, connections: [1], addresses: [[1]], generations: [], ended: { sources: [], daemon: {} } },
  batch: { batch: { id: 1, ...place, drainMs: 5 } },
  keep: { keep: 1 },
  moved: { moved: { totals: [{ ...place, bytesIn: 1, bytesOut: 2 }], ended: [] } },
  refused: { refused: 1, reason: 'no' },
  counted: { counted: true, known: [1] },
};

test('what is handed over is read, or refused in a line', { timeout }, () => {
  assert.deepEqual(parseHandover(handover), handover);
  always(1000, fc.oneof(mutatedJson(handover), hostileJson), (message) => {
    const read = readOrRefused(() => parseHandover(message));
    if (read === null) return;
    // What it tells later must be what it was told.
    assert.ok(!Number.isNaN(Date.parse(read.startedAt)), read.startedAt);
    for (const { bytesIn, bytesOut } of read.rules) assert.ok(Number.isFinite(bytesIn) && Number.isFinite(bytesOut));
    assert.ok([read.uptimeMs ?? 0, read.generation ?? 0, read.pid].every(Number.isFinite));
  });
  const wrong: object[] = [
    { startedAt: '' },
    { startedAt: 'yesterday' },
    { uptimeMs: Infinity },
    { generation: -Infinity },
  ];
  for (const each of wrong)
    assert.equal(
      readOrRefused(() => parseHandover({ ...handover, ...each })),
      null,
    );
});

test('a format and a version that are no texts are refused all the same', () => {
  for (const odd of [{ toString: 1 }, [[]], null, '\u001b[2J', 'x'.repeat(100_000)])
    assert.equal(
      readOrRefused(() => parseHandover({ ...handover, format: odd, version: odd })),
      null,
    );
});

test('messages of either process are read, passed over, or refused in a line', { timeout }, () => {
  always(1000, fc.oneof(hostileJson, ...Object.values(messages).map(mutatedJson)), (message) => {
    for (const read of [readSuccessorMessage, readGo, readMoveMessage, readMoveAnswer] as ((
      value: unknown,
    ) => unknown)[])
      readOrRefused(() => read(message));
  });
});
