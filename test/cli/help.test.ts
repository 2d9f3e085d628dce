import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands } from '../../src/control/commands.ts';
import { runWords } from './run-cli.ts';

test('help is printed on stdout, names every command and fits a terminal', { timeout: 60_000 }, async () => {
  const { exitCode, stdout, stderr } = await runWords(['--help']);
  assert.deepEqual({ exitCode, stderr }, { exitCode: 0, stderr: '' });
  for (const { name } of commands) assert.match(stdout, new RegExp(`^  ${name}\\b`, 'm'));
  for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
});

for (const { name, aliases, options } of commands) {
  test(
    `grace ${name} --help shows its usage, options and aliases, even with arguments that are wrong`,
    { timeout: 60_000 },
    async () => {
      const { exitCode, stdout } = await runWords([name, '--help', 'tcp:1', 'b', 'c', 'd']);
      assert.equal(exitCode, 0);
      assert.ok(stdout.startsWith(`Usage: grace ${name}`), stdout);
      for (const option of options) assert.ok(stdout.includes(`--${option.name}`), option.name);
      for (const alias of aliases) assert.ok(stdout.includes(`grace ${alias}`), alias);
      for (const line of stdout.split('\n')) assert.ok(line.length <= 80 || line.startsWith('Usage'), line);
      assert.equal((await runWords(['help', name])).stdout, stdout);
    },
  );
}

test('an alias shows the help of its command', { timeout: 60_000 }, async () => {
  assert.equal((await runWords(['-h', 'x'])).stdout, (await runWords(['switch', '--help'])).stdout);
});

test('without a command the help is on stderr and the exit code is 2', { timeout: 60_000 }, async () => {
  const { exitCode, stdout, stderr } = await runWords([]);
  assert.deepEqual({ exitCode, stdout }, { exitCode: 2, stdout: '' });
  assert.match(stderr, /Usage: grace/);
});

test('the version is printed with or without a command', { timeout: 60_000 }, async () => {
  for (const argv of [['--version'], ['-v'], ['ls', '--version']]) {
    assert.deepEqual(await runWords(argv), { exitCode: 0, stdout: 'grace 1.2.3\n', stderr: '' });
  }
});

test('help for an unknown command is refused', { timeout: 60_000 }, async () => {
  const { exitCode, stderr } = await runWords(['help', 'strat']);
  assert.equal(exitCode, 2);
  assert.equal(stderr, 'grace: there is no command "strat"\nhint: did you mean "grace start"?\n');
});

test('help endpoints names every parameter, within the width of a terminal', { timeout: 60_000 }, async () => {
  const { exitCode, stdout } = await runWords(['help', 'endpoints']);
  assert.equal(exitCode, 0);
  for (const name of ['maxconn', 'idle', 'privateKey', 'trustRoots', 'retry', 'bindAddress', 'tls://HOST:443'])
    assert.ok(stdout.includes(name), name);
  for (const line of stdout.split('\n')) assert.ok(line.length <= 80, line);
  for (const line of (await runWords(['start', '--help'])).stdout.split('\n')) assert.ok(line.length <= 80, line);
});
