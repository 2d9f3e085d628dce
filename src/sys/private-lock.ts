import fs from 'node:fs';
import { errorCode } from '../error.ts';
import { inodeOf } from './descriptor.ts';
import { fsPath } from './file-name.ts';
import { lockFile } from './lock.ts';

/** Held until it is released; the file is removed then. */
export type PrivateLock = { release(): void };

/**
 * An exclusive lock for this user's processes alone: flock(2) on a file that nobody else can open. One
 * on a directory, or on any file that others may read, could be held by them for ever.
 *
 * `held`: another process of this user has it. Null: there can be none, for lack of rights, or because
 * another user put something in its place; then there is nobody to wait for either.
 */
export function lockPrivately(file: string): PrivateLock | 'held' | null {
  try {
    const lock = lockFile(file);
    if (isForeign(file)) {
      lock?.release();
      return null;
    }
    if (lock === null) return 'held';
    // Whoever had it before may have removed the file between the two calls.
    const isThere = fs.lstatSync(fsPath(file), { throwIfNoEntry: false })?.ino === inodeOf(lock.fd);
    if (isThere) return { release: () => release(file, lock) };
    lock.release();
    return 'held';
  } catch (error) {
    if (errorCode(error) !== undefined) return null;
    throw error;
  }
}

/** Another user's, or a link to something else of this one's. */
function isForeign(file: string): boolean {
  const stat = fs.lstatSync(fsPath(file), { throwIfNoEntry: false });
  return stat !== undefined && (!stat.isFile() || stat.nlink > 1 || stat.uid !== process.geteuid?.());
}

/** Removed while it is locked: whoever has opened it meanwhile sees that, and makes another. */
function release(file: string, lock: PrivateLock): void {
  try {
    fs.rmSync(fsPath(file), { force: true });
  } catch {
    // The directory has become read-only: the file is found, and used, by the next one.
  }
  lock.release();
}
