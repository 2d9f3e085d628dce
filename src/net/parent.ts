import fs from 'node:fs';
import { constants } from 'node:os';
import { closeFd } from '../sys/descriptor.ts';
import { openProcess, signalProcess } from '../sys/process.ts';
import type { Environment } from './inherit.ts';
import { takeServingNotice } from './serving-notice.ts';

/** Tells a successor who started it: process id, and when that process began in clock ticks since boot. */
const VARIABLE = 'GRACE_PARENT';

/** The process that started this one as its successor. */
export type Parent = {
  readonly pid: number;
  /**
   * Tell it that this process serves, and ask it to end (SIGTERM). False when it has ended already;
   * nobody else is ever signalled.
   */
  terminate(): boolean;
};

/** The environment variable by which a successor knows this process. */
export function parentVariable(): Record<string, string> {
  return { [VARIABLE]: `${process.pid}:${startTime(process.pid) ?? ''}` };
}

/**
 * Who started this process as a successor, or null when an init system, a shell or anybody else did.
 * The variable is removed, so that this process's own children do not inherit the claim.
 *
 * The parent's number alone would not do: if it has ended, the number may be another's, and getppid(2)
 * is then init's.
 */
export function takeParent(env: Environment = process.env): Parent | null {
  const value = env[VARIABLE];
  delete env[VARIABLE];
  const match = /^([1-9][0-9]{0,8}):([0-9]*)$/.exec(value ?? '');
  const notice = takeServingNotice(env, { isMeant: match !== null });
  if (match === null) return null;
  const pid = Number(match[1]);
  const began = match[2] === '' ? null : (match[2] ?? null);
  return {
    pid,
    terminate() {
      notice?.give();
      return terminate(pid, began);
    },
  };
}

function terminate(pid: number, began: string | null): boolean {
  // Opened first and compared then: from here on nobody else can be behind the descriptor.
  const processFd = openProcess(pid);
  try {
    if (!isSameProcess(pid, began)) return false;
    if (processFd === null) process.kill(pid, 'SIGTERM');
    else signalProcess(processFd, constants.signals.SIGTERM);
    return true;
  } catch {
    // It has ended in between.
    return false;
  } finally {
    if (processFd !== null) closeFd(processFd);
  }
}

/** Where no start time is to be had (macOS), only a direct parent that still lives will do. */
function isSameProcess(pid: number, began: string | null): boolean {
  return began === null ? process.ppid === pid : startTime(pid) === began;
}

/** Field 22 of /proc/PID/stat (proc(5)); the fields are counted after the name, which may hold anything. */
function startTime(pid: number): string | null {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    // No /proc, or no such process.
    return null;
  }
}
