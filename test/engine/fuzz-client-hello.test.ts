import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClientHelloReader, MAX_HELLO_BYTES, readClientHello, usableKeyTypes } from '../../src/engine/client-hello.ts';
import { always, mustBeLinear, mutatedBytes, timeout } from '../hostile.ts';
import { helloOf, inRecords, record } from './hellos.ts';

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
  const whole = await helloOf({ servername: 'a.example' });
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
