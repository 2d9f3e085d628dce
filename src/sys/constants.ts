/**
 * Numbers of the C headers. Those of Linux hold for x64 and arm64 alike; those of macOS were written
 * down from its headers and have not been run.
 */
const linux = {
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOL_SOCKET: 1,
  SO_REUSEADDR: 2,
  SO_TYPE: 3,
  SO_ERROR: 4,
  SO_SNDBUF: 7,
  SO_ACCEPTCONN: 30,
  SO_PEERCRED: 17,
  F_DUPFD_CLOEXEC: 1030,
  O_NONBLOCK: 0o4000,
  MSG_PEEK: 0x2,
  MSG_CTRUNC: 0x8,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
  MSG_NOSIGNAL: 0x4000,
  /** Received descriptors are close-on-exec from the start. macOS has no such flag. */
  MSG_CMSG_CLOEXEC: 0x4000_0000,
  RLIMIT_NOFILE: 7,
  O_CREAT: 0o100,
  O_CLOEXEC: 0o2000000,
  O_NOFOLLOW: process.arch === 'arm64' ? 0o100000 : 0o400000,
};

const darwin: typeof linux = {
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 30,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOL_SOCKET: 0xffff,
  SO_REUSEADDR: 0x4,
  SO_TYPE: 0x1008,
  SO_SNDBUF: 0x1001,
  SO_ERROR: 0x1007,
  SO_ACCEPTCONN: 0x2,
  SO_PEERCRED: 0,
  F_DUPFD_CLOEXEC: 67,
  O_NONBLOCK: 0x4,
  MSG_PEEK: 0x2,
  MSG_CTRUNC: 0x20,
  MSG_TRUNC: 0x10,
  MSG_DONTWAIT: 0x80,
  MSG_NOSIGNAL: 0x8_0000,
  MSG_CMSG_CLOEXEC: 0,
  RLIMIT_NOFILE: 8,
  O_CREAT: 0x200,
  O_CLOEXEC: 0x100_0000,
  O_NOFOLLOW: 0x100,
};

/** open(2): a name for the file that does nothing to it. Linux. */
export const O_PATH = 0o10000000;

/** Everything else is taken for Linux. */
export const isDarwin: boolean = process.platform === 'darwin';

/** The constants that differ, as this system has them. */
export const C: Readonly<typeof linux> = isDarwin ? darwin : linux;

/** The same on both systems: of open(2), fcntl(2), flock(2), cmsg(3) and waitpid(2). */
export const O_RDWR = 2;
export const F_GETFD = 1;
export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const FD_CLOEXEC = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const SCM_RIGHTS = 1;
export const WNOHANG = 1;

/** Linux only: of socket(2), socket(7), netlink(7), tcp(7), ip(7), ipv6(7) and prctl(2). */
export const SOCK_CLOEXEC = 0o2000000;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_RAW = 3;
export const SO_LINGER = 13;
export const SO_RCVTIMEO = 20;
export const SO_SNDTIMEO = 21;
export const SOCK_SEQPACKET = 5;
export const AF_NETLINK = 16;
export const NETLINK_SOCK_DIAG = 4;
export const IPPROTO_TCP = 6;
export const TCP_INFO = 11;
export const TCP_QUICKACK = 12;
export const TCP_USER_TIMEOUT = 18;
export const SOL_IP = 0;
export const IP_FREEBIND = 15;
export const SOL_IPV6 = 41;
export const IPV6_FREEBIND = 78;
export const PR_SET_NAME = 15;
export const PR_SET_CHILD_SUBREAPER = 36;
