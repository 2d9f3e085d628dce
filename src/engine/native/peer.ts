/** The address of a client: kept as two numbers if it is IPv4, in a table of the thread if it is IPv6. */
import { C } from '../../sys/constants.ts';
import { decodeSockaddr, isMappedIPv4 } from '../../sys/sockaddr.ts';
import { wordsOfPeer } from '../admission/address-key.ts';
import type { ClientAddress } from '../admission/admission.ts';
import type { Thread } from './thread.ts';

type PeerTable = Pick<Thread, 'table' | 'ipv6Peers'>;

/** Values of the port's number for what is not IPv4. */
const UNIX = -1;
const IPV6 = -2;

/** Keep what accept(2) said of a client: `struct sockaddr`. */
export function readPeer({ table, ipv6Peers }: PeerTable, client: number, sockaddr: Uint8Array): void {
  const family = sockaddr[0]! | (sockaddr[1]! << 8);
  const port = (sockaddr[2]! << 8) | sockaddr[3]!;
  if (family === C.AF_INET) return table.setPeer(client, hostAt(sockaddr, 4), port);
  if (family !== C.AF_INET6) return table.setPeer(client, 0, UNIX);
  if (isMappedIPv4(sockaddr, 8)) return table.setPeer(client, hostAt(sockaddr, 20), port);
  const address = decodeSockaddr(sockaddr, 28);
  if (address.family !== 'inet6') return;
  table.setPeer(client, 0, IPV6);
  ipv6Peers.set(client, `[${address.host}]:${port}`);
}

/** Keep an address as `peerOf` gives it. */
export function setPeer({ table, ipv6Peers }: PeerTable, client: number, peer: string): void {
  const ipv4 = /^([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+):([0-9]+)$/.exec(peer);
  if (ipv4) return table.setPeer(client, hostAt(ipv4.slice(1, 5).map(Number), 0), Number(ipv4[5]));
  if (peer === 'unix') return table.setPeer(client, 0, UNIX);
  table.setPeer(client, 0, IPV6);
  ipv6Peers.set(client, peer);
}

/** Keep the client's address of those that a PROXY header of version 2 has for IPv4; see ReadHeader in proxy-parser.ts. */
export function setIPv4Peer({ table, ipv6Peers }: PeerTable, client: number, block: Uint8Array): void {
  ipv6Peers.delete(client);
  table.setPeer(client, hostAt(block, 0), (block[8]! << 8) | block[9]!);
}

/** `host:port`, `[host]:port` or `unix`. */
export function peerOf({ table, ipv6Peers }: PeerTable, client: number): string {
  const port = table.peerPort(client);
  if (port === IPV6) return ipv6Peers.get(client) ?? '[?]:0';
  return peerText(table.peerHost(client), port);
}

/** The same of the two numbers of what is no IPv6 client. */
export function peerText(host: number, port: number): string {
  if (port === UNIX) return 'unix';
  return `${host >>> 24}.${(host >>> 16) & 255}.${(host >>> 8) & 255}.${host & 255}:${port}`;
}

/** The same as who came in. */
export function clientAddressOf(
  { table, ipv6Peers, kernel }: PeerTable & Pick<Thread, 'kernel'>,
  client: number,
): ClientAddress {
  const port = table.peerPort(client);
  if (port >= 0) return { words: [table.peerHost(client) >>> 0] };
  const words = port === IPV6 ? wordsOfPeer(ipv6Peers.get(client) ?? '') : null;
  return words === null ? { words, user: kernel.peerUser(client) } : { words };
}

/** Whether two numbers say who a client is. */
export function hasPlainPeer({ table }: PeerTable, client: number): boolean {
  return table.peerPort(client) !== IPV6;
}

/** A client is about to be closed. */
export function forgetPeer({ table, ipv6Peers }: PeerTable, client: number): void {
  if (table.peerPort(client) === IPV6) ipv6Peers.delete(client);
}

function hostAt(bytes: Uint8Array | number[], at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}
