/** What the kernel tells of sockets (sock_diag(7)): one question and its answer. Linux only. */
import { AF_NETLINK, isDarwin, NETLINK_SOCK_DIAG, SOCK_CLOEXEC, SOCK_RAW } from './constants.ts';
import { closeFd } from './descriptor.ts';
import { libc } from './libc.ts';
import { receiveMessage, sendMessage } from './message.ts';

/** Numbers of linux/netlink.h and linux/sock_diag.h. */
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
/** Bytes of `struct nlmsghdr`, which both a question and its answer begin with. */
const HEADER_SIZE = 16;

/** In a question: sockets in every state. */
export const ALL_STATES = 0xffff_ffff;
/** In a question: a socket whatever its cookie. */
export const ANY_COOKIE = 0xffff_ffff_ffff_ffffn;

/** Asks the kernel; the caller disposes of it. */
export type SockDiag = Disposable & {
  /**
   * @param request a netlink message of which everything is filled in but its header
   * @returns the answer, header included; null when the kernel knows no such socket or cannot tell
   */
  ask(request: Uint8Array): DataView | null;
};

/** Open a netlink socket for questions; null where the system has no way to ask. */
export function openSockDiag(): SockDiag | null {
  if (isDarwin) return null;
  const fd = libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd === -1) return null;
  const kernel = new Uint8Array(new ArrayBuffer(12));
  new DataView(kernel.buffer).setUint16(0, AF_NETLINK, true);
  if (libc().connect(fd, kernel, kernel.length) === -1) {
    closeFd(fd);
    return null;
  }
  return { ask: (request) => ask(fd, request), [Symbol.dispose]: () => closeFd(fd) };
}

function ask(fd: number, request: Uint8Array): DataView | null {
  const header = new DataView(request.buffer, request.byteOffset, HEADER_SIZE);
  header.setUint32(0, request.length, true);
  header.setUint16(4, SOCK_DIAG_BY_FAMILY, true);
  header.setUint16(6, NLM_F_REQUEST, true);
  try {
    sendMessage(fd, request);
    // The kernel answers in the call that asks, so the answer is there to be read without waiting.
    const data = receiveMessage(fd, { size: 4096 })?.data ?? new Uint8Array(0);
    const answer = new DataView(data.buffer, data.byteOffset, data.byteLength);
    return data.length >= HEADER_SIZE && answer.getUint16(4, true) === SOCK_DIAG_BY_FAMILY ? answer : null;
  } catch {
    // A kernel without this kind of diagnosis, or a sandbox: nothing can be said.
    return null;
  }
}
