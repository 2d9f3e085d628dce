/** Where a daemon's log goes. Decided once, by the first process of a daemon; keeper and successors are told by the environment. */
import { fstatSync, statSync } from 'node:fs';
import { handoverVariable, launchVariable } from './launch.ts';
import { statePaths } from './paths.ts';

/** Names the log of a daemon as `--log` does: a file's absolute path, or `-` for standard error. */
export const logVariable = 'GRACE_LOG';

/** Standard error, as `--log` names it. */
export const standardError = '-';

/** What decides where the log goes. */
export type LogPlaceOptions = {
  dir: string;
  /** What `--log` says, or the variable: an absolute path or `-`. */
  wanted: string | undefined;
  env: NodeJS.ProcessEnv;
};

/**
 * A file's path, or `-`. What nobody has chosen is standard error in the foreground, where a service manager, a container
 * or a person reads it, and `grace.log` in the state dir in the background or where standard error leads nowhere.
 */
export function placeOfLog({ dir, wanted, env }: LogPlaceOptions): string {
  const file = statePaths(dir).log;
  // A client that launches a daemon reads what it says at its start, and nothing after that.
  if (env[launchVariable] !== undefined) return wanted === undefined || wanted === standardError ? file : wanted;
  if (wanted !== undefined) return wanted;
  // The predecessor is of a version that knew nothing but its file.
  if (env[handoverVariable] !== undefined) return file;
  return leadsNowhere(2) ? file : standardError;
}

function leadsNowhere(fd: number): boolean {
  try {
    return fstatSync(fd).rdev === statSync('/dev/null').rdev;
  } catch {
    return true; // it is closed
  }
}

/** Whether a descriptor is the journal's: systemd says in JOURNAL_STREAM which file that is (systemd.exec(5)). */
export function isJournal(fd: number, env: NodeJS.ProcessEnv): boolean {
  const stream = env['JOURNAL_STREAM'];
  if (stream === undefined) return false;
  try {
    // Not fstat(2): Deno's knows no descriptors but those that it has opened itself.
    const { dev, ino } = statSync(`/proc/self/fd/${fd}`, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
