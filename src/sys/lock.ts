import { C, LOCK_EX, LOCK_NB, O_RDWR } from './constants.ts';
import { closeFd, openFd, setCloseOnExec } from './descriptor.ts';
import { check, libc } from './libc.ts';
import { SystemError } from './system-error.ts';

/**
 * An exclusive lock on a file. It belongs to the open file, not to the process: whoever inherits the
 * descriptor holds it too, and it ends when the last copy is closed, a crash included (flock(2)).
 */
export type Lock = {
  /** Close-on-exec. Pass it on as a stdio entry of a child to share the lock. */
  readonly fd: number;
  /** Close this process's copy; twice is fine. The file stays. */
  release(): void;
};

/**
 * Lock a file, which is made with mode 0600 if it does not exist; null when another one holds it.
 * The file must never be removed while it is in use as a lock, see private-lock.ts.
 *
 * @throws SystemError when the file cannot be opened.
 */
export function lockFile(path: string): Lock | null {
  const fd = openFd(path, { flags: O_RDWR | C.O_CREAT | C.O_NOFOLLOW, mode: 0o600 });
  try {
    check(libc().flock(fd, LOCK_EX | LOCK_NB), 'flock');
    return makeLock(fd);
  } catch (error) {
    closeFd(fd);
    if (error instanceof SystemError && (error.code === 'EAGAIN' || error.code === 'EWOULDBLOCK')) return null;
    throw error;
  }
}

/** Take over a lock whose descriptor this process inherited. Throws SystemError EBADF when it is not open. */
export function adoptLock(fd: number): Lock {
  setCloseOnExec(fd, true);
  return makeLock(fd);
}

function makeLock(fd: number): Lock {
  let isHeld = true;
  return {
    fd,
    release() {
      if (!isHeld) return;
      isHeld = false;
      closeFd(fd);
    },
  };
}
