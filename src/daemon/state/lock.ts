import { setTimeout as delay } from 'node:timers/promises';
import type { StatePaths } from '../../control/paths.ts';
import type { Parts } from '../assemble.ts';
import { readPidFile } from './pid-file.ts';
import { GraceError } from '../../error.ts';
import { inodeOf } from '../../sys/descriptor.ts';
import { limitHint } from '../../sys/limit-hint.ts';
import { adoptLock, lockFile } from '../../sys/lock.ts';
import type { Lock } from '../../sys/lock.ts';
import { describeError } from '../../sys/system-error.ts';

/** Who only looks whether a daemon runs has the lock for a moment, as flock(1) in a health check does. */
const patience = { tries: 5, pauseMs: 20 };

/** At most one daemon serves a state dir: it holds the lock, which a successor inherits, and which the keeper holds between two. */
export async function findLock({
  paths,
  launcher,
  listeners,
}: Pick<Parts, 'paths' | 'launcher' | 'listeners'>): Promise<Lock> {
  const { lockFd } = listeners;
  const inode = launcher.handover?.inodes?.lock;
  if (lockFd !== null && inode !== undefined && inodeOf(lockFd) !== inode)
    throw new GraceError('the daemon that is to be replaced passed something else as its lock');
  if (lockFd !== null) return adoptLock(lockFd);
  if (launcher.handover) throw new GraceError('the daemon that is to be replaced did not pass its lock');
  return takeLock(paths);
}

async function takeLock(paths: StatePaths): Promise<Lock> {
  let lock: Lock | null;
  try {
    lock = lockFile(paths.lock);
    for (let tries = 1; lock === null && tries < patience.tries; tries++) {
      await delay(patience.pauseMs);
      lock = lockFile(paths.lock);
    }
  } catch (error) {
    throw new GraceError(`cannot write in the state dir ${paths.dir}: ${paths.lock}: ${describeError(error)}`, {
      hint: limitHint(error) ?? 'choose another with -d DIR',
      cause: error,
    });
  }
  if (lock) return lock;
  const pid = readPidFile(paths.pid);
  throw new GraceError(`a daemon already runs in ${paths.dir}${pid === null ? '' : ` (pid ${pid})`}`, {
    hint: 'replace it with: grace restart, or end it with: grace stop',
  });
}
