import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { until } from '../until.ts';
import { isRunning } from './grace.ts';

/** Resolves when a process has ended, which has no event for who is not its parent. */
export async function gone(pid: number): Promise<void> {
  await until(`process ${pid} has ended`, () => !isRunning(pid));
}

/** Kill without mercy, and wait for the end. */
export async function kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  process.kill(pid, signal);
  await gone(pid);
}

/**
 * Kill a process that was started here, unless it has ended, and wait for its end.
 *
 * @param isGroup it was started `detached`: so are those killed that it has started itself, as nginx does its workers
 */
export async function killChild(child: ChildProcess, { isGroup = false } = {}): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  if (isGroup) process.kill(-child.pid!, 'SIGKILL');
  else child.kill('SIGKILL');
  await ended;
}

export function pidInFile(file: string): number | null {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return null; // no daemon, or none yet
  }
}

/** Processes whose arguments hold this text, zombies included: what a state dir's name finds. */
export function processesOf(text: string): { pid: number; parent: number; state: string }[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^[0-9]+$/.test(name) || Number(name) === process.pid) return [];
    try {
      if (!readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(text)) return [];
      return [parseStat(name)];
    } catch {
      return []; // it has just ended
    }
  });
}

export function zombiesOf(parent: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^[0-9]+$/.test(name)) return [];
    try {
      const { pid, parent: its, state } = parseStat(name);
      return its === parent && state === 'Z' ? [pid] : [];
    } catch {
      return [];
    }
  });
}

function parseStat(pid: string): { pid: number; parent: number; state: string } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { pid: Number(pid), parent: Number(parent), state };
}

/** Descriptors of a process and what they are of. */
export function descriptorsOf(pid: number): Map<number, string> {
  return new Map(
    readdirSync(`/proc/${pid}/fd`).flatMap((fd): [number, string][] => {
      try {
        return [[Number(fd), readlinkSync(`/proc/${pid}/fd/${fd}`)]];
      } catch {
        return [];
      }
    }),
  );
}

/** Memory of a process in kB, as proc_pid_smaps_rollup(5) has it. */
export function memoryOf(pid: number): { rss: number; pss: number; anonymous: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}: +([0-9]+) kB`, 'm').exec(text)?.[1]);
  return { rss: field('Rss'), pss: field('Pss'), anonymous: field('Anonymous') };
}
