import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusLine, formatSize, formatTable, printError } from '../../src/cli/output.ts';
import { visible } from '../../src/one-line.ts';
import type { Context } from '../../src/cli/context.ts';
import { GraceError } from '../../src/error.ts';
import { Sink } from './run-cli.ts';

for (const [bytes, expected] of [
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [1540, '1.5 kB'],
  [9_949, '9.9 kB'],
  [9_950, '10 kB'],
  [999_499, '999 kB'],
  [999_500, '1.0 MB'],
  [20_000_000, '20 MB'],
  [3.2e18, '3200 PB'],
] as const) {
  test(`${bytes} bytes are shown as ${expected}`, () => {
    assert.equal(formatSize(bytes), expected);
  });
}

test('a table has columns two spaces apart and no spaces at the end of a line', { timeout: 60_000 }, async () => {
  const table = await formatTable(
    [{ title: 'src' }, { title: 'connections', align: 'right' }, { title: 'status' }],
    [
      ['tcp:9000', '12', 'active'],
      ['unix:/tmp/日本', '1', ''],
    ],
  );
  assert.equal(
    table,
    ['src             connections  status', 'tcp:9000                 12  active', 'unix:/tmp/日本            1'].join(
      '\n',
    ),
  );
});

test('a table without rows is its head', { timeout: 60_000 }, async () => {
  assert.equal(await formatTable([{ title: 'src' }, { title: 'dst' }], []), 'src  dst');
});

test('control characters are made visible', () => {
  assert.equal(visible('a\u001b[31m\n\u0000b'), 'a\\u{1b}[31m\\u{a}\\u{0}b');
});

test('an error is one line and its hint another', () => {
  const stderr = new Sink();
  printError({ stderr, env: {} }, new GraceError('cannot do it:\n  first\n  second', { hint: 'try again' }));
  assert.equal(stderr.text, 'grace: cannot do it: first; second\nhint: try again\n');
});

test('a mistake in grace shows its stack trace for GRACE_DEBUG alone', () => {
  const [quiet, loud] = [new Sink(), new Sink()];
  printError({ stderr: quiet, env: {} }, new TypeError('oops'));
  printError({ stderr: loud, env: { GRACE_DEBUG: '1' } }, new TypeError('oops'));
  assert.equal(quiet.text, 'grace: oops\nhint: this is a mistake in grace; GRACE_DEBUG=1 shows where\n');
  assert.match(loud.text, /TypeError: oops\n\s+at /);
});

function contextOf(options: { isTTY: boolean; env?: NodeJS.ProcessEnv }): { context: Context; stdout: Sink } {
  const stdout = new Sink();
  const context: Context = {
    env: {},
    cwd: '/',
    dir: '/',
    stdout,
    stderr: new Sink(),
    hasColors: false,
    readStdin: () => Promise.resolve(Buffer.alloc(0)),
    onSignal: () => () => {},
    callersEnv: () => ({}),
    signal: new AbortController().signal,
    self: { file: '', args: [] },
    version: '',
    programs: { daemon: () => Promise.resolve(0), demo: () => Promise.resolve(0) },
    ...options,
  };
  return { context, stdout };
}

test('a status line is written over, cut to the width of the terminal, and erased at the end', () => {
  const { context, stdout } = contextOf({ isTTY: true });
  stdout.columns = 10;
  {
    using line = new StatusLine(context);
    line.show('short');
    line.show('0123456789');
  }
  assert.equal(stdout.text, '\r\u001b[Kshort\r\u001b[K012345...\r\u001b[K');
});

test('a status line shows nothing where there is no terminal, and plain lines on a dumb one', () => {
  const pipe = contextOf({ isTTY: false });
  const dumb = contextOf({ isTTY: true, env: { TERM: 'dumb' } });
  for (const { context } of [pipe, dumb]) {
    using line = new StatusLine(context);
    line.show('waiting');
  }
  assert.deepEqual([pipe.stdout.text, dumb.stdout.text], ['', 'waiting\n']);
});
