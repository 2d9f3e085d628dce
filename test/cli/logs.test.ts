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

test(
  'logs -f prints what is added, after a rotation and a truncation too, until Ctrl-C',
  { timeout: 60_000 },
  async (t) => {
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
    const { exitCode, stderr } = await runWords(['-d', dir.path, 'logs', '-f'], {
      stdout,
      signal: AbortSignal.any([aborter.signal, t.signal]),
    });
    assert.deepEqual({ exitCode, stderr }, { exitCode: 130, stderr: '' });
    assert.equal(stdout.text, 'one\ntwo\nlast words\nthree\nfour, a longer line\nfive\n');
  },
);

const lines = [
  '[2026-11-25 10:00:00.000 +0000] INFO (1): rule started {"src":"tcp:8080","dst":"tcp:localhost:1"}\n',
  '[2026-11-25 11:00:00.000 +0000] INFO (1): rule started {"src":"tcp:9090","dst":"tcp:localhost:1"}\n',
  'what a crash prints\n',
  '{"level":"info","time":"2026-11-25T12:00:00.000Z","pid":2,"src":"tcp:port=8080","msg":"rule switched"}\n',
];

for (const [words, wanted] of [
  [
    ['-n', '2'],
    [2, 3],
  ],
  [['-n', '0'], []],
  [['tcp:8080'], [0, 3]],
  [['tcp:8080', '--lines=1'], [3]],
  [
    ['--since', '2026-11-25T10:30:00Z'],
    [1, 2, 3],
  ],
  [['--since', '2026-11-25T11:30:00Z', 'tcp:9090'], []],
] as const) {
  test(`logs ${words.join(' ')} prints those lines alone`, { timeout: 60_000 }, async () => {
    using dir = openTempDir();
    writeFileSync(`${dir.path}/grace.log`, lines.join('').trimEnd());
    const { exitCode, stdout, stderr } = await runWords(['-d', dir.path, 'logs', ...words]);
    assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: '' });
    assert.equal(
      stdout.trimEnd(),
      wanted
        .map((index) => lines[index])
        .join('')
        .trimEnd(),
    );
  });
}

test('logs says what a number of lines and a time are', { timeout: 60_000 }, async () => {
  for (const words of [
    ['-n', 'ten'],
    ['--since', '2026-99'],
    ['--since', 'yesterday'],
  ]) {
    const { exitCode, stderr } = await runWords(['-d', '/nowhere', 'logs', ...words]);
    assert.equal(exitCode, 2);
    assert.match(stderr, /^grace: (-n takes a number of lines|cannot read --since .*2026-01-31)/s);
  }
});
