import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Invocation } from '../control/shapes.ts';
import { closeFd, fdDirectory, openFd, setCloseOnExec } from '../sys/descriptor.ts';
import { environmentList, execute, holdSignals } from '../sys/exec.ts';
import { keeperFormat, stateVariable } from './messages.ts';

/**
 * What a daemon is: `starting` until it says that it serves; `superseded` when another one has said so
 * after it, until it says whether it has `retired` or serves again.
 */
export type Phase = 'starting' | 'serving' | 'superseded' | 'retired';

/** What a keeper leaves to itself when it becomes another version. */
export type Remembered = {
  format: number;
  /** State dir, and the arguments of this program. */
  dir: string;
  args: string[];
  isBackground: boolean;
  hasServed: boolean;
  kept: [name: string, fd: number][];
  /** Signals that are to be passed on to the next daemon that serves. */
  pendingSignals?: NodeJS.Signals[];
  generations: {
    stream: number;
    datagrams: number;
    pid: number | null;
    phase: Phase;
    ended: number | null;
  }[];
};

/** What this process becomes, and what it must not lose. */
export type BecomeOptions = {
  program: Invocation;
  args: readonly string[];
  /** Where the file is written; it has no name there. */
  dir: string;
  env: NodeJS.ProcessEnv;
  /** What is so at the last moment: no event comes after it. Throws what prevents that it goes on. */
  remember: () => Remembered;
  /** Those that the new image waits for. */
  signals: readonly NodeJS.Signals[];
};

/**
 * Go on as another program in this very process. It resolves only in that one: rejects with what
 * prevents it, and then everything is as it was.
 */
export async function become({ program, args, dir, env, remember, signals }: BecomeOptions): Promise<void> {
  // Node lets them through again when it starts, Deno does not.
  holdSignals(signals, true);
  try {
    // What other threads have caught until now is heard, and what the others have said: a turn may
    // have looked for it before it came, so there are two.
    for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
    // From here on nothing is awaited: what comes lies in the system until the new image looks.
    execWith({ program, args, dir, env, remembered: remember() });
  } finally {
    holdSignals(signals, false);
  }
}

function execWith({ program, args, dir, env, remembered }: Pick<BecomeOptions, 'program' | 'args' | 'dir' | 'env'> & { remembered: Remembered }): never {
  const file = writeNameless(join(dir, `keeper-${process.pid}`), JSON.stringify(remembered));
  const passed = [file, ...remembered.kept.map(([, fd]) => fd), ...remembered.generations.flatMap(({ stream, datagrams }) => [stream, datagrams])];
  try {
    for (const fd of passed) setCloseOnExec(fd, false);
    return execute(program.file, [program.file, ...program.args, ...args], environmentList({ ...env, [stateVariable]: String(file) }));
  } finally {
    for (const fd of passed) setCloseOnExec(fd, true);
    closeFd(file);
  }
}

/** Whether a program is the very one that this process runs, started in the same way. */
export function isThisProgram(program: Invocation, self: Invocation): boolean {
  if (program.file !== self.file || program.args.join('\0') !== self.args.join('\0')) return false;
  try {
    const [a, b] = [statSync(program.file), statSync('/proc/self/exe')];
    return a.dev === b.dev && a.ino === b.ino;
  } catch {
    return false; // not there, or not to be seen
  }
}

/** What the earlier image of this process left. The variable is removed. */
export function recall(env: NodeJS.ProcessEnv): Remembered {
  const fd = env[stateVariable];
  delete env[stateVariable];
  const remembered: Remembered = JSON.parse(readFileSync(`${fdDirectory}/${fd}`, 'utf8'));
  closeFd(Number(fd));
  for (const inherited of [...remembered.kept.map(([, each]) => each), ...remembered.generations.flatMap(({ stream, datagrams }) => [stream, datagrams])]) {
    setCloseOnExec(inherited, true);
  }
  return { ...remembered, format: keeperFormat };
}

/** A file that goes away with its last descriptor. A pipe would not hold any number of rules. */
function writeNameless(path: string, text: string): number {
  rmSync(path, { force: true }); // of a keeper that had this pid and crashed
  const file = openSync(path, 'wx', 0o600);
  try {
    writeSync(file, text);
    return openFd(path, { flags: 0 });
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}
