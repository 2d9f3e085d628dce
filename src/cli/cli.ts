/**
 * The command line: reads the words, finds the command, runs it, and answers with an exit code.
 * Each command is a file of commands/ that is loaded when it runs, so that `grace ls` does not wait
 * for what only `grace start` needs.
 */
import { CAC } from 'cac';
import { visibleJson } from '../one-line.ts';
import { GraceError, errorCode, errorMessage } from '../error.ts';
import { exitCodeOf } from '../kinds.ts';
import { describeError } from '../sys/system-error.ts';
import type { Program } from '../control/shapes.ts';
import { checkLine, readLine, valueFromCac, wordsForCac } from './arguments.ts';
import { commands, globalOptions } from '../control/commands.ts';
import type { CommandDefinition } from '../control/commands.ts';
import type { OptionDefinition } from '../control/commands/definition.ts';
import { stateDir } from './context.ts';
import type { Context, Input, Output, Entrypoints } from './context.ts';
import { commandHelp, generalHelp } from './help.ts';
import { printError, printLine } from './output.ts';

export type { DaemonCommand, DemoCommand, Entrypoints } from './context.ts';

/** The process as the command line sees it; tests give their own. */
export type CliOptions = {
  /** The words after the program's name. */
  argv: readonly string[];
  env: NodeJS.ProcessEnv;
  cwd: string;
  stdout: Output;
  stderr: Output;
  readStdin: (limit: { maxBytes: number }) => Promise<Buffer>;
  /** Whether stdout is a terminal. */
  isTTY: boolean;
  /** Aborts when the user ends the command (Ctrl-C). */
  signal: AbortSignal;
  /** How this executable is started; a daemon is started the same way. */
  self: Program;
  /** Hear a signal of the process from now on, which does not end it then. Returns what ends that. Default: none comes. */
  onSignal?: ((signal: NodeJS.Signals, handler: () => void) => () => void) | undefined;
  /** The environment as the caller gave it, for programs of theirs. Default: `env`. */
  callersEnv?: (() => NodeJS.ProcessEnv) | undefined;
  version: string;
  /** What `--version` tells below the version, a line each. */
  versionDetails?: (() => Promise<readonly string[]>) | undefined;
  programs: Entrypoints;
};

/** What a file of commands/ exports; resolves with the exit code, rejects with GraceError. */
type CommandProgram = { run(context: Context, input: Input): number | Promise<number> };

/** Exit code of a command that the user ended, as a shell has it for SIGINT. */
const interruptedExitCode = 130;

/** Run one command line. Resolves with the exit code; what went wrong was printed on `stderr`. Never rejects. */
export async function runCli(options: CliOptions): Promise<number> {
  const { stderr } = options;
  stderr.on('error', () => {}); // nobody reads the errors; the exit code still tells
  const exitCode = await runAndTell(options);
  await flush(stderr); // who reads it slowly, as a pager, is to have all of it
  return exitCode;
}

async function runAndTell(options: CliOptions): Promise<number> {
  const { stdout, stderr, env, signal } = options;
  const unwritable = abortWhenUnwritable(stdout);
  const isReadOnly = isForReader(options.argv);
  let failure: unknown;
  let exitCode = 0;
  try {
    exitCode = await runLine({ ...options, signal: isReadOnly ? AbortSignal.any([signal, unwritable]) : signal });
    await flush(stdout);
  } catch (error) {
    failure = error;
    exitCode = exitCodeOf(error);
  }
  if (signal.aborted && failure !== undefined) return interruptedExitCode;
  if (unwritable.aborted) {
    // The reader may leave early (`grace logs -f | head -1`), which is no failure.
    const hasLeft = errorCode(unwritable.reason) === 'EPIPE';
    if (hasLeft && isReadOnly) return 0;
    if (hasLeft && failure === undefined) return exitCode;
    if (!hasLeft) {
      failure = new GraceError(`cannot write to stdout: ${describeError(unwritable.reason)}`);
      exitCode = 1;
    }
  }
  if (failure !== undefined) {
    const told = await forReader(failure, options);
    const isAnswered = failure instanceof GraceError && failure.isAnswered;
    if (wantsJson(options.argv) && !isAnswered && !unwritable.aborted) await printFailure(options, told, exitCode);
    printError({ stderr, env }, told);
  }
  return exitCode;
}

/** Whether the command does nothing but for who reads what it prints: without a reader it ends, and any other goes on to its end. */
function isForReader(argv: readonly string[]): boolean {
  try {
    const { command, options } = readLine(argv);
    return command === null || ['ls', 'logs'].includes(command.name) || options.has('watch');
  } catch {
    return true; // a line that does nothing
  }
}

