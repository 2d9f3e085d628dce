import fs from 'node:fs';
import { errorCode, GraceError } from '../error.ts';
import { closeFd, dropRuntimeCopy, dupFd, inodeOf, setCloseOnExec, setNonBlocking } from '../sys/descriptor.ts';
import { fsPath } from '../sys/file-name.ts';
import { listenQueueLength } from '../sys/listen-queue.ts';
import { isListeningStream, socketName } from '../sys/socket.ts';
import { badArgument } from './argument.ts';
import { pathLockTarget } from './path-lock.ts';

/** The local address of a listening socket, as the system reports it. */
export type ListenerAddress =
  | { family: 'inet' | 'inet6'; host: string; port: number }
  /** `path` starts with NUL for Linux's abstract namespace. */
  | { family: 'unix'; path: string };

/**
 * A listening socket that belongs to the service rather than to this process: opened here or
 * inherited, served by any number of engines or servers (each on a duplicate), handed to a successor.
 * Closing it closes this process's copy only; the queue of the socket lives as long as any copy.
 */
export type Listener = {
  /** Descriptor owned by this object. Never close it directly; close-on-exec is set. */
  readonly fd: number;
  /** Name under which it is handed on (LISTEN_FDNAMES). */
  readonly name: string;
  readonly address: ListenerAddress;
  /** Length of the accept queue; to be passed whenever a runtime calls listen(2) again. */
  backlog: number;
  /** Inode number of the socket, to tell "the very same socket" from "the same address". */
  readonly inode: number;
  readonly isOpen: boolean;
  /** The file of a Unix socket when it was bound or inherited; absent for TCP and abstract names. */
  readonly socketFile?: SocketFile;
  /** Another descriptor of the same open socket, close-on-exec, owned by the caller. */
  dup(): number;
  /** Close this process's copy; twice is fine. Does not remove the path of a Unix socket. */
  close(): void;
};

/** Which file the path of a Unix socket was, and whether a lock lies beside it (path-lock.ts). */
export type SocketFile = {
  readonly dev: number;
  readonly ino: number;
  readonly birthtimeMs: number;
  readonly isLocked: boolean;
};

/** Where the kernel does not tell the length of a queue: no less than any system's default cap. */
const QUEUE_LENGTH_UNKNOWN = 4096;

/**
 * Make a listener of a descriptor, which is then the listener's.
 *
 * @param options.name goes into LISTEN_FDNAMES: printable ASCII without colon, 255 characters at most. Default: empty
 * @throws GraceError when the descriptor is not open or not a listening stream socket; it is left as it was.
 */
export function adoptFd(fd: number, { name = '' }: { name?: string } = {}): Listener {
  if (!Number.isInteger(fd) || fd < 0) throw badArgument('adoptFd', 'the number of a descriptor', fd);
  checkName(name);
  try {
    if (!isListeningStream(fd))
      throw new GraceError(`cannot listen on descriptor ${fd}: it is not a listening stream socket`, {
        code: 'ENOTSOCK',
      });
    return makeListener(fd, name);
  } catch (error) {
    if (error instanceof GraceError) throw error;
    throw new GraceError(`cannot listen on descriptor ${fd}: ${(error as Error).message}`, {
      code: errorCode(error),
      cause: error,
    });
  }
}

function makeListener(fd: number, name: string): Listener {
  dropRuntimeCopy(fd);
  setCloseOnExec(fd, true);
  // A service manager passes blocking sockets, on which an accept that comes too late would hang.
  setNonBlocking(fd, true);
  const address = listenerAddress(fd);
  const inode = inodeOf(fd);
  const socketFile = address.family === 'unix' ? findSocketFile(address.path) : null;
  let isOpen = true;
  return {
    fd,
    name,
    address,
    backlog: listenQueueLength(fd, { family: address.family, inode }) ?? QUEUE_LENGTH_UNKNOWN,
    inode,
    get isOpen() {
      return isOpen;
    },
    ...(socketFile !== null && { socketFile }),
    dup() {
      if (!isOpen)
        throw new GraceError(`cannot use the listener on ${formatAddress(address)}: it is closed`, {
          code: 'ERR_GRACE_CLOSED',
        });
      return dupFd(fd);
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      closeFd(fd);
    },
  };
}

function listenerAddress(fd: number): ListenerAddress {
  const name = socketName(fd);
  return name.family === 'unix' ? name : { family: name.family, host: name.host, port: name.port };
}

function findSocketFile(path: string): SocketFile | null {
  if (path === '' || path.startsWith('\0')) return null;
  const stat = fs.lstatSync(fsPath(path), { throwIfNoEntry: false });
  if (stat === undefined || !stat.isSocket()) return null;
  return { dev: stat.dev, ino: stat.ino, birthtimeMs: stat.birthtimeMs, isLocked: pathLockTarget(path) !== null };
}

function checkName(name: unknown): void {
  // systemd's rule (fdname_is_valid): the colon separates the names.
  if (typeof name === 'string' && /^[\x20-\x39\x3b-\x7e]{0,255}$/.test(name)) return;
  throw badArgument('name of a listener', 'at most 255 printable ASCII characters without colon', name);
}

/** An address for people: `127.0.0.1:80`, `[::]:80`, `/run/x.sock`, `@abstract`. */
export function formatAddress(address: ListenerAddress): string {
  switch (address.family) {
    case 'inet':
      return `${address.host}:${address.port}`;
    case 'inet6':
      return `[${address.host}]:${address.port}`;
    case 'unix':
      return address.path.startsWith('\0') ? `@${address.path.slice(1)}` : address.path;
  }
}
