import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { commands, globalOptions } from '../../src/control/commands.ts';
import { runWords } from './run-cli.ts';

const timeout = 60_000;

/** The page as a reader sees it: one space between words, no line ends. */
function formatted(page: string): string | null {
  const { error, stdout } = spawnSync('man', ['-l', '-'], {
    input: page,
    encoding: 'utf8',
    env: { ...process.env, MANWIDTH: '200', LC_ALL: 'C', MAN_KEEP_FORMATTING: '', TERM: 'dumb' },
  });
  // oxlint-disable-next-line no-control-regex -- bold is a letter, a backspace and the letter again
  return error ? null : stdout.replace(/.\u0008/g, '').replace(/\s+/g, ' ');
}

test('the manual page has every command, option and example', { timeout }, async (t) => {
  const { stdout: page, exitCode } = await runWords(['man']);
  assert.equal(exitCode, 0);
  assert.match(page, /^\.TH GRACE 1 "" "grace 1\.2\.3"/);
  const text = formatted(page);
  if (text === null) return t.skip('man is not installed');
  for (const { name, args, options, examples } of commands) {
    assert.ok(text.includes(`grace ${name}`), name);
    for (const word of [
      ...args.map((argument) => argument.name),
      ...options.flatMap((option) => [`--${option.name}`, option.help]),
      ...examples,
    ]) {
      assert.ok(text.includes(word), `${name}: ${word}`);
    }
  }
  for (const { name, help } of globalOptions) assert.ok(text.includes(`--${name}`) && text.includes(help), name);
});

for (const [file, ...args] of [
  ['man', '--warnings', '-l', '-'],
  ['mandoc', '-T', 'lint', '-W', 'error'],
] as const) {
  test(`${file} has nothing to say against the manual page`, { timeout }, async (t) => {
    const { stdout: page } = await runWords(['man']);
    const { error, status, stderr, stdout } = spawnSync(file, args, {
      input: page,
      encoding: 'utf8',
      env: { ...process.env, MANPAGER: 'cat', LC_ALL: 'C' },
    });
    if (error) return t.skip(`${file} is not installed`);
    assert.equal(status, 0, stderr + stdout);
    assert.equal(stderr, '');
  });
}
