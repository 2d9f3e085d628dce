import { C, IPPROTO_TCP, isDarwin, TCP_INFO } from './constants.ts';
import { libc } from './libc.ts';
import { ALL_STATES, ANY_COOKIE, openSockDiag } from './sock-diag.ts';
import type { SocketAddress } from './sockaddr.ts';

/** Offset of `tcpi_sacked` in `struct tcp_info`. */
const TCPI_SACKED_AT = 28;

/** Numbers of linux/unix_diag.h. */
const UDIAG_SHOW_RQLEN = 0x10;
const UNIX_DIAG_RQLEN = 4;
const ATTRIBUTES_AT = 32;

/**
 * Length of the accept queue of a listening socket as the kernel has it, or null where the kernel
 * does not tell. For TCP it is `tcpi_sacked` of TCP_INFO (tcp_get_info in Linux's net/ipv4/tcp.c);
 * for a Unix socket, sock_diag(7) has it. Linux only.
 */
export function listenQueueLength(
  fd: number,
  { family, inode }: { family: SocketAddress['family']; inode: number },
): number | null {
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
  using diagnosis = openSockDiag();
  const request = new DataView(new ArrayBuffer(40));
  request.setUint8(16, C.AF_UNIX);
  request.setUint32(20, ALL_STATES, true);
  request.setUint32(24, inode, true);
  request.setUint32(28, UDIAG_SHOW_RQLEN, true);
  request.setBigUint64(32, ANY_COOKIE, true);
  const answer = diagnosis?.ask(new Uint8Array(request.buffer)) ?? null;
  return answer === null ? null : readQueueLength(answer);
}

function readQueueLength(answer: DataView): number | null {
  for (let at = ATTRIBUTES_AT; at + 12 <= answer.byteLength;) {
    const length = answer.getUint16(at, true);
    if (answer.getUint16(at + 2, true) === UNIX_DIAG_RQLEN) return answer.getUint32(at + 8, true);
    at += Math.max(4, Math.ceil(length / 4) * 4);
  }
  return null;
}
