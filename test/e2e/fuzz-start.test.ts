/** The executable, started with whatever a command line or an environment may hold. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { commands, globalOptions } from '../../src/control/commands.ts';
import { alwaysInTime, hostileText, timeout } from '../hostile.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { startProgram } from './grace.ts';
import type { Outcome } from './grace.ts';

/** Exit codes of commands; 130 and 143 are of signals, which nobody sends here. */
const exitCodes = [0, 1, 2, 3, 4, 5, 124];

/** Run it to its end; a daemon that serves is ended. */
async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  const { child, ended } = startProgram(args, env);
  const timer = setTimeout(() => child.kill('SIGTERM'), 30_000);
  const outcome = await ended;
  clearTimeout(timer);
  return outcome;
}

/** An exit code of the table, and what is wrong in a line or two without a trace of the program. */
function mustBeOrderly({ code, stderr }: Outcome, what: unknown): void {
  const told = `${JSON.stringify(what)}: exit ${code}: ${stderr}`;
  assert.ok(code !== null && exitCodes.includes(code), told);
  assert.doesNotMatch(
    stderr,
    /mistake in grace|internal error|TypeError|RangeError|node:internal|^ {4}at |[\p{Cc}--\n]/mv,
    told,
  );
  if (code === 0) return;
  const lines = stderr.split('\n').filter((line) => line !== '');
  assert.ok(
    lines.every((line) => line.length < 10_000),
    told,
  );
  assert.ok(lines.length >= 1 && lines.some((line) => line.startsWith('grace: ') || line.startsWith('Usage')), told);
}

/** What neither serves, waits, nor changes what is not in the state dir. */
const quick = commands.filter(
  ({ name }) => !['demo', 'hold', 'wait', 'upgrade', 'daemon', 'start', 'logs'].includes(name),
);
const words = [
  quick.flatMap(({ name, aliases }) => [name, ...aliases]),
  [...globalOptions, ...commands.flatMap(({ options }) => options)].map(({ name }) => `--${name}`),
  [
    '--',
    '-',
    '-f',
    '-dX',
    '--dir=',
    '--json',
    '--timeout=1ms',
    '--timeout',
    '1e999',
    '-1',
    '0',
    'tcp:0',
    'web',
    '/nowhere',
    '8080',
    '127.0.0.1:1',
  ],
  [
    '--__proto__',
    '--no-',
    '--json=1',
    '---',
    '--=',
    '-\u001b',
    '--\u001b[2J',
    'a\nb',
    '\u202e',
    'x'.repeat(50_000),
    '9'.repeat(400),
  ],
].flat();
const commandLine = fc
  .tuple(
    fc.constantFrom(...quick.map(({ name }) => name), 'fly', ''),
    fc.array(
      fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...words) }, { weight: 1, arbitrary: hostileText(words, 3) }),
      { maxLength: 5 },
    ),
  )
  .map(([name, rest]) => [name, ...rest].map((word) => word.replaceAll('\0', '')))
  // It would run, replace or follow something.
  .filter(
    (line) =>
      !line.some((word) =>
        /^(demo|hold|wait|w$|--wait|upgrade|daemon|start|add|logs|--exec|--watch|-f|--follow)/.test(word),
      ),
  );

test(
  'any command line ends with a code of the table and says what is wrong in a line or two',
  { timeout },
  async () => {
    using temp = makeTempDir();
    await alwaysInTime(8, fc.array(commandLine, { minLength: 3, maxLength: 3 }), async (lines) => {
      await Promise.all(
        lines.map(async (line) =>
          mustBeOrderly(await run(line, { GRACE_DIR: temp.file('state'), HOME: temp.path }), line),
        ),
      );
    });
  },
);

const names = [
  ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES', 'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID'],
  ['GRACE_LOG', 'GRACE_ENGINE', 'GRACE_PARENT', 'GRACE_SUCCESSOR', 'GRACE_LAUNCHED', 'GRACE_GIVEN_RULES'],
  [
    'GRACE_KEEPER',
    'GRACE_KEEPER_STATE',
    'GRACE_SERVING_FD',
    'GRACE_DEBUG',
    'GRACE_THREADS',
    'SSL_CERT_FILE',
    'TERM',
    'TZ',
    'LANG',
  ],
].flat();
const value = fc.oneof(
  fc.constantFrom(
    '',
    '0',
    '1',
    '3',
    '-1',
    '99999',
    '999999999999',
    '1e9',
    'a:b',
    ':',
    '[]',
    '{}',
    '[{}]',
    '{"a":1}',
    '/nowhere',
    '@',
    '@x',
    'native',
    'x'.repeat(50_000),
  ),
  hostileText(['1', ':', ',', '/', '{', '}', '[', ']'], 4),
);
const environment = fc
  .dictionary(fc.constantFrom(...names), value, { minKeys: 1, maxKeys: 4 })
  .map((env) => Object.fromEntries(Object.entries(env).map(([name, text]) => [name, text.replaceAll('\0', '')])));

test('whatever the environment says, a daemon starts or says in a line or two why not', { timeout }, async (t) => {
  using temp = makeTempDir();
  let count = 0;
  await alwaysInTime(4, fc.array(environment, { minLength: 3, maxLength: 3 }), async (all) => {
    await Promise.all(
      all.map(async (env) => {
        const state = temp.file(String(count++));
        const { child, ended } = startProgram(['-d', state, 'daemon', '--log', '-'], {
          HOME: temp.path,
          GRACE_LOG: '',
          ...env,
        });
        child.stderr?.on('data', () => existsSync(join(state, 'grace.sock')) && child.kill('SIGTERM'));
        t.after(() => void child.kill('SIGKILL'));
        const timer = setInterval(() => existsSync(join(state, 'grace.sock')) && child.kill('SIGTERM'), 100);
        const late = setTimeout(() => child.kill('SIGKILL'), 20_000);
        const outcome = await ended;
        clearInterval(timer);
        clearTimeout(late);
        mustBeOrderly(outcome, env);
      }),
    );
  });
});

test(
  'what processes of grace leave to one another is refused in words where somebody else has left it',
  { timeout },
  async () => {
    using temp = makeTempDir();
    for (const [env, message] of [
      [{ GRACE_KEEPER_STATE: '' }, /^grace: cannot go on as a keeper, as GRACE_KEEPER_STATE says: /],
      [{ GRACE_KEEPER_STATE: '../fd/999999' }, /^grace: cannot go on as a keeper/],
      [{ GRACE_STEP_ASIDE: '1', LISTEN_FDS: '999999999999' }, /^grace: cannot step aside: LISTEN_FDS is "9+"/],
      [{ GRACE_GIVEN_RULES: '{"a"', GRACE_SUCCESSOR: '1' }, /^grace: /],
    ] as const) {
      const outcome = await run(['-d', temp.file('state'), 'daemon', '--log', '-'], { ...env, HOME: temp.path });
      mustBeOrderly(outcome, env);
      assert.match(outcome.stderr, message);
    }
  },
);
