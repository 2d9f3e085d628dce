import {
  C,
  isDarwin,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SO_LINGER,
  SO_RCVTIMEO,
  SO_SNDTIMEO,
  IPPROTO_TCP,
  TCP_USER_TIMEOUT,
} from './constants.ts';
import { closeFd, setCloseOnExec, setNonBlocking } from './descriptor.ts';
import { check, libc } from './libc.ts';
import { decodeSockaddr, encodeSockaddr, SOCKADDR_SIZE } from './sockaddr.ts';
import type { SocketAddress } from './sockaddr.ts';

/** The kinds of sockets that are opened here: socket(2). */
export type SocketType = 'stream' | 'datagram' | 'seqpacket';

const FAMILY = { inet: C.AF_INET, inet6: C.AF_INET6, unix: C.AF_UNIX } as const;
const TYPE = { stream: C.SOCK_STREAM, datagram: C.SOCK_DGRAM, seqpacket: SOCK_SEQPACKET } as const;

/** A new socket, non-blocking and close-on-exec; the caller closes it. */
export function openSocket(family: SocketAddress['family'], type: SocketType = 'stream'): number {
  if (!isDarwin) return check(libc().socket(FAMILY[family], TYPE[type] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), 'socket');
  const fd = check(libc().socket(FAMILY[family], TYPE[type], 0), 'socket');
  setCloseOnExec(fd, true);
  setNonBlocking(fd, true);
  return fd;
}

/** Two connected Unix sockets, close-on-exec and blocking as socketpair(2) makes them; the caller closes both. */
export function openSocketPair(type: SocketType = 'stream'): [number, number] {
  const pair = new Int32Array(new ArrayBuffer(8));
  const flags = isDarwin ? 0 : SOCK_CLOEXEC;
  check(libc().socketpair(C.AF_UNIX, TYPE[type] | flags, 0, new Uint8Array(pair.buffer)), 'socketpair');
  const [a = -1, b = -1] = pair;
  if (isDarwin) for (const fd of [a, b]) setCloseOnExec(fd, true);
  return [a, b];
}

/** bind(2). Throws EADDRINUSE, EADDRNOTAVAIL, EACCES, ENOENT. */
export function bindSocket(fd: number, address: SocketAddress): void {
  const bytes = encodeSockaddr(address);
  check(libc().bind(fd, bytes, bytes.length), 'bind');
}

/** Start to listen, or change the length of the queue. The system caps it (net.core.somaxconn). */
export function listenSocket(fd: number, backlog: number): void {
  check(libc().listen(fd, backlog), 'listen');
}

/**
 * Have nobody listen on a socket any more, whoever else holds it: its queue is reset, and clients are
 * refused from now on (shutdown(2); Linux).
 */
export function shutListener(fd: number): void {
  if (!isDarwin) check(libc().shutdown(fd, SHUT_RDWR), 'shutdown');
}

const SHUT_RDWR = 2;

/** connect(2); on a non-blocking socket throws EINPROGRESS (TCP), or EAGAIN when the queue is full (Unix). */
export function connectSocket(fd: number, address: SocketAddress): void {
  const bytes = encodeSockaddr(address);
  check(libc().connect(fd, bytes, bytes.length), 'connect');
}

/** The next connection of a non-blocking listener: non-blocking, close-on-exec, the caller's; null if there is none. */
export function acceptSocket(fd: number): number | null {
  const { linux, accept, errno } = libc();
  const accepted =
    linux === null ? accept(fd, null, null) : linux.accept4(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
  // EAGAIN is 11 on Linux and 35 on macOS.
  if (accepted === -1 && errno() === (isDarwin ? 35 : 11)) return null;
  check(accepted, 'accept');
  if (linux === null) {
    setCloseOnExec(accepted, true);
    setNonBlocking(accepted, true);
  }
  return accepted;
}

/** The address that the socket is bound to. Throws ENOTSOCK, EBADF; RangeError for other families. */
export function socketName(fd: number): SocketAddress {
  return readName(fd, 'getsockname');
}

/** The address of the other end. Throws ENOTCONN. */
export function peerName(fd: number): SocketAddress {
  return readName(fd, 'getpeername');
}

function readName(fd: number, syscall: 'getsockname' | 'getpeername'): SocketAddress {
  const bytes = new Uint8Array(new ArrayBuffer(SOCKADDR_SIZE));
  const length = new Uint32Array([SOCKADDR_SIZE]);
  check(libc()[syscall](fd, bytes, new Uint8Array(length.buffer)), syscall);
  return decodeSockaddr(bytes, length[0] ?? 0);
}

/** An option whose value is an int. */
export function socketOption(fd: number, level: number, option: number): number {
  const value = new Int32Array(1);
  const length = new Uint32Array([4]);
  check(
    libc().getsockopt(fd, level, option, new Uint8Array(value.buffer), new Uint8Array(length.buffer)),
    'getsockopt',
  );
  return value[0] ?? 0;
}

/** Set an option whose value is an int. Throws ENOPROTOOPT, EBADF. */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  check(libc().setsockopt(fd, level, option, new Uint8Array(new Int32Array([value]).buffer), 4), 'setsockopt');
}

