/**
 * Which clients of a frontend go to the second of two destinations: those whose address hashes below a threshold. An
 * address stays on its side for as long as the secret stays, and one that is there at a small share is there at a larger one.
 *
 * The hash is HalfSipHash-2-4 (https://github.com/veorq/SipHash), which takes 32-bit steps only: with a secret key nobody can choose addresses of
 * one side.
 */
import { randomBytes } from 'node:crypto';
import { wordsOfHost, wordsOfSockaddr } from './admission/address-key.ts';
import type { AddressWords } from './admission/address-key.ts';

/** The two halves of a key. */
export type ShareKey = readonly [number, number];

/** What tells one side from the other, for as long as a share is to keep its clients: 16 hexadecimal digits. */
export function newSecret(): string {
  return randomBytes(8).toString('hex');
}

/** The key of a secret. */
export function shareKey(secret: string): ShareKey {
  return [Number.parseInt(secret.slice(0, 8), 16) | 0, Number.parseInt(secret.slice(8, 16), 16) | 0];
}

/** Hashes below it are of the share; 0: none are. */
export function shareThreshold(percent: number): number {
  return Math.min(2 ** 32 - 1, Math.round((percent / 100) * 2 ** 32));
}

/**
 * The hash of a client by its `struct sockaddr`, port aside; an IPv4 address in IPv6's form is one. Of a client that has no
 * address, as over a Unix socket, it is another one each time.
 */
export function hashOfSockaddr(sockaddr: Uint8Array, key: ShareKey): number {
  return hashOf(wordsOfSockaddr(sockaddr), key);
}

/** The same of a numeric address; undefined: the client has none. */
export function hashOfHost(host: string | undefined, key: ShareKey): number {
  return hashOf(wordsOfHost(host ?? ''), key);
}

/** HalfSipHash-2-4 of the bytes of an address. */
function hashOf(address: AddressWords | null, [k0, k1]: ShareKey): number {
  if (address === null) return Math.floor(Math.random() * 2 ** 32);
  let v0 = k0;
  let v1 = k1;
  let v2 = k0 ^ 0x6c796765;
  let v3 = k1 ^ 0x74656462;
  const rounds = (count: number): void => {
    for (let round = 0; round < count; round++) {
      v0 = (v0 + v1) | 0;
      v1 = rotate(v1, 5) ^ v0;
      v0 = rotate(v0, 16);
      v2 = (v2 + v3) | 0;
      v3 = rotate(v3, 8) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = rotate(v3, 7) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = rotate(v1, 13) ^ v2;
      v2 = rotate(v2, 16);
    }
  };
  const absorb = (word: number): void => {
    v3 ^= word;
    rounds(2);
    v0 ^= word;
  };
  for (const word of address) absorb(swapped(word));
  absorb((4 * address.length) << 24);
  v2 ^= 0xff;
  rounds(4);
  return (v1 ^ v3) >>> 0;
}

/** Words are big-endian in an address, and little-endian for the hash. */
function swapped(word: number): number {
  return ((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
