/** What Linux knows of a TCP connection, asked by its addresses (sock_diag(7)): what became of a peer, without reading from it. */
import { isIPv4 } from 'node:net';
import { C, IPPROTO_TCP } from '../../sys/constants.ts';
import { encodeSockaddr, unmapIPv4 } from '../../sys/sockaddr.ts';
import { ALL_STATES, ANY_COOKIE, openSockDiag } from '../../sys/sock-diag.ts';

/** Of one end of a connection: numeric addresses, and ports. */
export type TcpAddresses = { localAddress: string; localPort: number; remoteAddress: string; remotePort: number };

/** How a connection stands. */
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

/** Offsets of linux/inet_diag.h, states of net/tcp_states.h. */
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
  const diagnosis = openSockDiag();
  if (diagnosis === null) return null;
  return {
    stateOf: (addresses) => readAnswer(diagnosis.ask(encodeRequest(addresses))),
    [Symbol.dispose]: () => diagnosis[Symbol.dispose](),
  };
}

function encodeRequest({ localAddress, localPort, remoteAddress, remotePort }: TcpAddresses): Uint8Array {
  const request = new Uint8Array(REQUEST_SIZE);
  const view = new DataView(request.buffer);
  const local = addressBytes(localAddress);
  const remote = addressBytes(remoteAddress);
  view.setUint8(16, local.length === 4 ? C.AF_INET : C.AF_INET6);
  view.setUint8(17, IPPROTO_TCP);
  view.setUint32(20, ALL_STATES, true);
  view.setUint16(LOCAL_PORT_AT, localPort);
  view.setUint16(REMOTE_PORT_AT, remotePort);
  request.set(local, LOCAL_ADDRESS_AT);
  request.set(remote, REMOTE_ADDRESS_AT);
  view.setBigUint64(COOKIE_AT, ANY_COOKIE, true);
  return request;
}

/** In network order, a mapped IPv4 address as what it is. */
function addressBytes(host: string): Uint8Array {
  const [address = ''] = unmapIPv4(host).split('%');
  return isIPv4(address)
    ? encodeSockaddr({ family: 'inet', host: address, port: 0 }).subarray(4, 8)
    : encodeSockaddr({ family: 'inet6', host: address, port: 0 }).subarray(8, 24);
}

function readAnswer(answer: DataView | null): TcpState | null {
  if (answer === null || answer.byteLength < ANSWER_SIZE) return null;
  const state = answer.getUint8(STATE_AT);
  // Of a connection that is none any more, the kernel finds the socket that would take a new one.
  return {
    isGone: state === TCP_LISTEN,
    hasPeerEnded: state === TCP_CLOSE_WAIT,
    unread: answer.getUint32(UNREAD_AT, true),
  };
}
