import { rmSync } from 'node:fs';
import { readRegularFile } from '../../sys/regular-file.ts';
import { replaceFile } from './replace-file.ts';

/** Replace the pid file atomically. */
export function writePidFile(path: string, pid: number): void {
  replaceFile(path, `${pid}\n`);
}

/** The pid in the file, or null when there is none to be read. */
export function readPidFile(path: string): number | null {
  try {
    const text = readRegularFile(path).trim();
    // No other number is one of a process; 0 and -1 would be many.
    return /^[1-9][0-9]{0,9}$/.test(text) && Number(text) < 2 ** 31 ? Number(text) : null;
  } catch {
    return null; // no file, or not ours to read
  }
}

/** Remove the pid file if it still names this pid: a successor's is left alone. */
export function removePidFile(path: string, pid: number): void {
  if (readPidFile(path) === pid) rmSync(path, { force: true });
}