/** The error with hints for the state dir that the command line names. */
async function forReader(failure: unknown, { argv, env, cwd }: CliOptions): Promise<unknown> {
  try {
    const { withUsefulHint } = await import('./hints.ts');
    const given = readLine(argv).options.get('dir');
    const option = typeof given === 'string' ? given : undefined;
    return withUsefulHint(failure, { dir: stateDir({ option, env, cwd }), option });
  } catch {
    return failure; // the command line itself is what is wrong
  }
}

function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  return argv.slice(0, end === -1 ? undefined : end).includes('--json');
}

/** Who asks for JSON reads from it why there is no result. */
async function printFailure({ stdout, isTTY }: CliOptions, failure: unknown, exitCode: number): Promise<void> {
  const { hint, code } = failure instanceof GraceError ? failure : { hint: undefined, code: undefined };
  printLine(
    stdout,
    visibleJson(
      JSON.stringify(
        {
          error: errorMessage(failure),
          ...(hint === undefined ? {} : { hint }),
          ...(code === undefined ? {} : { code }),
          exitCode,
        },
        null,
        isTTY ? 2 : 0,
      ),
    ),
  );
  await flush(stdout);
}

function abortWhenUnwritable(stdout: Output): AbortSignal {
  const aborter = new AbortController();
  stdout.on('error', (error: unknown) => aborter.abort(error));
  return aborter.signal;
}

/** Resolves when everything written has been taken by the system, or has failed. */
function flush(output: Output): Promise<void> {
  return new Promise((resolve) => output.write('', () => resolve()));
}

async function runLine(options: CliOptions): Promise<number> {
  const line = readLine(options.argv);
  const { stdout, stderr, version } = options;
  const { command } = line;
  if (line.options.has('help')) return printHelp(stdout, command);
  if (line.options.has('version')) {
    printLine(stdout, [`grace ${version}`, ...((await options.versionDetails?.()) ?? [])].join('\n'));
    return 0;
  }
  const [option] = line.options.keys();
  if (!command && option !== undefined)
    throw new GraceError(`no command was given, only --${option}`, {
      hint: 'see: grace --help',
      code: 'ERR_GRACE_USAGE',
    });
  if (!command) {
    printHelp(stderr, null);
    return 2;
  }
  checkLine({ ...line, command });
  return await runWithCac(wordsForCac({ ...line, command }), options);
}

function printHelp(output: Output, command: CommandDefinition | null): number {
  printLine(output, command ? commandHelp(command) : generalHelp());
  return 0;
}

/** Register every command of the table with cac, and let it find and run the one that is meant. */
async function runWithCac(words: readonly string[], options: CliOptions): Promise<number> {
  const cac = new CAC('grace');
  for (const option of globalOptions) cac.option(...forCac(option));
  cac.option('--json', 'print JSON');
  for (const { name, aliases, args, summary, options: own } of commands) {
    const shapes = args.map((each) =>
      each.isList ? `[...${each.name}]` : each.required ? `<${each.name}>` : `[${each.name}]`,
    );
    const command = cac.command([name, ...shapes].join(' '), summary);
    for (const alias of aliases) command.alias(alias);
    for (const option of own) command.option(...forCac(option));
    command.action(async (...values: unknown[]) => {
      const input = inputFromCac(values);
      // The build finds them all by this pattern.
      const program: CommandProgram = await import(`./commands/${name}.ts`);
      return await program.run(openContext(options, input), input);
    });
  }
  cac.parse(['', 'grace', ...words], { run: false });
  return await cac.runMatchedCommand();
}

function forCac({ name, short, value, help }: OptionDefinition): [rawName: string, description: string] {
  return [`${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}`, help];
}

/** cac calls an action with the arguments, then an object of the options by their names in camel case. */
function inputFromCac(values: readonly unknown[]): Input {
  const given = new Map<string, unknown>(Object.entries(values.at(-1) ?? {}));
  const read = (option: string): unknown => {
    const isNegation = option.startsWith('no-'); // cac reads --no-check as check: false
    const value = given.get(
      option.replace(/^no-/, '').replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    );
    return isNegation ? value === false : value;
  };
  return {
    args: values
      .slice(0, -1)
      .flatMap((value) => (Array.isArray(value) ? value.map(valueFromCac) : [valueFromCac(value)])),
    value: (option) => valueFromCac(read(option)),
    has: (option) => read(option) === true,
  };
}

function openContext(options: CliOptions, input: Input): Context {
  const { env, cwd, isTTY } = options;
  return {
    ...options,
    get dir() {
      return stateDir({ option: input.value('dir'), env, cwd });
    },
    onSignal: options.onSignal ?? (() => () => {}),
    callersEnv: options.callersEnv ?? (() => env),
    hasColors: isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb',
  };
}
