import assert from 'node:assert/strict';
import { readFileSync, readSync, renameSync } from 'node:fs';
import { test } from 'node:test';
import { AccessLog } from '../../../src/daemon/log/access-log.ts';
import type { AccessLogPlace } from '../../../src/daemon/log/access-log.ts';
import { makeTempDir } from '../../net/temp-dir.ts';
import { openSocketPair } from '../../../src/sys/socket.ts';
import { closeFd } from '../../../src/sys/descriptor.ts';
import { until } from '../../until.ts';

const timeout = 20_000;

function open(place: AccessLogPlace) {
  const counts = { written: 0, lost: 0 };
  const troubles: (string | null)[] = [];
  const log = new AccessLog({
    place,
    counted: (what, lines) => void (counts[what] += lines),
    troubled: (trouble) => void troubles.push(trouble),
  });
  return { log, counts, troubles };
}

test('lines come into the file, and into the new one once it is opened again', { timeout }, async () => {
  using temp = makeTempDir();
  const path = temp.file('access.log');
  const { log, counts } = open({ kind: 'file', path });
  for (let line = 1; line <= 1000; line++) log.write(`${line}\n`);
  await until('the lines are written', () => counts.written === 1000);
  log.write('before\n');
  renameSync(path, `${path}.1`);
  log.reopen();
  await until('the line before is written', () => counts.written === 1001);
  await until('the new file is there', () => readFileSync(path, 'utf8') === '');
  log.write('after\n');
  await log.close();
  assert.equal(readFileSync(path, 'utf8'), 'after\n');
  assert.match(readFileSync(`${path}.1`, 'utf8'), /^1\n2\n(.*\n)*1000\nbefore\n$/);
  assert.deepEqual(counts, { written: 1002, lost: 0 });
});

test('what a file does not take is counted, told once, and told again when that is over', { timeout }, async (t) => {
  if (process.platform !== 'linux') return t.skip('no /dev/full');
  const { log, counts, troubles } = open({ kind: 'file', path: '/dev/full' });
  for (let round = 1; round <= 2; round++) {
    log.write('line\n');
    await until('the line is lost', () => counts.lost === round);
  }
  await log.close();
  assert.equal(counts.written, 0);
  assert.equal(troubles.length, 1);
  assert.match(troubles[0] ?? '', /ENOSPC|no space/i);
});

test('a reader that reads nothing holds up nobody, and gets whole lines', { timeout }, async (t) => {
  if (process.platform !== 'linux') return t.skip('a socket pair needs the calls of Linux');
  const [ours, theirs] = openSocketPair('stream');
  const { log, counts } = open({ kind: 'console', fd: ours });
  const line = `${'x'.repeat(999)}\n`;
  const count = 8000;
  for (let written = 0; written < count; written++) log.write(line);
  assert.ok(counts.lost > 0, 'what waits is bounded');
  await until('the socket is full', () => counts.written > 0);
  await log.close();
  assert.equal(counts.written + counts.lost, count);
  closeFd(ours);
  const buffer = new Uint8Array(1_000_000);
  let text = '';
  for (let length = 0; (length = readSync(theirs, buffer)) > 0;)
    text += new TextDecoder().decode(buffer.subarray(0, length));
  closeFd(theirs);
  assert.equal(text, line.repeat(counts.written));
});
