import fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCode, GraceError } from '../error.ts';
import { closeFd, fdDirectory, openFd, setMode } from '../sys/descriptor.ts';
import { fsPath } from '../sys/file-name.ts';
import { lockPrivately } from '../sys/private-lock.ts';
import type { PrivateLock } from '../sys/private-lock.ts';
import { bindSocket, connectSocket, listenSocket, openSocket } from '../sys/socket.ts';
import { C, O_PATH, isDarwin } from '../sys/constants.ts';
import type { Listener, SocketFile } from './listener.ts';
import { acquirePathLock, pathLockTarget, releasePathLock, takeOverPathLock } from './path-lock.ts';

/** How the socket file is made. */
export type UnixPathOptions = {
  mode: number;
  backlog: number;
  /** Hold Twisted's lock beside the path. */
  lockfile: boolean;
};

/**
 * Bind a stream socket to a path and listen. A socket that nobody listens on any more is replaced.
 *
 * All of it happens under a lock beside the path, so that two processes which find the same stale
 * socket do not remove each other's new one. The socket is not bound elsewhere and renamed into place,
 * because its own name (getsockname), by which a successor finds it, would stay the old one.
 *
 * @returns the descriptor, the caller's.
 * @throws GraceError with the reason alone; SystemError of bind and listen.
 */
export async function bindUnixPath(file: string, { mode, backlog, lockfile }: UnixPathOptions): Promise<number> {
  const lock = await lockBeside(file);
  try {
    // Before the lock: one that names this process may be that of a listener which is still served.
    const isStale = findStaleSocket(file);
    if (lockfile) acquirePathLock(file, { isSocketStale: () => isSocketFile(file) && probeSocket(file) === 'stale' });
    try {
      if (isStale) fs.rmSync(fsPath(file), { force: true });
      return bindLocked(file, { mode, backlog });
    } catch (error) {
      if (lockfile) releasePathLock(file);
      throw error;
    }
  } finally {
    lock?.release();
  }
}

