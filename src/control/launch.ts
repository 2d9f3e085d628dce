import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { GraceError } from '../error.ts';
import { isNoDaemon } from '../kinds.ts';
import { keepInheritedFds } from '../sys/descriptor.ts';
import { lockFile } from '../sys/lock.ts';
import { isStopped } from '../sys/process.ts';
import { readRegularFile } from '../sys/regular-file.ts';
import { describeError } from '../sys/system-error.ts';
import { DaemonMovedError, call } from './client.ts';
import { limitHint } from '../sys/limit-hint.ts';
import { lastWords } from './last-words.ts';
import { readLines } from './lines.ts';
import { errorOf } from './messages.ts';
import type { Failure, Request, Result } from './messages.ts';
import type { Program } from './shapes.ts';
import { statePaths } from './paths.ts';
import { makeStateDir } from './state-dir.ts';

/** Variable that tells a daemon that a client waits on its stdout for a LaunchMessage. */
export const launchVariable = 'GRACE_LAUNCHED';

/** Variable that tells a daemon that it is to succeed another one, which talks to its stdin. */
export const handoverVariable = 'GRACE_SUCCESSOR';

/** What a daemon that starts in the background says on stdout, a line of JSON each, until `ready` or `failed`. */
export type LaunchMessage = { note: string } | { ready: true } | { failed: Failure };

/** The daemon to start in the background. */
export type LaunchOptions = {
  dir: string;
  /** The program to start as the daemon. */
  self: Program;
  /** Options of `grace daemon` that it is to have. */
  flags?: readonly string[];
  /** Hears what the daemon has to tell at its start, a sentence each. */
  onNote: (note: string) => void;
  /** Called before anything is made for a daemon, the state dir included, as none runs; what it throws is the answer. */
  beforeLaunch?: (() => void) | undefined;
  /** Called when a daemon was started, as none ran. */
  onLaunch?: (() => void) | undefined;
};

/** Variables of an init system that speak of this process and not of a daemon that it starts. */
export const variablesOfThisProcess = [
  'LISTEN_FDS',
  'LISTEN_PID',
  'LISTEN_FDNAMES',
  'NOTIFY_SOCKET',
  'WATCHDOG_USEC',
  'WATCHDOG_PID',
];

/** `start`, with a daemon launched for it when none runs. Of two clients at once, one launches. */
export async function startWithDaemon({
  dir,
  self,
  flags,
  onNote,
  beforeLaunch,
  onLaunch,
  request,
}: LaunchOptions & { request: Request<'start'> }): Promise<Result<'start'>> {
  for (;;) {
    try {
      return await call(dir, request);
    } catch (error) {
      if (!isNoDaemon(error)) throw error;
    }
    beforeLaunch?.();
    using _ = await holdLaunchLock(dir);
    try {
      return await call(dir, request); // another client may have launched it meanwhile
    } catch (error) {
      if (!isNoDaemon(error)) throw error;
    }
    await launchDaemon({ dir, self, onNote, ...(flags && { flags }) });
    onLaunch?.();
    try {
      return await call(dir, { ...request, startedForIt: true });
    } catch (error) {
      if (!(error instanceof DaemonMovedError)) throw error;
    }
  }
}

/** Start a daemon in the background: its own session, not bound to the terminal. Resolves when it listens. */
async function launchDaemon({ dir, self, flags = [], onNote }: LaunchOptions): Promise<void> {
  makeStateDir(dir);
  keepInheritedFds();
  const env: NodeJS.ProcessEnv = { ...process.env, [launchVariable]: '1' };
  for (const name of variablesOfThisProcess) delete env[name];
  const child = spawn(self.file, [...self.args, '-d', dir, 'daemon', ...flags], {
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env,
  });
  // Where a pipe cannot be had there is neither stream nor process; the error comes as an event.
  if (child.pid === undefined) return await failureToSpawn(child);
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4096)));
  try {
    const isReady = await Promise.race([hearLaunch(child, onNote), failureToSpawn(child)]);
    if (!isReady)
      throw new GraceError('the daemon ended while it was starting', {
        hint: lastWords(said) ?? `see ${statePaths(dir).log}`,
      });
  } finally {
    child.stdout.destroy();
    child.stderr.destroy();
    child.unref();
  }
}

async function hearLaunch(child: ChildProcess, onNote: (note: string) => void): Promise<boolean> {
  if (!child.stdout) return false;
  for await (const line of readLines(child.stdout)) {
    const message = line as Partial<{ note: string; ready: true; failed: Failure }>;
    if (message.note !== undefined) onNote(message.note);
    if (message.failed) throw errorOf(message.failed);
    if (message.ready) return true;
  }
  return false;
}

function failureToSpawn(child: ChildProcess): Promise<never> {
  return new Promise((_, reject) => {
    child.once('error', (error) =>
      reject(
        new GraceError(`cannot start the daemon: ${describeError(error)}`, { hint: limitHint(error), cause: error }),
      ),
    );
  });
}

/** How long another client may take before it is looked at, and in all: a daemon with thousands of rules takes seconds. */
const maxLaunchQuietMs = 3000;
const maxLaunchMs = 120_000;

async function holdLaunchLock(dir: string): Promise<Disposable> {
  makeStateDir(dir);
  const file = statePaths(dir).launchLock;
  for (const began = performance.now(); ;) {
    const lock = tryLock(dir);
    if (lock) {
      attempt(() => writeFileSync(file, `${process.pid}\n`));
      return { [Symbol.dispose]: () => lock.release() };
    }
    const waitedMs = performance.now() - began;
    const holder = waitedMs > maxLaunchQuietMs ? readHolder(file) : null;
    if (holder !== null && isStopped(holder)) {
      throw new GraceError(
        `another grace start (pid ${holder}) is about to start the daemon in ${dir}, and is stopped`,
        { hint: `let it go on with: kill -CONT ${holder}; or end it with: kill -KILL ${holder}` },
      );
    }
    if (waitedMs > maxLaunchMs)
      throw new GraceError(
        `another grace start${holder === null ? '' : ` (pid ${holder})`} has not come to an end for ${maxLaunchMs / 1000} s`,
        { hint: `it holds ${file}; fuser ${file} shows it` },
      );
    await delay(15); // flock(2) has no event; the other client holds it for as long as a daemon takes to start
  }
}

/** Who made the lock, as it wrote there. */
function readHolder(file: string): number | null {
  try {
    const pid = Number(readRegularFile(file));
    return Number.isInteger(pid) && pid > 1 ? pid : null;
  } catch {
    return null;
  }
}

function attempt(act: () => void): void {
  try {
    act();
  } catch {
    // It is for messages alone.
  }
}

function tryLock(dir: string): ReturnType<typeof lockFile> {
  try {
    return lockFile(statePaths(dir).launchLock);
  } catch (error) {
    throw new GraceError(`cannot write in the state dir ${dir}: ${describeError(error)}`, {
      hint: limitHint(error) ?? 'choose another with -d DIR',
      cause: error,
    });
  }
}
