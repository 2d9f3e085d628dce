/** One socket on its way to one address: made, tuned, bound, connecting and watched. */
import { C, IPPROTO_TCP, TCP_USER_TIMEOUT } from '../../sys/constants.ts';
import { EPOLLET, EPOLLOUT, TCP_EVENTS, UNIX_EVENTS } from './epoll-events.ts';
import { EADDRNOTAVAIL, EINPROGRESS, EINTR, EMFILE } from './errno.ts';
import { hasSourceFor } from '../../sys/socket.ts';
import type { PinnedAddress } from './kernel.ts';
import type { FirstFlight } from './first-flight.ts';
import { errnosOf, SHORTAGES } from '../policy.ts';
import { CONNECTING, IS_UNIX, KIND_SERVER } from './connection-table.ts';
import { OUT_OF_PORTS } from './messages.ts';
import type { Thread, ThreadUpstream } from './thread.ts';
import { setNoDelay } from './tune.ts';

const IP_BIND_ADDRESS_NO_PORT = 24;
const SHORTAGE_ERRNOS = errnosOf(SHORTAGES);

/**
 * Whether a connect has met itself: with nobody listening on a port that the system also gives out to
 * those who connect, it may give out that very port, and TCP lets a socket connect to itself (RFC 9293,
 * section 3.5, simultaneous open).
 */
export function isConnectedToItself(
  { kernel }: Thread,
  fd: number,
  { pinned }: PinnedAddress,
  { plan }: ThreadUpstream,
): boolean {
  return plan.mayMeetItself && kernel.isLocalAddress(fd, pinned.bytes);
}

/**
 * What EADDRNOTAVAIL of connect(2) means: every port towards there is taken, which time mends; or this
 * machine has no address to connect from, as for `::1` where IPv6 is off. UDP tells them apart.
 */
function areAllPortsTaken({ pinned, length }: PinnedAddress, { plan }: ThreadUpstream): boolean {
  return hasSourceFor(pinned.bytes.subarray(0, Number(length)), plan.bindAddress);
}

/** What there is too little of here, if that is what an error of a connect says: time mends it, and the destination has no part in it. */
export function lackOf(errno: number, address: PinnedAddress, upstream: ThreadUpstream): number | null {
  if (errno === EADDRNOTAVAIL && areAllPortsTaken(address, upstream)) return OUT_OF_PORTS;
  return SHORTAGE_ERRNOS.includes(errno) ? errno : null;
}

/** Returns the descriptor, whose leg is CONNECTING unless it is connected already; or the negative errno. */
export function startConnect(
  thread: Thread,
  address: PinnedAddress,
  { upstream, firstFlight }: { upstream: ThreadUpstream; firstFlight: FirstFlight },
): number {
  const { kernel, table } = thread;
  const family = address.pinned.bytes[0]!;
  const fd = kernel.socket(family);
  if (fd < 0) return fd;
  const failed = table.fits(fd) ? prepare(thread, fd, { family, upstream, firstFlight }) : -EMFILE;
  const connected = failed < 0 ? failed : kernel.connect(fd, address);
  if (connected < 0 && connected !== -EINPROGRESS && connected !== -EINTR) {
    kernel.close(fd);
    return connected;
  }
  return watch(thread, fd, { isUnix: family === C.AF_UNIX, isDone: connected === 0 });
}

/** What a socket needs before it connects. Returns a negative errno when it cannot have it. */
function prepare(
  { kernel }: Thread,
  fd: number,
  { family, upstream, firstFlight }: { family: number; upstream: ThreadUpstream; firstFlight: FirstFlight },
): number {
  if (family === C.AF_UNIX) return 0;
  setNoDelay(kernel, fd);
  const { userTimeoutMs } = upstream.plan;
  if (userTimeoutMs > 0) kernel.setOption(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, userTimeoutMs);
  firstFlight.beforeConnect(fd, upstream);
  if (!upstream.bindAddress) return 0;
  kernel.setOption(fd, 0, IP_BIND_ADDRESS_NO_PORT, 1);
  return kernel.bind(fd, upstream.bindAddress);
}

function watch(thread: Thread, fd: number, { isUnix, isDone }: { isUnix: boolean; isDone: boolean }): number {
  const { kernel, table, number } = thread;
  const generation = table.open(fd, number, KIND_SERVER | (isDone ? 0 : CONNECTING) | (isUnix ? IS_UNIX : 0));
  thread.fdBound = Math.max(thread.fdBound, fd + 1);
  const watched = kernel.watch(fd, isUnix ? UNIX_EVENTS | (isDone ? 0 : EPOLLOUT | EPOLLET) : TCP_EVENTS, generation);
  if (watched >= 0) return fd;
  table.close(fd);
  kernel.close(fd);
  return watched;
}
