import type { Socket } from 'node:net';
import { errorCode, GraceError } from '../../error.ts';
import { pathLockTarget } from '../../net/path-lock.ts';
import { openUnixConnection } from '../../net/unix-connection.ts';
import { nextPause } from '../../waiting.ts';
import { FULL_QUEUE_PAUSE_MS } from '../policy.ts';
import { pause } from './retry.ts';

/**
 * Connect to a Unix socket. The socket is the caller's, with both directions ending on their own.
 * A queue that is full is waited for: a TCP client would not see it either, while connect(2) on a
 * Unix socket that must not block just says EAGAIN.
 *
 * @throws the system's error; GraceError when `lockfile` asks for a live owner and there is none; the signal's reason.
 */
export async function connectUnix(
  path: string,
  { lockfile, signal }: { lockfile: boolean; signal: AbortSignal },
): Promise<Socket> {
  if (lockfile) checkLock(path);
  for (let pauseMs = FULL_QUEUE_PAUSE_MS.first; ; pauseMs = nextPause(pauseMs, FULL_QUEUE_PAUSE_MS)) {
    try {
      return await openUnixConnection(path, signal);
    } catch (error) {
      if (errorCode(error) !== 'EAGAIN') throw error;
    }
    await pause(pauseMs, signal);
  }
}

/** Twisted's rule for `lockfile=1`: no connection unless a live process holds the lock beside the path. */
function checkLock(path: string): void {
  const pid = pathLockTarget(path);
  if (pid === null)
    throw new GraceError(`no process holds ${path}.lock`, { hint: 'start the server, or use lockfile=0' });
  if (!isAlive(pid))
    throw new GraceError(`process ${pid}, which held ${path}.lock, is gone`, {
      hint: 'start the server, or use lockfile=0',
    });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    return errorCode(error) !== 'ESRCH';
  }
}
