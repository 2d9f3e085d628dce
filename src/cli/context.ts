import { userInfo } from 'node:os';
import { resolve } from 'node:path';
import { GraceError } from '../error.ts';
import type { DaemonSettings } from '../control/daemon-options.ts';
import type { GivenRule } from '../control/given-rules.ts';
import type { Program } from '../control/shapes.ts';

/** Where a command prints: stdout or stderr of the process, or a stream of a test. */
export type Output = NodeJS.WritableStream & { columns?: number };

/** What a command may want from the daemon's side of the executable; main.ts puts it in. */
export type Entrypoints = {
  /** Run the daemon in this process until it ends; resolves with the exit code. */
  daemon(options: DaemonCommand): Promise<number>;
  /** Run the demo server of the library; resolves with the exit code. */
  demo(options: DemoCommand): Promise<number>;
};

/** What `grace daemon` was told. */
export type DaemonCommand = {
  /** State dir, absolute. */
  dir: string;
  /** What the command line names; in place of stored rules with the same sources. */
  rules: readonly GivenRule[];
  /** False for `--no-keeper`; undefined leaves it to the daemon. */
  keeper: boolean | undefined;
  /** A file's absolute path, `-` for standard error; undefined leaves it to the daemon. */
  log: string | undefined;
  settings: DaemonSettings;
  /** The options that these came from, for keeper and successors. */
  flags: readonly string[];
};

/** What `grace demo` was told. */
export type DemoCommand = {
  /** `HOST:PORT`, `:PORT` or a path each; undefined for the demo's own. */
  addresses: string[] | undefined;
  tlsAddresses: string[] | undefined;
  print: (line: string) => void;
};

/** The world as a command sees it; nothing of it is read from the process directly. */
export type Context = {
  env: NodeJS.ProcessEnv;
  /** Relative paths of the command line are relative to it. */
  cwd: string;
  /** State dir, absolute. */
  dir: string;
  stdout: Output;
  stderr: Output;
  /** All of standard input, to its end. */
  readStdin: (limit: { maxBytes: number }) => Promise<Buffer>;
  /** Whether stdout is a terminal. */
  isTTY: boolean;
  hasColors: boolean;
  /** Aborts on Ctrl-C, and when nobody reads stdout any more. */
  signal: AbortSignal;
  /** Hear a signal of the process from now on, which does not end it then. Returns what ends that. */
  onSignal: (signal: NodeJS.Signals, handler: () => void) => () => void;
  /** The environment as the caller gave it, for programs of theirs. */
  callersEnv: () => NodeJS.ProcessEnv;
  /** How this executable is started. */
  self: Program;
  version: string;
  programs: Entrypoints;
};

/** The arguments and options of one command, by the names of commands.ts. */
export type Input = {
  args: readonly (string | undefined)[];
  /** Value of an option, as it was typed. */
  value(option: string): string | undefined;
  /** Whether a switch was given. */
  has(option: string): boolean;
};

/** A required argument; the line was checked before, so its absence is a mistake in commands.ts. */
export function argument(input: Input, index: number): string {
  const value = input.args[index];
  if (value === undefined) throw new TypeError(`argument ${index} is required but not declared so`);
  return value;
}

/** Of what names a file or the like: a variable of a script that is empty names none. Throws GraceError (exit code 2) for an empty text. */
export function mustNotBeEmpty(text: string | undefined, { what, needs }: { what: string; needs: string }): void {
  if (text === '') throw new GraceError(`${what} needs ${needs}, not an empty text`, { code: 'ERR_GRACE_USAGE' });
}

/** The state dir: `-d`, then GRACE_DIR, then ~/.grace; absolute. Throws GraceError (exit code 2) when there is none. */
export function stateDir({
  option,
  env,
  cwd,
}: {
  option: string | undefined;
  env: NodeJS.ProcessEnv;
  cwd: string;
}): string {
  mustNotBeEmpty(option, { what: 'option --dir', needs: 'a directory' });
  return resolve(cwd, option ?? (env['GRACE_DIR'] || resolve(env['HOME'] || homeOfUser(), '.grace')));
}

/** As the system knows it; os.homedir() would believe an empty HOME. */
function homeOfUser(): string {
  try {
    return userInfo().homedir;
  } catch (error) {
    // A container may run as a user that is not in /etc/passwd.
    throw new GraceError('there is no HOME, and the user has no home directory', {
      hint: 'name a state dir with -d DIR or GRACE_DIR',
      code: 'ERR_GRACE_USAGE',
      cause: error,
    });
  }
}
