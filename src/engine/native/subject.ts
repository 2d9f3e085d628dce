/** Whom a destination has to do with, where nobody else says so: the addresses of a client's socket, for every connection that is told of. */
import { isIPv4 } from 'node:net';
import { decodeSockaddr } from '../../sys/sockaddr.ts';
import type { PreludeSubject } from '../prelude.ts';
import { peerOf } from './peer.ts';
import type { Thread } from './thread.ts';

/** By the system's word, as of the accept for the client's own address. */
export function systemSubject(thread: Thread, client: number): PreludeSubject {
  const { kernel, table } = thread;
  const length = kernel.ownName(client);
  if (length < 0) return 'unknown'; // it has just gone
  const at = kernel.own;
  const port = table.peerPort(client);
  // Without text, which would cost more than all else here.
  if (port >= 0 && length >= 16) return { block: blockOf(table.peerHost(client), port, at, length > 16 ? 20 : 4) };
  const accepted = decodeSockaddr(at, length);
  const [, host = '', digits = ''] = /^\[?([^\]]*)\]?:([0-9]+)$/.exec(peerOf(thread, client)) ?? [];
  if (accepted.family === 'unix' || digits === '' || isIPv4(host)) return 'unknown';
  return { client: { host, port: Number(digits) }, accepted: { host: accepted.host, port: accepted.port } };
}

/** The addresses of a header: the client's and that of `sockaddr`, which begins so far in it, then both ports. */
function blockOf(host: number, port: number, sockaddr: Uint8Array, from: number): Uint8Array {
  const block = new Uint8Array(12);
  const view = new DataView(block.buffer);
  view.setInt32(0, host);
  block.set(sockaddr.subarray(from, from + 4), 4);
  view.setUint16(8, port);
  block.set(sockaddr.subarray(2, 4), 10);
  return block;
}
