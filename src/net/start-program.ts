import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { errorCode, errorMessage, GraceError } from '../error.ts';
import { clearOfPlaces } from '../sys/descriptor.ts';
import { limitHint } from '../sys/limit-hint.ts';
import { describeCode } from '../sys/system-error.ts';
import { foreignVariable } from './foreign.ts';
import { LISTEN_FDS_START } from './inherit.ts';
import type { Environment } from './inherit.ts';
import type { Listener } from './listener.ts';
import { parentVariable } from './parent.ts';
import { noticeVariable, startAsideScript } from './serving-notice.ts';
import type { ServingNotice } from './serving-notice.ts';
import { keepModes } from './steady-modes.ts';

/** The successor: by default the same program with the same arguments and environment. */
export type ProcessOptions = {
  /** Default: the program as it was started, see `originalInvocation`. */
  file?: string;
  /** All arguments. Default: those that this process was started with. */
  args?: readonly string[];
  /** Default: this process's, at the time of the call. The protocol's own variables are set in any case. */
  env?: Environment;
  /** Default: the directory that this process was started in. */
  cwd?: string;
  /** Standard input, output and error. Default: inherited. */
  stdio?: readonly [ProcessStdio, ProcessStdio, ProcessStdio];
  /** Default: every open listener. */
  listeners?: readonly Listener[];
  /**
   * Whether the listeners go under their names. Without, they are told apart by their order alone, and
   * any number of them fits: all names together are one variable, of 128 kB at most. Default true.
   */
  areNamed?: boolean;
  /** Further descriptors, after the listeners, under their names in LISTEN_FDNAMES. The caller keeps its own. */
  extras?: readonly { fd: number; name: string }[];
  /** By which the successor says that it serves when it calls `parent.terminate()`; its own end is closed here. Default: none. */
  notice?: ServingNotice;
  /** Start it in a session of its own. Default false. */
  detached?: boolean;
  /**
   * Start it as a child of init, or of the service manager, which hears of the end of its own children alone: by a shell,
   * which is the child that is returned and ends at once. The process id comes by the `notice`. Default false.
   */
  isAside?: boolean;
};

/** As child_process.spawn takes it, for each of standard input, output and error. */
export type ProcessStdio = 'inherit' | 'ignore' | 'pipe' | number;

/** What is not the process's own to choose has been chosen. */
type Program = ProcessOptions & Required<Pick<ProcessOptions, 'file' | 'args' | 'cwd' | 'listeners' | 'env'>>;

/**
 * Start a program that inherits listeners, and other descriptors after them, from 3 on, and no other descriptor of ours;
 * see `Net.startProcess`. `isForeign`: whether an init system opened a listener, for this process or for a predecessor.
 *
 * @throws GraceError when it cannot be started.
 */
export async function startProgram(
  {
    file,
    args,
    cwd,
    listeners,
    env,
    stdio,
    areNamed = true,
    extras = [],
    notice,
    detached = false,
    isAside = false,
  }: Program,
  { isForeign }: { isForeign: (listener: Listener) => boolean },
): Promise<ChildProcess> {
  const [stdin, stdout, stderr] = stdio ?? ['inherit', 'inherit', 'inherit'];
  const passed = [...listeners, ...extras];
  const names = [...listeners.map(({ name }) => (areNamed ? name : '')), ...extras.map(({ name }) => name)];
  const foreign = listeners.flatMap((listener, index) => (isForeign(listener) ? [index] : []));
  const clear = clearOfPlaces([...passed.map(({ fd }) => fd), ...(notice === undefined ? [] : [notice.given])]);
  const start = (): ChildProcess =>
    spawn(isAside ? '/bin/sh' : file, isAside ? ['-c', startAsideScript, file, ...args] : args, {
      cwd,
      detached,
      env: {
        ...successorEnvironment(env, names),
        ...(notice === undefined ? {} : noticeVariable(LISTEN_FDS_START + passed.length)),
        ...foreignVariable(foreign),
      },
      stdio: [inheritable(stdin, 0), inheritable(stdout, 1), inheritable(stderr, 2), ...clear.fds] as StdioOptions,
    });
  try {
    const child = keepModes({ listeners: listeners.map(({ fd }) => fd), others: extras.map(({ fd }) => fd) }, start);
    await once(child, 'spawn');
    return child;
  } catch (error) {
    const code = errorCode(error);
    const why = code === undefined ? errorMessage(error) : `${describeCode(code)} (${code})`;
    // The system says the same of a file and of a directory that is not there.
    const where = isDirectory(cwd) ? '' : `in the directory ${cwd}: `;
    throw new GraceError(`cannot start ${file}: ${where}${why}`, {
      hint: limitHint(error),
      code: code ?? 'ERR_GRACE_SUCCESSOR',
      cause: error,
    });
  } finally {
    clear.close();
    notice?.closeGiven();
  }
}

function isDirectory(path: string): boolean {
  try {
    return fs.statSync(path).isDirectory();
  } catch {
    return false; // not there, or not ours to see
  }
}

/** Given a number, Deno passes an unnamed copy of the descriptor along with it (seen in 2.9). */
function inheritable(stdio: ProcessStdio, number: number): ProcessStdio {
  return stdio === number ? 'inherit' : stdio;
}

function successorEnvironment(env: Environment, names: readonly string[]): Environment {
  // A watchdog's WATCHDOG_PID is ours; without it the successor is meant.
  const { LISTEN_PID: _pid, WATCHDOG_PID: _watchdog, ...kept } = env;
  return { ...kept, ...parentVariable(), LISTEN_FDS: String(names.length), LISTEN_FDNAMES: names.join(':') };
}
