import { AF_NETLINK, C, IPPROTO_TCP, isDarwin, NETLINK_SOCK_DIAG, SOCK_CLOEXEC, SOCK_RAW, TCP_INFO } from './constants.ts';
import { closeFd } from './descriptor.ts';
import { libc } from './libc.ts';
import { receiveMessage, sendMessage } from './message.ts';
import type { SocketAddress } from './sockaddr.ts';

/** Offset of `tcpi_sacked` in `struct tcp_info`. */
const TCPI_SACKED_AT = 28;

/** Numbers of linux/sock_diag.h and linux/unix_diag.h. */
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const UDIAG_SHOW_RQLEN = 0x10;
const UNIX_DIAG_RQLEN = 4;
const ATTRIBUTES_AT = 32;

/**
 * Length of the accept queue of a listening socket as the kernel has it, or null where the kernel
 * does not tell. For TCP it is `tcpi_sacked` of TCP_INFO (tcp_get_info in Linux's net/ipv4/tcp.c);
 * for a Unix socket, sock_diag(7) has it. Linux only.
 */
export function listenQueueLength(fd: number, { family, inode }: { family: SocketAddress['family']; inode: number }): number | null {
  if (isDarwin) return null;
  return family === 'unix' ? unixQueueLength(inode) : tcpQueueLength(fd);
}

function tcpQueueLength(fd: number): number | null {
  const info = new Uint8Array(new ArrayBuffer(64));
  const length = new Uint32Array([info.length]);
  if (libc().getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, new Uint8Array(length.buffer)) === -1) return null;
  return new DataView(info.buffer).getUint32(TCPI_SACKED_AT, true);
}

function unixQueueLength(inode: number): number | null {
  const request = new DataView(new ArrayBuffer(40));
  request.setUint32(0, request.byteLength, true);
  request.setUint16(4, SOCK_DIAG_BY_FAMILY, true);
  request.setUint16(6, NLM_F_REQUEST, true);
  request.setUint8(16, C.AF_UNIX);
  request.setUint32(20, 0xffff_ffff, true); // sockets in every state
  request.setUint32(24, inode, true);
  request.setUint32(28, UDIAG_SHOW_RQLEN, true);
  request.setBigUint64(32, 0xffff_ffff_ffff_ffffn, true); // whatever its cookie
  // The kernel answers in the call that asks, so the answer is there to be read without waiting.
  const answer = askKernel(new Uint8Array(request.buffer));
  return answer === null ? null : readQueueLength(answer);
}

function askKernel(request: Uint8Array): Uint8Array | null {
  const fd = libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd === -1) return null;
  try {
    const kernel = new Uint8Array(new ArrayBuffer(12));
    new DataView(kernel.buffer).setUint16(0, AF_NETLINK, true);
    if (libc().connect(fd, kernel, kernel.length) === -1) return null;
    sendMessage(fd, request);
    return receiveMessage(fd, { size: 4096 })?.data ?? null;
  } catch {
    // A kernel without unix_diag, or a sandbox: the caller has a default.
    return null;
  } finally {
    closeFd(fd);
  }
}

function readQueueLength(answer: Uint8Array): number | null {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
  if (answer.length < ATTRIBUTES_AT || view.getUint16(4, true) !== SOCK_DIAG_BY_FAMILY) return null;
  for (let at = ATTRIBUTES_AT; at + 12 <= answer.length; ) {
    const length = view.getUint16(at, true);
    if (view.getUint16(at + 2, true) === UNIX_DIAG_RQLEN) return view.getUint32(at + 8, true);
    at += Math.max(4, Math.ceil(length / 4) * 4);
  }
  return null;
}