/**
 * Have the system cut a TCP connection whose bytes are not acknowledged for so many milliseconds; 0: as long as it
 * takes otherwise (TCP_USER_TIMEOUT, tcp(7)). What is accepted from a listener has what that had then. Linux only.
 */
export function setUserTimeout(fd: number, ms: number): void {
  setSocketOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, ms);
}

/** Have a close of the last descriptor reset a TCP connection, whatever was not sent yet (SO_LINGER with no time). */
export function setResetOnClose(fd: number): void {
  const linger = new Int32Array([1, 0]);
  check(libc().setsockopt(fd, C.SOL_SOCKET, SO_LINGER, new Uint8Array(linger.buffer), 8), 'setsockopt');
}

/**
 * Whether this machine has an address to reach another one from: `from` if that is given. Addresses are
 * `struct sockaddr`. A UDP socket's connect(2) looks for one and sends nothing.
 */
export function hasSourceFor(address: Uint8Array, from: Uint8Array | null): boolean {
  const { socket, bind, connect } = libc();
  const fd = socket(address[isDarwin ? 1 : 0] ?? 0, C.SOCK_DGRAM, 0);
  if (fd === -1) return false;
  try {
    return (from === null || bind(fd, from, from.length) === 0) && connect(fd, address, address.length) === 0;
  } finally {
    closeFd(fd);
  }
}

/** Whether the descriptor is a socket of type stream on which listen(2) was called. Throws ENOTSOCK, EBADF. */
export function isListeningStream(fd: number): boolean {
  return (
    socketOption(fd, C.SOL_SOCKET, C.SO_TYPE) === C.SOCK_STREAM && socketOption(fd, C.SOL_SOCKET, C.SO_ACCEPTCONN) !== 0
  );
}

/** The same of a descriptor that may be anything: false for a file, a pipe, and one that is not open. */
export function isListener(fd: number): boolean {
  try {
    return isListeningStream(fd);
  } catch {
    return false; // ENOTSOCK, EBADF
  }
}

/** Whether a descriptor, which may be anything, is a Unix socket of this type that does not listen: one end of a pair. */
export function isUnixEnd(fd: number, type: SocketType): boolean {
  try {
    return (
      socketOption(fd, C.SOL_SOCKET, C.SO_TYPE) === TYPE[type] &&
      socketOption(fd, C.SOL_SOCKET, C.SO_ACCEPTCONN) === 0 &&
      socketName(fd).family === 'unix'
    );
  } catch {
    return false; // ENOTSOCK, EBADF, another family
  }
}

/** Process, user and group at the other end of a Unix stream, as of its connect or socketpair. Linux only. */
export function peerCredentials(fd: number): { pid: number; uid: number; gid: number } {
  const values = new Int32Array(3);
  const length = new Uint32Array([12]);
  check(
    libc().getsockopt(fd, C.SOL_SOCKET, C.SO_PEERCRED, new Uint8Array(values.buffer), new Uint8Array(length.buffer)),
    'getsockopt',
  );
  const [pid = -1, uid = -1, gid = -1] = values;
  return { pid, uid, gid };
}

/** How long a blocking send may take (SO_SNDTIMEO), in milliseconds; 0 is for ever. Linux only. */
export function setSendTimeout(fd: number, milliseconds: number): void {
  setTimeoutOption(fd, SO_SNDTIMEO, milliseconds);
}

/** How long a blocking accept or receive may take (SO_RCVTIMEO), in milliseconds; 0 is for ever. Linux only. */
export function setReceiveTimeout(fd: number, milliseconds: number): void {
  setTimeoutOption(fd, SO_RCVTIMEO, milliseconds);
}

/** What {@link setReceiveTimeout} has set, in milliseconds. */
export function receiveTimeout(fd: number): number {
  const timeval = new BigInt64Array(2);
  const length = new Uint32Array([timeval.byteLength]);
  check(
    libc().getsockopt(fd, C.SOL_SOCKET, SO_RCVTIMEO, new Uint8Array(timeval.buffer), new Uint8Array(length.buffer)),
    'getsockopt',
  );
  return Number(timeval[0]) * 1000 + Number(timeval[1]) / 1000;
}

function setTimeoutOption(fd: number, option: number, milliseconds: number): void {
  const seconds = Math.floor(milliseconds / 1000);
  const timeval = new BigInt64Array([BigInt(seconds), BigInt(Math.round((milliseconds - seconds * 1000) * 1000))]);
  check(libc().setsockopt(fd, C.SOL_SOCKET, option, new Uint8Array(timeval.buffer), timeval.byteLength), 'setsockopt');
}
