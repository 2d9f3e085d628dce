import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import fc from 'fast-check';
import {
  ClientHelloReader,
  MAX_HELLO_BYTES,
  readClientHello,
  usableKeyTypes,
} from '../../../src/engine/portable/client-hello.ts';
import { always, mustBeLinear, mutatedBytes, timeout } from '../../hostile.ts';

/** What a client of node:tls says first. */
async function someHello(): Promise<Buffer> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = tls.connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    servername: 'a.example',
  });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  let bytes = Buffer.alloc(0);
  while (readClientHello(bytes) === 'more')
    bytes = Buffer.concat([bytes, ((await once(socket, 'data')) as [Buffer])[0]]);
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

const record = (bytes: Uint8Array) =>
  Buffer.concat([Buffer.from([22, 3, 1, bytes.length >> 8, bytes.length & 255]), bytes]);
/** In records of so many bytes. */
function inRecords(message: Buffer, size: number): Buffer {
  const parts = [];
  for (let at = 0; at < message.length; at += size) parts.push(record(message.subarray(at, at + size)));
  return Buffer.concat(parts);
}

/** What a reader says once it has all, given in parts of these sizes. */
function readInParts(bytes: Buffer, sizes: Iterator<number, unknown>): unknown {
  const reader = new ClientHelloReader();
  for (let at = 0; at < bytes.length;) {
    const end = at + Math.max(1, Number(sizes.next().value));
    const found = reader.add(bytes.subarray(at, end));
    if (found !== 'more') return found;
    at = end;
  }
  return 'more';
}

test('any bytes are a ClientHello, or none, or the beginning of one, however they come', { timeout }, async () => {
  const whole = await someHello();
  const known = [whole, inRecords(whole.subarray(5), 7), inRecords(whole.subarray(5), 1)];
  let found = 0;
  always(600, fc.tuple(mutatedBytes(known), fc.infiniteStream(fc.integer({ min: 1, max: 40 }))), ([bytes, sizes]) => {
    const hello = readClientHello(bytes);
    assert.deepEqual(readInParts(bytes, sizes), hello);
    if (hello === null || hello === 'more') return;
    found++;
    assert.ok(Array.isArray(usableKeyTypes(hello)));
  });
  assert.ok(found > 50, `only ${found} were read`);
});

test('what comes a byte at a time costs in proportion, and is not waited for without end', { timeout }, () => {
  const empty = record(Buffer.alloc(0));
  const begun = record(Buffer.from([1, 2, 1, 0x44]));
  const shapes: [string, (size: number) => Buffer][] = [
    ['empty records', (size) => Buffer.concat([begun, ...Array<Buffer>(Math.floor(size / 5)).fill(empty)])],
    ['records of a byte', (size) => Buffer.concat([begun, inRecords(Buffer.alloc(Math.floor(size / 6)), 1)])],
    ['long records', (size) => Buffer.concat([begun, inRecords(Buffer.alloc(size), 16_384)])],
  ];
  for (const [what, make] of shapes) {
    mustBeLinear(what, make, 8000, (bytes) =>
      readInParts(
        bytes,
        Array(bytes.length + 1)
          .fill(1)
          .values(),
      ),
    );
    assert.equal(
      readInParts(
        make(8 * MAX_HELLO_BYTES),
        Array(8 * MAX_HELLO_BYTES)
          .fill(1000)
          .values(),
      ),
      null,
    );
  }
});