function bindLocked(file: string, { mode, backlog }: { mode: number; backlog: number }): number {
  const fd = openSocket('unix');
  try {
    // bind(2) gives the path the mode of the socket less the umask: never more than what was asked for.
    if (!isDarwin) setMode(fd, mode & 0o777);
    bindSocket(fd, { family: 'unix', path: file });
    try {
      setSocketMode(file, mode);
      listenSocket(fd, backlog);
    } catch (error) {
      fs.rmSync(fsPath(file), { force: true });
      throw error;
    }
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/**
 * Set the mode of a socket's file, and of nothing that a link in its place leads to. Throws GraceError when it is
 * no socket, and the system's error.
 */
export function setSocketMode(file: string, mode: number): void {
  const fd = isDarwin ? null : openFd(file, { flags: O_PATH | C.O_NOFOLLOW });
  try {
    // What is open stays what it is, whoever may rename in that directory.
    const name = fd === null || !fs.existsSync(fdDirectory) ? fsPath(file) : `${fdDirectory}/${fd}`;
    const stat = fd === null || name === fsPath(file) ? fs.lstatSync(name) : fs.statSync(name);
    if (!stat.isSocket()) throw new GraceError(`${file} is no socket any more`, { hint: 'somebody put it there' });
    fs.chmodSync(name, mode);
  } finally {
    if (fd !== null) closeFd(fd);
  }
}

/** Whether a socket file lies there that nobody serves. Throws when the path cannot be had. */
function findStaleSocket(file: string): boolean {
  const stat = fs.lstatSync(fsPath(file), { throwIfNoEntry: false });
  if (stat === undefined) return false;
  if (!stat.isSocket()) {
    throw new GraceError('the file exists and is not a socket (EADDRINUSE)', {
      code: 'EADDRINUSE',
      hint: 'remove it, or use another path',
    });
  }
  const state = probeSocket(file);
  if (state === 'stale') return true;
  throw state === 'live'
    ? new GraceError('address already in use (EADDRINUSE): a process answers there', { code: 'EADDRINUSE' })
    : new GraceError('address already in use (EADDRINUSE): cannot tell whether a process listens there', {
        code: 'EADDRINUSE',
        hint: 'remove the socket file if none does',
      });
}

function isSocketFile(file: string): boolean {
  return fs.lstatSync(fsPath(file), { throwIfNoEntry: false })?.isSocket() === true;
}

/** Whether a stream socket file has a listener: it takes a connection, or refuses it. */
export function probeSocket(file: string): 'live' | 'stale' | 'unknown' {
  const fd = openSocket('unix');
  try {
    connectSocket(fd, { family: 'unix', path: file });
    return 'live';
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return 'stale';
    // Its queue is full, so somebody made it long ago and is busy.
    return code === 'EAGAIN' ? 'live' : 'unknown';
  } finally {
    closeFd(fd);
  }
}

const LOCK_ATTEMPTS = 200;
const LOCK_PAUSE_MS = 10;

/** The lock on changes of a path. Null where it cannot be had, see `lockPrivately`: bind(2) says why, if it matters. */
async function lockBeside(file: string): Promise<PrivateLock | null> {
  const name = `${file}.grace-lock`;
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
    const lock = lockPrivately(name);
    if (lock !== 'held') return lock;
    await delay(LOCK_PAUSE_MS);
  }
  throw new GraceError(`another process keeps ${name} locked`, {
    code: 'EBUSY',
    hint: `fuser ${name} shows which; it is one of this user`,
  });
}

/**
 * Remove the path of a Unix listener and the lock beside it, if the path still is the very file that
 * was there when the listener was opened or inherited. Call it only when no successor has the socket.
 */
export function removeSocketPath(listener: Listener): void {
  const { address, socketFile } = listener;
  if (address.family !== 'unix' || socketFile === undefined) return;
  if (hasSocketPath(listener)) fs.rmSync(fsPath(address.path), { force: true });
  if (socketFile.isLocked) releasePathLock(address.path);
}

/** Whether the path of a Unix listener still is the very file that was there when it was opened or inherited. */
export function hasSocketPath({ address, socketFile }: Listener): boolean {
  if (address.family !== 'unix' || socketFile === undefined) return false;
  const stat = fs.lstatSync(fsPath(address.path), { throwIfNoEntry: false });
  return stat !== undefined && isSameFile(stat, socketFile);
}

/**
 * Why no client can find a listener by its path any more, or null: somebody removed the file, or put
 * another one there. The inode of the own file is not used again while the socket lives.
 */
export function whyPathIsLost({ address, socketFile }: Listener): string | null {
  if (address.family !== 'unix' || address.path === '' || address.path.startsWith('\0')) return null;
  try {
    const stat = fs.lstatSync(fsPath(address.path), { throwIfNoEntry: false });
    if (stat === undefined) return `the file ${address.path} is gone`;
    const isOwn = socketFile !== undefined && stat.dev === socketFile.dev && stat.ino === socketFile.ino;
    return isOwn ? null : `${address.path} is the file of another program now`;
  } catch {
    return null; // it cannot be seen from here
  }
}

/** A new file often gets the inode number of the one that was just removed; not its time of birth. */
function isSameFile(a: Omit<SocketFile, 'isLocked'>, b: Omit<SocketFile, 'isLocked'>): boolean {
  return a.dev === b.dev && a.ino === b.ino && a.birthtimeMs === b.birthtimeMs;
}

/**
 * Make the lock beside an inherited listener's path name this process. A successor does it when it
 * serves; a predecessor whose successor failed does it to have the lock back.
 *
 * @param predecessor process id of who handed the listener over: a lock of that process beside a path
 * whose file somebody removed is taken over too, or the path could not be had again while it lives.
 */
export function takeOverSocketPath({ address, socketFile }: Listener, predecessor: number | null = null): void {
  if (address.family !== 'unix') return;
  const isLeftLocked = socketFile === undefined && predecessor !== null && pathLockTarget(address.path) === predecessor;
  if (socketFile?.isLocked === true || isLeftLocked) takeOverPathLock(address.path);
}
