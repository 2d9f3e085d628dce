import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { stateDir } from '../../src/cli/context.ts';
import type { DaemonCommand } from '../../src/cli/context.ts';
import { destinationRow } from './destination-row.ts';
import { openFakeDaemon } from './fake-daemon.ts';
import { openTempDir, runWords } from './run-cli.ts';

for (const { option, env, expected } of [
  { option: '/a', env: { GRACE_DIR: '/b', HOME: '/h' }, expected: '/a' },
  { option: 'a', env: {}, expected: '/cwd/a' },
  { option: undefined, env: { GRACE_DIR: '/b', HOME: '/h' }, expected: '/b' },
  { option: undefined, env: { GRACE_DIR: 'b', HOME: '/h' }, expected: '/cwd/b' },
  { option: undefined, env: { GRACE_DIR: '', HOME: '/h' }, expected: '/h/.grace' },
  { option: undefined, env: { HOME: '/h' }, expected: '/h/.grace' },
]) {
  test(`the state dir for -d ${option} and ${JSON.stringify(env)} is ${expected}`, () => {
    assert.equal(stateDir({ option, env, cwd: '/cwd' }), expected);
  });
}

test('without HOME the state dir is in the home of the user that the system knows', () => {
  for (const env of [{}, { HOME: '' }])
    assert.equal(stateDir({ option: undefined, env, cwd: '/cwd' }), join(userInfo().homedir, '.grace'));
});

test('an empty -d is refused', { timeout: 60_000 }, async () => {
  const { exitCode, stderr } = await runWords(['-d', '', 'ls']);
  assert.deepEqual(
    { exitCode, stderr },
    { exitCode: 2, stderr: 'grace: option --dir needs a directory, not an empty text\n' },
  );
});

for (const argv of [
  ['ls'],
  ['ls', '--json'],
  ['wait'],
  ['w', 'tcp:9000'],
  ['stop'],
  ['stop', 'tcp:9000'],
  ['restart'],
  ['status'],
  ['x', 'tcp:9000', 'tcp:a:1'],
]) {
  test(`grace ${argv.join(' ')} exits with 3 when no daemon runs`, { timeout: 60_000 }, async () => {
    using dir = openTempDir();
    const { exitCode, stdout, stderr } = await runWords(['-d', dir.path, ...argv]);
    assert.equal(exitCode, 3);
    if (argv.some((word) => word === '--json'))
      assert.deepEqual([JSON.parse(stdout).error, JSON.parse(stdout).exitCode], [`no daemon runs in ${dir.path}`, 3]);
    else assert.equal(stdout, '');
    assert.ok(stderr.startsWith(`grace: no daemon runs in ${dir.path}\n`), stderr);
  });
}

test('a reader of the errors that is slow, as a pager, gets all of them', { timeout: 60_000 }, async () => {
  using dir = openTempDir();
  let text = '';
  const stderr = new Writable({
    write(chunk: Buffer, _, done) {
      setImmediate(() => {
        text += chunk.toString();
        done();
      });
    },
  });
  assert.equal((await runWords(['-d', dir.path, 'ls'], { stderr })).exitCode, 3);
  assert.match(text, /^grace: no daemon runs in .*\nhint: start one with: .*\n$/);
});

test('a wrong endpoint is told before anybody looks for a daemon', { timeout: 60_000 }, async () => {
  using dir = openTempDir();
  for (const argv of [
    ['start', 'tcp:x', 'tcp:a:1'],
    ['start', 'tcp:1', 'tcp:a'],
    ['x', 'tcp:1', 'bogus'],
    ['wait', 'tcp:'],
    ['stop', 'tcp:-1'],
  ]) {
    const { exitCode, stdout, stderr } = await runWords(['-d', dir.path, ...argv]);
    assert.deepEqual({ exitCode, stdout }, { exitCode: 2, stdout: '' }, argv.join(' '));
    assert.match(stderr, /^grace: cannot (read|use) endpoint "/);
  }
});

test('what the daemon says is wrong is printed with its hint and its exit code', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [
    { error: { message: 'no such thing', hint: 'try another', exitCode: 1 } },
  ]);
  const { exitCode, stdout, stderr } = await runWords(['-d', daemon.dir, 'ls']);
  assert.deepEqual(
    { exitCode, stdout, stderr },
    { exitCode: 1, stdout: '', stderr: 'grace: no such thing\nhint: try another\n' },
  );
});

/** A stdout whose every write fails, as that of a pipe whose reader left or of a full disk. */
function brokenStdout(code: string): Writable {
  return new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error(`write ${code}`), { code })),
  });
}

test('a reader of stdout that leaves early is no failure', { timeout: 60_000 }, async () => {
  await using daemon = await openFakeDaemon(() => [{ result: { rows: [destinationRow({})] } }]);
  const { exitCode, stderr } = await runWords(['-d', daemon.dir, 'ls'], { stdout: brokenStdout('EPIPE') });
  assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: '' });
});

test(
  'a reader of stdout that leaves early does not keep apply from making all changes',
  { timeout: 60_000 },
  async () => {
    await using daemon = await openFakeDaemon(({ command, rules }) =>
      command === 'export'
        ? [{ result: { rules: made } }]
        : [
            { progress: { made: made.push(...(rules as typeof made)) && (rules as []).length, notes: [] } },
            { result: { closed: 0 } },
          ],
    );
    const made: { src: object; dst: object }[] = [];
    const sources = Array.from({ length: 250 }, (_, number) => `  - {src: 'unix:/s${number}', dst: '9'}\n`);
    writeFileSync(join(daemon.dir, 'rules.yaml'), `rules:\n${sources.join('')}`);
    const { exitCode, stderr } = await runWords(['-d', daemon.dir, 'apply', join(daemon.dir, 'rules.yaml')], {
      stdout: brokenStdout('EPIPE'),
    });
    assert.deepEqual([exitCode, stderr, made.length], [0, '', sources.length]);
  },
);

