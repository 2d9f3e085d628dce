/** What Linux knows of a TCP connection, asked by its addresses (sock_diag(7)): what became of a peer, without reading from it. */
import { isIPv4 } from 'node:net';
import { AF_NETLINK, C, IPPROTO_TCP, isDarwin, NETLINK_SOCK_DIAG, SOCK_CLOEXEC, SOCK_RAW } from '../../sys/constants.ts';
import { closeFd } from '../../sys/descriptor.ts';
import { libc } from '../../sys/libc.ts';
import { receiveMessage, sendMessage } from '../../sys/message.ts';
import { encodeSockaddr } from '../../sys/sockaddr.ts';

export type TcpAddresses = { localAddress: string; localPort: number; remoteAddress: string; remotePort: number };

export type TcpState = {
  /** There is no such connection any more, but its listener is there: it was reset. */
  isGone: boolean;
  /** The peer has sent its end. */
  hasPeerEnded: boolean;
  /** Bytes that wait to be read; an end that waits counts as one. */
  unread: number;
};

/** Where a connection stands; null when the kernel does not know it. */
export type TcpDiagnosis = Disposable & { stateOf(addresses: TcpAddresses): TcpState | null };

/** Numbers and offsets of linux/sock_diag.h and linux/inet_diag.h, states of net/tcp_states.h. */
const SOCK_DIAG_BY_FAMILY = 20;
const NLM_F_REQUEST = 1;
const REQUEST_SIZE = 72;
const LOCAL_PORT_AT = 24;
const REMOTE_PORT_AT = 26;
const LOCAL_ADDRESS_AT = 28;
const REMOTE_ADDRESS_AT = 44;
const COOKIE_AT = 64;
const ANSWER_SIZE = 88;
const STATE_AT = 17;
const UNREAD_AT = 72;
const TCP_CLOSE_WAIT = 8;
const TCP_LISTEN = 10;

/** Null where the system has no way to ask. The caller disposes of it. */
export function openTcpDiagnosis(): TcpDiagnosis | null {
  if (isDarwin) return null;
  const fd = libc().socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd === -1) return null;
  const kernel = new Uint8Array(new ArrayBuffer(12));
  new DataView(kernel.buffer).setUint16(0, AF_NETLINK, true);
  if (libc().connect(fd, kernel, kernel.length) === -1) {
    closeFd(fd);
    return null;
  }
  return { stateOf: (addresses) => ask(fd, addresses), [Symbol.dispose]: () => closeFd(fd) };
}

function ask(fd: number, addresses: TcpAddresses): TcpState | null {
  try {
    sendMessage(fd, encodeRequest(addresses));
    // The kernel answers in the call that asks, so the answer is there to be read without waiting.
    return readAnswer(receiveMessage(fd, { size: 4096 })?.data ?? new Uint8Array(0));
  } catch {
    // A kernel without tcp_diag, or a sandbox: nothing can be said.
    return null;
  }
}

function encodeRequest({ localAddress, localPort, remoteAddress, remotePort }: TcpAddresses): Uint8Array {
  const request = new Uint8Array(REQUEST_SIZE);
  const view = new DataView(request.buffer);
  const local = addressBytes(localAddress);
  const remote = addressBytes(remoteAddress);
  view.setUint32(0, REQUEST_SIZE, true);
  view.setUint16(4, SOCK_DIAG_BY_FAMILY, true);
  view.setUint16(6, NLM_F_REQUEST, true);
  view.setUint8(16, local.length === 4 ? C.AF_INET : C.AF_INET6);
  view.setUint8(17, IPPROTO_TCP);
  view.setUint32(20, 0xffff_ffff, true); // in every state
  view.setUint16(LOCAL_PORT_AT, localPort);
  view.setUint16(REMOTE_PORT_AT, remotePort);
  request.set(local, LOCAL_ADDRESS_AT);
  request.set(remote, REMOTE_ADDRESS_AT);
  view.setBigUint64(COOKIE_AT, 0xffff_ffff_ffff_ffffn, true); // whatever its cookie
  return request;
}

/** In network order, a mapped IPv4 address as what it is. */
function addressBytes(host: string): Uint8Array {
  const [address = ''] = host.replace(/^::ffff:(?=[0-9.]+$)/i, '').split('%');
  return isIPv4(address)
    ? encodeSockaddr({ family: 'inet', host: address, port: 0 }).subarray(4, 8)
    : encodeSockaddr({ family: 'inet6', host: address, port: 0 }).subarray(8, 24);
}

function readAnswer(answer: Uint8Array): TcpState | null {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
  if (answer.length < ANSWER_SIZE || view.getUint16(4, true) !== SOCK_DIAG_BY_FAMILY) return null;
  const state = view.getUint8(STATE_AT);
  // Of a connection that is none any more, the kernel finds the socket that would take a new one.
  return { isGone: state === TCP_LISTEN, hasPeerEnded: state === TCP_CLOSE_WAIT, unread: view.getUint32(UNREAD_AT, true) };
}
