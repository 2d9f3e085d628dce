/**
 * What clients are counted by: an IPv4 address, the /64 of an IPv6 one (whoever has one such address has all
 * of them), or the user of a Unix client. Two 32-bit numbers, which no two of these share.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { encodeSockaddr, unmapIPv4 } from '../../sys/sockaddr.ts';
import { C, isDarwin } from '../../sys/constants.ts';

/** A key, as two signed 32-bit integers. */
export type AddressKey = { high: number; low: number };

/** No network has this prefix (IPv6 multicast without a scope). */
const USERS = -1;

/** Key of an IPv4 address as a 32-bit number: ::/32, of which no client has an address, is where it lies. */
export function keyOfIPv4(address: number): AddressKey {
  return { high: 0, low: address | 0 };
}

/** Key of a client of a Unix socket; -1 where the system does not tell whose it is. */
export function keyOfUser(uid: number): AddressKey {
  return { high: USERS, low: uid | 0 };
}

/** An address as four 32-bit numbers, most significant first; one of IPv4 as one. */
export type AddressWords = readonly number[];

/** The address in a `struct sockaddr`; null for that of a Unix socket. */
export function wordsOfSockaddr(bytes: Uint8Array): AddressWords | null {
  const family = isDarwin ? bytes[1] : bytes[0]! | (bytes[1]! << 8);
  if (family === C.AF_INET) return [wordAt(bytes, 4)];
  if (family !== C.AF_INET6) return null;
  const [a, b, c, d] = [wordAt(bytes, 8), wordAt(bytes, 12), wordAt(bytes, 16), wordAt(bytes, 20)];
  return a === 0 && b === 0 && c === 0xffff ? [d] : [a, b, c, d];
}

/** The same of a numeric host; null for what is none. */
export function wordsOfHost(host: string): AddressWords | null {
  const plain = unmapIPv4(host.replace(/%.*$/, ''));
  if (isIPv4(plain)) return wordsOfSockaddr(encodeSockaddr({ family: 'inet', host: plain, port: 0 }));
  return isIPv6(plain) ? wordsOfSockaddr(encodeSockaddr({ family: 'inet6', host: plain, port: 0 })) : null;
}

/** Of a peer as observers are told it, `host:port` or `[host]:port`; null for `unix`. */
export function wordsOfPeer(peer: string): AddressWords | null {
  const [, ipv6, ipv4] = /^(?:\[([^\]]*)\]|([^:]*)):[0-9]+$/.exec(peer) ?? [];
  return wordsOfHost(ipv6 ?? ipv4 ?? '');
}

/** Key of an address. */
export function keyOfWords(words: AddressWords): AddressKey {
  return words.length === 1 ? keyOfIPv4(words[0]!) : { high: words[0]! | 0, low: words[1]! | 0 };
}

function wordAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
