import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLine, readLine } from '../../src/cli/arguments.ts';
import type { Line } from '../../src/cli/arguments.ts';
import { commands, globalOptions } from '../../src/control/commands.ts';
import { GraceError } from '../../src/error.ts';
import { findCommand } from '../../src/control/commands.ts';
import { usageOf } from '../../src/cli/help.ts';

const startUsage = `usage: ${usageOf(findCommand('start')!)}`;

function readChecked(argv: string[]): Line {
  const line = readLine(argv);
  const { command } = line;
  if (command) checkLine({ ...line, command });
  return line;
}

for (const { argv, ...expected } of [
  { argv: ['ls'], command: 'ls', args: [], options: {} },
  { argv: ['-d', '/tmp/a', 'ls'], command: 'ls', args: [], options: { dir: '/tmp/a' } },
  { argv: ['ls', '-d', '/tmp/a'], command: 'ls', args: [], options: { dir: '/tmp/a' } },
  { argv: ['--dir=/tmp/a', 'ls'], command: 'ls', args: [], options: { dir: '/tmp/a' } },
  { argv: ['ls', '--dir', '/tmp/a'], command: 'ls', args: [], options: { dir: '/tmp/a' } },
  { argv: ['-d/tmp/a', 'ls'], command: 'ls', args: [], options: { dir: '/tmp/a' } },
  { argv: ['-d=/tmp/a', 'ls'], command: 'ls', args: [], options: { dir: '/tmp/a' } },
  { argv: ['-d', '0123', 'ls'], command: 'ls', args: [], options: { dir: '0123' } },
  { argv: ['-d', 'a', '-d', 'b', 'ls'], command: 'ls', args: [], options: { dir: 'b' } },
  { argv: ['--dir=a=b', 'ls'], command: 'ls', args: [], options: { dir: 'a=b' } },
  { argv: ['--dir=a\nb', 'ls'], command: 'ls', args: [], options: { dir: 'a\nb' } },
  { argv: ['--dir=', 'ls'], command: 'ls', args: [], options: { dir: '' } },
  { argv: ['--json', 'ls'], command: 'ls', args: [], options: { json: true } },
  { argv: ['logs', '-fd', 'x'], command: 'logs', args: [], options: { follow: true, dir: 'x' } },
  { argv: ['x', 'tcp:1', 'tcp:a:2'], command: 'switch', args: ['tcp:1', 'tcp:a:2'], options: {} },
  {
    argv: ['switch', '--no-check', 'tcp:1', '--wait', 'tcp:a:2'],
    command: 'switch',
    args: ['tcp:1', 'tcp:a:2'],
    options: { 'no-check': true, wait: true },
  },
  { argv: ['w'], command: 'wait', args: [], options: {} },
  { argv: ['wait', '0123'], command: 'wait', args: ['0123'], options: {} },
  { argv: ['wait', '-'], command: 'wait', args: ['-'], options: {} },
  { argv: ['wait', '--timeout', '-5'], command: 'wait', args: [], options: { timeout: '-5' } },
  { argv: ['endpoint', 'server', '--', '-tcp:80'], command: 'endpoint', args: ['server', '-tcp:80'], options: {} },
  { argv: ['endpoint', '--', 'server', '--json'], command: 'endpoint', args: ['server', '--json'], options: {} },
  { argv: ['endpoint', 'server', ''], command: 'endpoint', args: ['server', ''], options: {} },
  { argv: ['--', 'ls'], command: 'ls', args: [], options: {} },
  { argv: [], command: undefined, args: [], options: {} },
]) {
  test(`the words ${JSON.stringify(argv)} are told apart`, () => {
    const { command, args, options } = readChecked(argv);
    assert.deepEqual({ command: command?.name, args: [...args], options: Object.fromEntries(options) }, expected);
  });
}

for (const [argv, message, hint] of [
  [['frobnicate'], 'there is no command "frobnicate"', 'see: grace --help'],
  [['strat'], 'there is no command "strat"', 'did you mean "grace start"?'],
  [['LS'], 'there is no command "LS"', /did you mean|see:/],
  [[''], 'there is no command ""', 'see: grace --help'],
  [['ls', '--jsn'], 'there is no option --jsn', 'did you mean --json?'],
  [['ls', '--jsn=1'], 'there is no option --jsn', 'did you mean --json?'],
  [['--', '--json'], 'there is no command "--json"', /grace/],
  [['ls', '-1'], 'there is no option -1', 'put -- before an argument that begins with a dash'],
  [['ls', '-fz'], 'there is no option -fz', /--/],
  [['ls', '--json=yes'], 'option --json takes no value', undefined],
  [['ls', '--no-json'], 'there is no option --no-json', /--/],
  [['ls', '-d'], 'option -d needs a value: -d DIR', undefined],
  [['-d', '--json', 'ls'], 'option -d needs a value: -d DIR', undefined],
  [['wait', '--timeout'], 'option --timeout needs a value: --timeout DURATION', undefined],
  [['wait', '--now'], 'wait has no option --now', 'usage: grace wait [SRC] [--timeout DURATION] [--json]'],
  [['start'], 'start needs SRC and DST', startUsage],
  [['start', 'tcp:1'], 'start needs DST', startUsage],
  [['start', 'a', 'b', 'c'], 'start has no use for the argument "c"', startUsage],
  [['ls', 'tcp:1', 'tcp:2'], 'ls has no use for the argument "tcp:2"', /usage/],
  [['endpoint', 'listener', 'tcp:1'], 'endpoint takes server or client, not "listener"', /usage/],
  [['ls', '--__proto__'], 'there is no option --__proto__', /--/],
] as const) {
  test(`the words ${JSON.stringify(argv)} are refused with exit code 2`, () => {
    assert.throws(
      () => readChecked([...argv]),
      (error) => {
        assert.ok(error instanceof GraceError);
        assert.equal(error.message, message);
        if (hint instanceof RegExp) assert.match(error.hint ?? '', hint);
        else assert.equal(error.hint, hint);
        assert.equal(error.code, 'ERR_GRACE_USAGE');
        return true;
      },
    );
  });
}

test('an option takes a value in every command that has it, or in none', () => {
  const seen = new Map<string, string | undefined>();
  for (const { name, short, value } of [...globalOptions, ...commands.flatMap((command) => command.options)]) {
    for (const key of [name, ...(short === undefined ? [] : [`-${short}`])]) {
      const meaning = key === name ? value : name;
      assert.ok(!seen.has(key) || seen.get(key) === meaning, `${key} means two things`);
      seen.set(key, meaning);
    }
  }
});
