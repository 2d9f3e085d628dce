import fs from 'node:fs';
import { errorCode } from '../error.ts';
import { C, F_GETFD, F_GETFL, F_SETFD, F_SETFL, FD_CLOEXEC, isDarwin } from './constants.ts';
import { encodeName } from './file-name.ts';
import { check, libc } from './libc.ts';

/**
 * open(2), close-on-exec. Deno's own `openSync` keeps a table of what it opened, which a descriptor that
 * is handed around or closed here must not be in.
 */
export function openFd(path: string, { flags, mode = 0 }: { flags: number; mode?: number }): number {
  return check(libc().open(encodeName(`${path}\0`), flags | C.O_CLOEXEC, BigInt(mode)), 'open');
}

/** Inode number of what is open, a socket's included. Deno's `fstatSync` knows only files that it opened itself. */
export function inodeOf(fd: number): number {
  return fs.statSync(isDarwin ? `/dev/fd/${fd}` : `/proc/self/fd/${fd}`).ino;
}

/** Close a descriptor. Errors are ignored: the number is free afterwards whatever close(2) says. */
export function closeFd(fd: number): void {
  libc().close(fd);
}

/** The lowest free descriptor from `least` on, for the same open file, close-on-exec. */
export function dupFd(fd: number, least = 3): number {
  return check(libc().fcntl(fd, C.F_DUPFD_CLOEXEC, BigInt(least)), 'fcntl');
}

/**
 * Descriptors for the `stdio` of a child from place 3 on. Deno puts them in their places one after the
 * other, whether or not it thereby closes one whose turn is still to come (seen in 2.9): so none may
 * have the number of a place. One that has is copied; `close` closes the copies once the child runs.
 */
export function clearOfPlaces(fds: readonly number[]): { fds: number[]; close(): void } {
  const beyond = 3 + fds.length;
  const copies: number[] = [];
  const clear = fds.map((fd) => {
    if (fd >= beyond || !('Deno' in globalThis)) return fd;
    const copy = dupFd(fd, beyond);
    copies.push(copy);
    return copy;
  });
  return { fds: clear, close: () => copies.forEach(closeFd) };
}

/** Make the descriptor `target` one of the open file of `fd`, close-on-exec; what `target` was is closed. */
export function dupFdOnto(fd: number, target: number): void {
  const { linux, dup2 } = libc();
  if (linux !== null) {
    check(linux.dup3(fd, target, C.O_CLOEXEC), 'dup3');
    return;
  }
  check(dup2(fd, target), 'dup2');
  setCloseOnExec(target, true);
}

/** Whether a descriptor is closed when this process executes another program. Throws EBADF if it is not open. */
export function isCloseOnExec(fd: number): boolean {
  return (check(libc().fcntl(fd, F_GETFD, 0n), 'fcntl') & FD_CLOEXEC) !== 0;
}

/** Whether a program that is executed loses the descriptor (FD_CLOEXEC). Throws EBADF. */
export function setCloseOnExec(fd: number, on: boolean): void {
  check(libc().fcntl(fd, F_SETFD, on ? BigInt(FD_CLOEXEC) : 0n), 'fcntl');
}

/**
 * Have no child of this process inherit what it was itself left with: a lock of the script that started
 * it, the pipe by which somebody waits for its output. Node does that for the first sixteen alone.
 */
export function keepInheritedFds(): void {
  for (const fd of openFds()) if (fd > 2) markIfOpen(fd, true);
}

/**
 * {@link setCloseOnExec} of a descriptor that may be closed since the descriptors were listed: a thread of the
 * runtime may have had a file open for a moment.
 */
export function markIfOpen(fd: number, isClosedOnExec: boolean): void {
  try {
    setCloseOnExec(fd, isClosedOnExec);
  } catch (error) {
    if (errorCode(error) !== 'EBADF') throw error;
  }
}

/**
 * The descriptors from 3 on that this process was started with. Node marks them like its own, of which
 * it has, at its start, no files and sockets, but both ends of some pipes.
 */
