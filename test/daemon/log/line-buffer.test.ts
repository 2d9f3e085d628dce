import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineBuffer } from '../../../src/daemon/log/line-buffer.ts';

const lines = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `${from + index} wörd €\n`);

test('lines come out as they came in, however many, in blocks that are used again', () => {
  const buffer = new LineBuffer();
  let before: ArrayBufferLike | undefined;
  for (const count of [1, 10_000, 3, 5000, 100, 20]) {
    for (const line of lines(count)) buffer.add(line);
    assert.equal(buffer.lines, count);
    const { bytes, lines: taken } = buffer.take();
    assert.equal(taken, count);
    buffer.add('while it is written\n');
    assert.equal(bytes.toString(), lines(count).join(''));
    buffer.giveBack(bytes);
    const other = buffer.take();
    assert.equal(other.bytes.toString(), 'while it is written\n');
    buffer.giveBack(other.bytes);
    assert.notEqual(other.bytes.buffer, bytes.buffer);
    if (count < 1000 && before) assert.ok([bytes.buffer, other.bytes.buffer].includes(before), 'memory is used again');
    before = other.bytes.buffer;
  }
  assert.equal(buffer.size, 0);
});

test('what was not taken whole stays, before what comes later', () => {
  const buffer = new LineBuffer();
  for (const line of lines(3)) buffer.add(line);
  assert.equal(Buffer.from(buffer.peek()).toString(), lines(3).join(''));
  buffer.drop(Buffer.byteLength(lines(1).join('')), 1);
  buffer.add('later\n');
  assert.equal(buffer.lines, 3);
  assert.equal(Buffer.from(buffer.peek()).toString(), `${lines(2, 1).join('')}later\n`);
});
