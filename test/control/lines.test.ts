import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { readLines } from '../../src/control/lines.ts';

async function read(chunks: string[]): Promise<unknown[]> {
  return await Array.fromAsync(readLines(Readable.from(chunks.map((chunk) => Buffer.from(chunk)))));
}

test('what is said of twenty thousand rules is one message', async () => {
  const rows = Array.from({ length: 20_000 }, (_, index) => ({ src: `tcp:${index}`, of: 'x'.repeat(500) }));
  const text = `${JSON.stringify({ rows })}\n`;
  const half = text.length >> 1;
  assert.deepEqual(await read([text.slice(0, half), text.slice(half), '{"next":1}\n']), [{ rows }, { next: 1 }]);
});

test('a line that does not end is not collected for ever', async () => {
  const piece = 'x'.repeat(8 * 1024 * 1024);
  await assert.rejects(read(Array<string>(9).fill(piece)), { name: 'RangeError', message: 'a message is too long' });
});