export function inheritedFds(): number[] {
  const targets = new Map<number, string>();
  for (const fd of openFds()) {
    try {
      if (fd > 2) targets.set(fd, fs.readlinkSync(`${fdDirectory}/${fd}`));
    } catch {
      // The directory itself, while it was read.
    }
  }
  const isOwn = (target: string) =>
    target.startsWith('anon_inode:') ||
    target === '/dev/null' ||
    (target.startsWith('pipe:') && [...targets.values()].filter((each) => each === target).length > 1);
  return [...targets].filter(([, target]) => !isOwn(target)).map(([fd]) => fd);
}

/** Where the descriptors of this process are, each opened anew by its name. A minimal root has no /dev/fd. */
export const fdDirectory: string = isDarwin ? '/dev/fd' : '/proc/self/fd';

function openFds(): number[] {
  try {
    return fs.readdirSync(fdDirectory).map(Number);
  } catch {
    return Array.from({ length: 1024 }, (_, fd) => fd); // no /proc on this system
  }
}

/** Whether the number is that of an open descriptor. */
export function isOpenFd(fd: number): boolean {
  return libc().fcntl(fd, F_GETFD, 0n) !== -1;
}

/**
 * Make the runtime let go of its own copy of a descriptor that this process inherited. A Deno that was
 * started by a Deno duplicates the descriptors from 3 on at its start, so that closing the real ones
 * would leave the files open; `closeSync` closes such a copy and not the descriptor itself (seen in 2.9).
 */
export function dropRuntimeCopy(fd: number): void {
  if (!('Deno' in globalThis)) return;
  try {
    fs.closeSync(fd);
  } catch {
    // EBADF: it was started by somebody else and has no copy.
  }
}

/** Whether calls on the open file return at once, EAGAIN (O_NONBLOCK). Throws EBADF. */
export function isNonBlocking(fd: number): boolean {
  return (check(libc().fcntl(fd, F_GETFL, 0n), 'fcntl') & C.O_NONBLOCK) !== 0;
}

/** O_NONBLOCK belongs to the open file: every process that holds it sees the change. */
export function setNonBlocking(fd: number, on: boolean): void {
  const flags = check(libc().fcntl(fd, F_GETFL, 0n), 'fcntl');
  const wanted = on ? flags | C.O_NONBLOCK : flags & ~C.O_NONBLOCK;
  if (wanted !== flags) check(libc().fcntl(fd, F_SETFL, BigInt(wanted)), 'fcntl');
}

/**
 * Set the mode of an open file. Of a Unix socket that is not bound yet, it is the most that the path
 * made by bind(2) will allow (Linux; EINVAL on macOS).
 */
export function setMode(fd: number, mode: number): void {
  check(libc().fchmod(fd, mode), 'fchmod');
}

/** write(2), to a descriptor that the runtime does not know of as well. Returns how many bytes were taken. */
export function writeFd(fd: number, bytes: Uint8Array): number {
  const { linux } = libc();
  return linux === null ? fs.writeSync(fd, bytes) : check(linux.write(fd, bytes, bytes.length), 'write');
}

const POLLOUT = 4;
const POLLERR = 8;
const POLLHUP = 16;

/** Whether a write would be taken now, or within `waitMs`, which this thread stands still for: of a pipe, up to 4096 bytes without waiting (pipe(7)). A file always takes it. */
export function canWrite(fd: number, waitMs = 0): boolean {
  const request = new Uint8Array(8);
  const view = new DataView(request.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, POLLOUT, true);
  return check(libc().poll(request, 1n, waitMs), 'poll') > 0 && (view.getInt16(6, true) & POLLOUT) !== 0;
}

/** Whether whoever read the other end of a pipe or socket has gone (poll(2)); a write would fail with EPIPE. Never of a file. */
export function isReaderGone(fd: number): boolean {
  const request = new Uint8Array(8);
  const view = new DataView(request.buffer);
  view.setInt32(0, fd, true);
  return check(libc().poll(request, 1n, 0), 'poll') > 0 && (view.getInt16(6, true) & (POLLERR | POLLHUP)) !== 0;
}
