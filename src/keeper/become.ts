import { closeSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../control/shapes.ts';
import { GraceError, errorMessage } from '../error.ts';
import { closeFd, fdDirectory, openFd, setCloseOnExec } from '../sys/descriptor.ts';
import { environmentList, execute, holdSignals } from '../sys/exec.ts';
import type { GenerationPhase } from './generations.ts';
import { keeperFormat, stateVariable } from './messages.ts';

/** Words of phases in what is left: those that the first versions have for them, which may come to read it. */
const writtenPhases = {
  starting: 'starting',
  serving: 'serving',
  restarting: 'superseded',
  replaced: 'retired',
} as const;

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
    phase: GenerationPhase;
    ended: number | null;
  }[];
};

/** What this process becomes, and what it must not lose. */
export type BecomeOptions = {
  program: Program;
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

function execWith({
  program,
  args,
  dir,
  env,
  remembered,
}: Pick<BecomeOptions, 'program' | 'args' | 'dir' | 'env'> & { remembered: Remembered }): never {
  const file = writeNameless(join(dir, `keeper-${process.pid}`), writeRemembered(remembered));
  const passed = [
    file,
    ...remembered.kept.map(([, fd]) => fd),
    ...remembered.generations.flatMap(({ stream, datagrams }) => [stream, datagrams]),
  ];
  try {
    for (const fd of passed) setCloseOnExec(fd, false);
    return execute(
      program.file,
      [program.file, ...program.args, ...args],
      environmentList({ ...env, [stateVariable]: String(file) }),
    );
  } finally {
    for (const fd of passed) setCloseOnExec(fd, true);
    closeFd(file);
  }
}

/** What is left, as text that other versions understand. */
export function writeRemembered({ generations, ...others }: Remembered): string {
  return JSON.stringify({
    ...others,
    generations: generations.map((each) => ({ ...each, phase: writtenPhases[each.phase] })),
  });
}

type Written = Omit<Remembered, 'generations'> & {
  generations: (Omit<Remembered['generations'][number], 'phase'> & { phase: string })[];
};

/** What {@link writeRemembered} of any version has written. */
export function readRemembered(text: string): Remembered {
  const { generations, ...others }: Written = JSON.parse(text);
  return { ...others, generations: generations.map((each) => ({ ...each, phase: readPhase(each.phase) })) };
}

function readPhase(written: string): GenerationPhase {
  const phases: readonly GenerationPhase[] = ['starting', 'serving', 'restarting', 'replaced'];
  return phases.find((phase) => writtenPhases[phase] === written) ?? 'restarting'; // which says itself what it is
}

/** Whether a program is the very one that this process runs, started in the same way. */
export function isThisProgram(program: Program, self: Program): boolean {
  if (program.file !== self.file || program.args.join('\0') !== self.args.join('\0')) return false;
  try {
    const [a, b] = [statSync(program.file), statSync('/proc/self/exe')];
    return a.dev === b.dev && a.ino === b.ino;
  } catch {
    return false; // not there, or not to be seen
  }
}

/** What the keeper before wrote for this one. Throws GraceError where it was none that set the variable. */
function readPassed(fd: string | undefined): Remembered {
  try {
    if (!/^(?:[3-9]|[1-9][0-9]{1,8})$/.test(fd ?? '')) throw new Error('it is no descriptor that can be passed');
    return readRemembered(readFileSync(`${fdDirectory}/${fd}`, 'utf8'));
  } catch (error) {
    throw new GraceError(`cannot go on as a keeper, as ${stateVariable} says: ${errorMessage(error)}`, {
      hint: 'it is for processes of grace alone: unset it',
      cause: error,
    });
  }
}

/** What the earlier image of this process left. The variable is removed. */
export function recall(env: NodeJS.ProcessEnv): Remembered {
  const fd = env[stateVariable];
  delete env[stateVariable];
  const remembered = readPassed(fd);
  closeFd(Number(fd));
  for (const inherited of [
    ...remembered.kept.map(([, each]) => each),
    ...remembered.generations.flatMap(({ stream, datagrams }) => [stream, datagrams]),
  ]) {
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
