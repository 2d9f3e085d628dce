import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Invocation } from '../control/messages.ts';
import { closeFd, openFd, setCloseOnExec } from '../sys/descriptor.ts';
import { execute, holdSignals } from '../sys/exec.ts';
import { keeperFormat } from './messages.ts';

/** What a keeper leaves to itself when it becomes another version. */
export type Remembered = {
  format: number;
  isBackground: boolean;
  hasServed: boolean;
  kept: [name: string, fd: number][];
  generations: {
    stream: number;
    datagrams: number;
    pid: number | null;
    phase: 'starting' | 'serving' | 'superseded' | 'retired';
    ended: number | null;
  }[];
};

/** Variable with the descriptor of the file that holds it. */
export const stateVariable = 'GRACE_KEEPER_STATE';

export type BecomeOptions = {
  program: Invocation;
  args: readonly string[];
  /** Where the file is written; it has no name there. */
  dir: string;
  env: NodeJS.ProcessEnv;
  remembered: Remembered;
  /** Those that the new image waits for; none of them is missed. */
  signals: readonly NodeJS.Signals[];
};

/**
 * Go on as another program in this very process. It resolves only in that one: rejects with what
 * prevents it, and then everything is as it was.
 */
export async function become({ program, args, dir, env, remembered, signals }: BecomeOptions): Promise<void> {
  const file = writeNameless(join(dir, `keeper-${process.pid}`), JSON.stringify(remembered));
  const passed = [file, ...remembered.kept.map(([, fd]) => fd), ...remembered.generations.flatMap(({ stream, datagrams }) => [stream, datagrams])];
  holdSignals(signals, true);
  try {
    // What other threads have caught until now is heard.
    await new Promise((resolve) => setImmediate(resolve));
    for (const fd of passed) setCloseOnExec(fd, false);
    execute(program.file, [...program.args, ...args], { ...env, [stateVariable]: String(file) });
  } finally {
    for (const fd of passed) setCloseOnExec(fd, true);
    closeFd(file);
    holdSignals(signals, false);
  }
}

/** What the earlier image of this process left, or null. The variable is removed. */
export function recall(env: NodeJS.ProcessEnv): Remembered | null {
  const fd = env[stateVariable];
  delete env[stateVariable];
  if (fd === undefined) return null;
  const remembered: Remembered = JSON.parse(readFileSync(`/dev/fd/${fd}`, 'utf8'));
  closeFd(Number(fd));
  for (const inherited of [...remembered.kept.map(([, each]) => each), ...remembered.generations.flatMap(({ stream, datagrams }) => [stream, datagrams])]) {
    setCloseOnExec(inherited, true);
  }
  return { ...remembered, format: keeperFormat };
}

/** A file that goes away with its last descriptor. A pipe would not hold any number of rules. */
function writeNameless(path: string, text: string): number {
  const file = openSync(path, 'w', 0o600);
  try {
    writeSync(file, text);
    return openFd(path, { flags: 0 });
  } finally {
    closeSync(file);
    rmSync(path, { force: true });
  }
}
