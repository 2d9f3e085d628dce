import assert from 'node:assert/strict';
import { closeSync, readSync } from 'node:fs';
import { test } from 'node:test';
import { Console } from '../../../src/daemon/log/console.ts';
import { setNonBlocking } from '../../../src/sys/descriptor.ts';
import { openSocketPair } from '../../../src/sys/socket.ts';

const skip = process.platform !== 'linux' && 'socket pairs are made with calls of Linux';

/** Standard error whose reader reads when the test says so. */
function setUp() {
  const [writer, reader] = openSocketPair('stream');
  setNonBlocking(reader, true);
  const read = () => {
    const parts: Buffer[] = [];
    const part = Buffer.alloc(65_536);
    try {
      for (let length = readSync(reader, part); length > 0; length = readSync(reader, part))
        parts.push(Buffer.from(part.subarray(0, length)));
    } catch {
      // EAGAIN: that is all for now.
    }
    return Buffer.concat(parts).toString();
  };
  let isReading = true;
  const leave = () => {
    if (isReading) closeSync(reader);
    isReading = false;
  };
  const end = () => {
    leave();
    closeSync(writer);
  };
  return { console: new Console(writer), read, leave, [Symbol.dispose]: end };
}

test('lines come whole and in order', { skip }, () => {
  using parts = setUp();
  parts.console.write('one\n');
  parts.console.write('two\n');
  assert.equal(parts.read(), 'one\ntwo\n');
});

test('a reader that is stuck costs lines, never time, and is told how many when it reads again', { skip }, () => {
  using parts = setUp();
  const written = 20_000;
  for (let index = 0; index < written; index++) parts.console.write(`line ${index} ${'x'.repeat(100)}\n`);
  const taken = parts.read().match(/^line \d+ x+$/gm)!.length;
  assert.ok(taken > 0 && taken < written, `${taken} taken`);
  parts.console.write('again\n');
  const dropped = Number(/^([0-9]+) lines were dropped: nobody took them\nagain\n$/m.exec(parts.read())?.[1]);
  assert.equal(taken + dropped, written);
});

test('a reader that is gone is no error', { skip }, () => {
  using parts = setUp();
  parts.leave();
  parts.console.write('nobody\n');
});
