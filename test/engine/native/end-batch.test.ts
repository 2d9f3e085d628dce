import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import type { ConnectionEnd, Upstream } from '../../../src/engine/engine.ts';
import { EndBatch, readEnds } from '../../../src/engine/native/end-batch.ts';
import type { QuietEnd } from '../../../src/engine/native/end-batch.ts';
import type { EndsMessage } from '../../../src/engine/native/messages.ts';

const end: QuietEnd = {
  upstream: 7,
  frontend: 3,
  peerHost: 0x7f000001,
  peerPort: 50_312,
  stage: 'relay',
  why: 'finished',
  bytesIn: 512,
  bytesOut: 2 ** 40,
  startedMs: 1_764_135_773_009,
  connectMs: 0.25,
  durationMs: 37,
  generation: null,
};
const upstream = {} as Upstream;

function read(message: EndsMessage): { frontend: number; end: ConnectionEnd }[] {
  const heard: { frontend: number; end: ConnectionEnd }[] = [];
  readEnds(message, {
    upstreamOf: (id) => (id === 7 ? upstream : undefined),
    hear: (frontend, told) => void heard.push({ frontend, end: told }),
  });
  return heard;
}

test(
  'ends are told of as they were, through a port, but those of an upstream that is forgotten',
  { timeout: 60_000 },
  async () => {
    const batch = new EndBatch();
    assert.equal(batch.take(), null);
    batch.add(end, 1000);
    batch.add({ ...end, upstream: 8 }, 1050);
    batch.add({ ...end, connectMs: null, why: 'dial-refused', stage: 'dial', generation: 2 }, 1060);
    assert.equal(batch.wakeAt, 1100);
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(batch.take());
    const [message] = (await once(port2, 'message')) as [EndsMessage];
    port1.close();
    const told = { via: null, upstream, error: null, peer: '127.0.0.1:50312', tls: null };
    const { bytesIn, bytesOut, startedMs, durationMs } = end;
    const numbers = { bytesIn, bytesOut, startedMs, durationMs };
    assert.deepEqual(read(message), [
      {
        frontend: 3,
        end: { ...told, ...numbers, stage: 'relay', reason: 'finished', connectMs: 0.25, generation: null },
      },
      {
        frontend: 3,
        end: { ...told, ...numbers, stage: 'dial', reason: 'dial-refused', connectMs: null, generation: 2 },
      },
    ]);
    assert.equal(batch.wakeAt, Infinity);
  },
);

test('memory is used again when it has been read, and not before, however slow the reader is', () => {
  const batch = new EndBatch();
  const take = (bytesIn: number) => {
    batch.add({ ...end, bytesIn }, 0);
    return batch.take()!;
  };
  const unread = Array.from({ length: 10 }, (_, index) => take(index));
  assert.equal(new Set(unread.map(({ buffer }) => buffer)).size, 10);
  assert.deepEqual(
    unread.map((message) => read(message)[0]?.end.bytesIn),
    unread.map((_, index) => index),
  );
  const known = new Set(unread.map(({ buffer }) => buffer));
  for (let round = 0; round < 10; round++) {
    const message = take(round);
    assert.ok(known.has(message.buffer));
    assert.equal(read(message)[0]?.end.bytesIn, round);
  }
});

test('a batch is full when its memory is, and what comes next has its own', () => {
  const batch = new EndBatch();
  let count = 0;
  for (; !batch.isFull; count++) batch.add({ ...end, bytesIn: count }, 0);
  const full = batch.take()!;
  batch.add({ ...end, bytesIn: -1 }, 0);
  assert.deepEqual(
    read(full).map((heard) => heard.end.bytesIn),
    Array.from({ length: count }, (_, index) => index),
  );
});