test('a stdout that cannot be written is a failure', { timeout: 60_000 }, async () => {
  const { exitCode, stderr } = await runWords(['--help'], { stdout: brokenStdout('ENOSPC') });
  assert.deepEqual(
    { exitCode, stderr },
    { exitCode: 1, stderr: 'grace: cannot write to stdout: no space left on device (ENOSPC)\n' },
  );
});

const defaults = {
  engine: 'auto',
  threads: null,
  maxconn: null,
  'log-format': 'text',
  'socket-group': null,
  user: null,
  group: null,
  admin: null,
  'admin-token': null,
  'access-log': null,
  'access-log-format': 'text',
} as const;

for (const { argv, expected } of [
  { argv: ['daemon'], expected: { dir: '/s', keeper: undefined, log: undefined, settings: defaults, flags: [] } },
  {
    argv: ['daemon', '--no-keeper'],
    expected: { dir: '/s', keeper: false, log: undefined, settings: defaults, flags: [] },
  },
  {
    argv: ['daemon', '--log', 'own.log'],
    expected: { dir: '/s', keeper: undefined, log: '/nowhere/own.log', settings: defaults, flags: [] },
  },
  {
    argv: ['daemon', '--engine', 'portable', '--log-format=json'],
    expected: {
      dir: '/s',
      keeper: undefined,
      log: undefined,
      settings: { ...defaults, engine: 'portable', 'log-format': 'json' },
      flags: ['--engine', 'portable', '--log-format', 'json'],
    },
  },
  {
    argv: ['daemon', '--socket-group', '7', '--engine=native', '--threads', '2'],
    expected: {
      dir: '/s',
      keeper: undefined,
      log: undefined,
      settings: { ...defaults, engine: 'native', threads: 2, 'socket-group': 7 },
      flags: ['--engine', 'native', '--threads', '2', '--socket-group', '7'],
    },
  },
] as const) {
  test(`grace ${argv.join(' ')} runs the daemon in this process with its options`, { timeout: 60_000 }, async () => {
    const seen: DaemonCommand[] = [];
    const programs = {
      daemon: (options: DaemonCommand) => Promise.resolve(seen.push(options) + 6),
      demo: () => Promise.resolve(0),
    };
    const { exitCode } = await runWords(['-d', '/s', ...argv], { programs });
    assert.equal(exitCode, 7);
    assert.deepEqual(seen, [{ rules: [], ...expected }]);
  });
}

test('an engine or a log format that does not exist is refused', { timeout: 60_000 }, async () => {
  for (const [argv, message] of [
    [['--engine', 'steam'], 'grace: --engine takes auto, native or portable, not "steam"\n'],
    [['--threads', '0'], 'grace: --threads takes a number from 1 to 64, not "0"\n'],
    [['--log-format', 'xml'], 'grace: --log-format takes text or json, not "xml"\n'],
  ] as const) {
    assert.deepEqual(await runWords(['daemon', ...argv]), { exitCode: 2, stdout: '', stderr: message });
  }
});

test(
  'an option without a command is answered in two lines, and not with the whole help',
  { timeout: 60_000 },
  async () => {
    for (const words of [['--json'], ['-d', '/nowhere']]) {
      const { exitCode, stdout, stderr } = await runWords(words);
      assert.equal(exitCode, 2);
      assert.equal(stdout === '', words[0] !== '--json');
      assert.match(stderr, /^grace: no command was given, only --(json|dir)\nhint: see: grace --help\n$/);
    }
  },
);

test('the words of other programs do what they mean', { timeout: 60_000 }, async () => {
  using dir = openTempDir();
  for (const words of [['rm', 'tcp:1'], ['remove', '1'], ['delete', ':1'], ['list'], ['reload']]) {
    assert.equal((await runWords(['-d', dir.path, ...words])).exitCode, 3, words.join(' '));
  }
  for (const words of [['version'], ['-V'], ['-v']])
    assert.deepEqual(await runWords(words), { exitCode: 0, stdout: 'grace 1.2.3\n', stderr: '' });
  assert.deepEqual(await runWords(['demo', '--addresses', '']), {
    exitCode: 2,
    stdout: '',
    stderr: 'grace: option --addresses needs addresses, not an empty text\n',
  });
  assert.deepEqual(await runWords(['rm']), {
    exitCode: 2,
    stdout: '',
    stderr: 'grace: rm needs SRC\nhint: to stop the daemon: grace stop\n',
  });
});

test('swapped endpoints are answered with the line as it should be', { timeout: 60_000 }, async () => {
  const { exitCode, stderr } = await runWords(['start', 'tcp:127.0.0.1:9001', 'tcp:8080']);
  assert.equal(exitCode, 2);
  assert.match(stderr, /^grace: SRC and DST are swapped: .*\nhint: grace start 'tcp:8080' 'tcp:127\.0\.0\.1:9001'\n$/);
  // A URL and a port alone are a DST that is wrong, whatever else can be read into them.
  for (const [src, dst, message] of [
    ['localhost:8080', 'tls://localhost', /"tls:\/\/localhost": missing port, /],
    ['a.test:8080', 'tls://localhost', /"a\.test:8080": /],
    ['localhost:8080', '0', /port "0" is out of range \(use 1-65535\)/],
  ] as const) {
    const wrong = await runWords(['switch', src, dst]);
    assert.equal(wrong.exitCode, 2);
    assert.match(wrong.stderr, message);
    assert.doesNotMatch(wrong.stderr, /swapped/);
  }
});
