import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { MessageChannel } from 'node:worker_threads';
import type { ConnectionEnd, Upstream } from '../../../src/engine/engine.ts';
import { ConnectionTable, KIND_CLIENT, KIND_SERVER } from '../../../src/engine/native/connection-table.ts';
import { EndBatch, tellEnds } from '../../../src/engine/native/end-batch.ts';
import type { QuietEnd } from '../../../src/engine/native/end-batch.ts';
import type { EndsMessage } from '../../../src/engine/native/messages.ts';

const end: QuietEnd = { stage: 'relay', why: 'finished', durationMs: 37, generation: null };
const table = new ConnectionTable();

/** A connection of the table. Returns its client. */
function connection(client: number, { upstreamId = 7, server = -1 } = {}): number {
  table.open(client, 0, KIND_CLIENT);
  table.assign(client, upstreamId, 3);
  table.setPeer(client, 0x7f000001, 50_312);
  table.addBytes(client, 512, 0);
  if (server === -1) return client;
  table.open(server, 0, KIND_SERVER);
  table.pair(client, server);
  table.setConnectMs(server, 0.25);
  table.addBytes(server, 2 ** 40, 0);
  return client;
}

const whole = connection(20, { server: 21 });
const upstream = {} as Upstream;

function read(message: EndsMessage): { frontend: number; end: ConnectionEnd }[] {
  const heard: { frontend: number; end: ConnectionEnd }[] = [];
  tellEnds(message, {
    upstreamOf: (id) => (id === 7 ? upstream : undefined),
    hear: (frontend, { startedMs, ...told }) => {
      assert.ok(Math.abs(Date.now() - told.durationMs - startedMs) < 10_000);
      heard.push({ frontend, end: { ...told, startedMs: 0 } });
    },
  });
  return heard;
}

test(
  'ends are told of as they were, through a port, but those of an upstream that is forgotten',
  { timeout: 60_000 },
  async () => {
    const batch = new EndBatch();
    assert.equal(batch.take(), null);
    batch.add(table, whole, end, 1000);
    batch.add(table, connection(22, { upstreamId: 8 }), end, 1050);
    batch.add(table, connection(23), { ...end, why: 'dial-refused', stage: 'dial', generation: 2 }, 1060);
    assert.equal(batch.wakeAt, 1100);
    const { port1, port2 } = new MessageChannel();
    port1.postMessage(batch.take());
    const [message] = (await once(port2, 'message')) as [EndsMessage];
    port1.close();
    const told = { via: null, upstream, error: null, peer: '127.0.0.1:50312', tls: null };
    const numbers = { bytesIn: 512, startedMs: 0, durationMs: 37 };
    assert.deepEqual(read(message), [
      {
        frontend: 3,
        end: {
          ...told,
          ...numbers,
          bytesOut: 2 ** 40,
          stage: 'relay',
          reason: 'finished',
          connectMs: 0.25,
          generation: null,
        },
      },
      {
        frontend: 3,
        end: {
          ...told,
          ...numbers,
          bytesOut: 0,
          stage: 'dial',
          reason: 'dial-refused',
          connectMs: null,
          generation: 2,
        },
      },
    ]);
    assert.equal(batch.wakeAt, Infinity);
  },
);

test('memory is used again when it has been read, and not before, however slow the reader is', () => {
  const batch = new EndBatch();
  const take = (durationMs: number) => {
    batch.add(table, whole, { ...end, durationMs }, 0);
    return batch.take()!;
  };
  const unread = Array.from({ length: 10 }, (_, index) => take(index));
  assert.equal(new Set(unread.map(({ buffer }) => buffer)).size, 10);
  assert.deepEqual(
    unread.map((message) => read(message)[0]?.end.durationMs),
    unread.map((_, index) => index),
  );
  const known = new Set(unread.map(({ buffer }) => buffer));
  for (let round = 0; round < 10; round++) {
    const message = take(round);
    assert.ok(known.has(message.buffer));
    assert.equal(read(message)[0]?.end.durationMs, round);
  }
});

test('a batch is full when its memory is, and what comes next has its own', () => {
  const batch = new EndBatch();
  let count = 0;
  for (; !batch.isFull; count++) batch.add(table, whole, { ...end, durationMs: count }, 0);
  const full = batch.take()!;
  batch.add(table, whole, { ...end, durationMs: -1 }, 0);
  assert.deepEqual(
    read(full).map((heard) => heard.end.durationMs),
    Array.from({ length: count }, (_, index) => index),
  );
});
