import assert from 'node:assert/strict';
import { appendFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Sink, openTempDir, runWords } from './run-cli.ts';

test('logs prints the whole log', { timeout: 60_000 }, async () => {
  using dir = openTempDir();
  const text = 'ein Satz – 日本\n'.repeat(20_000);
  writeFileSync(`${dir.path}/grace.log`, text);
  const chunks: Buffer[] = [];
  const stdout = new (class extends Sink {
    override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
      chunks.push(Buffer.from(chunk));
      setImmediate(done);
    }
  })();
  const { exitCode, stderr } = await runWords(['-d', dir.path, 'logs'], { stdout });
  assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: '' });
  assert.equal(Buffer.concat(chunks).toString(), text);
});

test('logs says where it looked for a log that is not there', { timeout: 60_000 }, async () => {
  using dir = openTempDir();
  const { exitCode, stdout, stderr } = await runWords(['-d', dir.path, 'logs']);
  assert.deepEqual({ exitCode, stdout }, { exitCode: 1, stdout: '' });
  assert.ok(stderr.startsWith(`grace: there is no log at ${dir.path}/grace.log\n`), stderr);
});

test('logs -f prints what is added, after a rotation and a truncation too, until Ctrl-C', { timeout: 60_000 }, async (t) => {
  using dir = openTempDir();
  const log = `${dir.path}/grace.log`;
  writeFileSync(log, 'one\n');
  const aborter = new AbortController();
  const steps: [seen: string, next: () => void][] = [
    ['one\n', () => appendFileSync(log, 'two\n')],
    [
      'two\n',
      () => {
        renameSync(log, `${log}.1`);
        appendFileSync(`${log}.1`, 'last words\n');
        writeFileSync(log, 'three\n');
      },
    ],
    ['three\n', () => appendFileSync(log, 'four, a longer line\n')],
    [
      'four, a longer line\n',
      () => {
        truncateSync(log);
        appendFileSync(log, 'five\n');
      },
    ],
    ['five\n', () => aborter.abort()],
  ];
  const stdout = new Sink((text) => {
    const [step] = steps;
    if (!step || !text.endsWith(step[0])) return;
    steps.shift();
    setImmediate(step[1]);
  });
  const { exitCode, stderr } = await runWords(['-d', dir.path, 'logs', '-f'], { stdout, signal: AbortSignal.any([aborter.signal, t.signal]) });
  assert.deepEqual({ exitCode, stderr }, { exitCode: 130, stderr: '' });
  assert.equal(stdout.text, 'one\ntwo\nlast words\nthree\nfour, a longer line\nfive\n');
});
