/**
 * The lock beside a Unix socket that Twisted uses: a symbolic link `<path>.lock` whose target is the
 * process id of the owner. Both programs respect each other's.
 *
 * Two processes that find the same stale lock could both replace it; grace does all of this under a
 * lock of its own (unix-path.ts), so at least two graces do not.
 */
import fs from 'node:fs';
import { errorCode, GraceError } from '../error.ts';
import { fsPath } from '../sys/file-name.ts';
import { isRunning } from '../sys/process.ts';

function lockPath(path: string): string {
  return `${path}.lock`;
}

/** The process id that the lock of a socket path names, or null when there is no such lock. */
export function pathLockTarget(path: string): number | null {
  try {
    const target = fs.readlinkSync(fsPath(lockPath(path)));
    return /^[0-9]{1,10}$/.test(target) ? Number(target) : null;
  } catch {
    // No lock, or a file of another sort: not one of ours.
    return null;
  }
}

/**
 * Take the lock of a socket path for this process. A lock that a dead process left is replaced, and
 * one that names a live process too when nobody answers on the socket beside it: the number is then
 * that of another process, which came later. Returns whether a lock was replaced.
 *
 * @throws GraceError when a live process holds it.
 */
export function acquirePathLock(
  path: string,
  { isSocketStale }: { isSocketStale: () => boolean },
): { wasStale: boolean } {
  let wasStale = false;
  for (;;) {
    try {
      fs.symlinkSync(String(process.pid), fsPath(lockPath(path)));
      return { wasStale };
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
    }
    const pid = pathLockTarget(path);
    if (pid === null && fs.lstatSync(fsPath(lockPath(path)), { throwIfNoEntry: false })) {
      throw new GraceError(`${lockPath(path)} exists and is not a lock`, {
        code: 'EBUSY',
        hint: 'remove it, or use lockfile=0',
      });
    }
    if (pid !== null && pid !== process.pid && isRunning(pid) && !isSocketStale()) {
      throw new GraceError(`${lockPath(path)} is held by process ${pid}`, {
        code: 'EBUSY',
        hint: 'stop that process, or use another path',
      });
    }
    // Its own pid from an earlier life of this number is stale too: this process has not locked it yet.
    fs.rmSync(fsPath(lockPath(path)), { force: true });
    wasStale = true;
  }
}

/**
 * Write this process's id into the lock of a path whose socket it has inherited, so that the lock stays
 * one of a live process when the predecessor ends. Also what a predecessor does whose successor failed.
 */
export function takeOverPathLock(path: string): void {
  if (pathLockTarget(path) === process.pid) return;
  const temporary = `${lockPath(path)}.${process.pid}`;
  fs.rmSync(fsPath(temporary), { force: true });
  fs.symlinkSync(String(process.pid), fsPath(temporary));
  fs.renameSync(fsPath(temporary), fsPath(lockPath(path)));
}

/** Remove the lock of a path if it is this process's, or one of a process that is gone. */
export function releasePathLock(path: string): void {
  const pid = pathLockTarget(path);
  if (pid !== null && (pid === process.pid || !isRunning(pid))) fs.rmSync(fsPath(lockPath(path)), { force: true });
}
