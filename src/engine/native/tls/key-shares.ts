/**
 * Which key exchange a ClientHello has ready. libssl prepares two by itself, X25519MLKEM768 and X25519, of which the server takes one at
 * the most, and the first alone costs as much as the rest of the ClientHello. Which one a destination took is remembered,
 * and later ones have that alone ready, while they offer all groups in the same order as ever: a server that wants another
 * says so (HelloRetryRequest), and that is remembered then (RFC 8446, section 4.2.8).
 *
 * Every now and then a ClientHello is as it would be without: a server that can do better since may take the worse of what is
 * ready rather than ask for the better.
 */
import { groupOfNid } from '../../tls-names.ts';
import type { Library } from './identity.ts';
import type { SessionPool } from './session-pool.ts';
import { SSL_CTRL_SET_GROUPS_LIST } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

/** `SSL_CTRL_GET_NEGOTIATED_GROUP` of ssl.h: the NID of the group, or its number of IANA with a mark. */
const GET_NEGOTIATED_GROUP = 134n;

/** What libssl offers by itself, the best first, by OpenSSL's names and the numbers of IANA; those of one row are equally good to a server. */
const ROWS: readonly (readonly (readonly [string, number])[])[] = [
  [['X25519MLKEM768', 0x11ec]],
  [
    ['X25519', 0x001d],
    ['secp256r1', 0x0017],
  ],
  [
    ['X448', 0x001e],
    ['secp384r1', 0x0018],
    ['secp521r1', 0x0019],
  ],
  [
    ['ffdhe2048', 0x0100],
    ['ffdhe3072', 0x0101],
  ],
];

/** Chooses in one thread. */
export class KeyShares {
  readonly #library: Library;
  /** By the number of the group that is to be ready: all of them, as libssl reads it. */
  readonly #lists = new Map<number, bigint>();

  constructor(library: Library) {
    this.#library = library;
    for (const [, group] of ROWS.flat()) this.#lists.set(group, library.crypto.text(listWith(group)));
  }

  /** A handshake that has not begun has what the destination took last ready. Returns whether anything is known. */
  predict(handshake: bigint, pool: SessionPool): boolean {
    const list = this.#lists.get(pool.group);
    if (list === undefined) return false;
    const { ssl } = this.#library;
    if (ssl.SSL_ctrl(handshake, SSL_CTRL_SET_GROUPS_LIST, 0n, list) === 1n) return true;
    ssl.ERR_clear_error(); // it is as it would be without
    return false;
  }

  /** A handshake is over. */
  note(handshake: bigint, pool: SessionPool, { wasPredicted }: { wasPredicted: boolean }): void {
    const group = agreedGroup(this.#library.ssl, handshake);
    if (!wasPredicted || group !== pool.group) pool.group = group;
  }
}

/** IANA's number of the group of the key exchange of a handshake that is over; 0: none that is known. */
export function agreedGroup(ssl: Ssl, handshake: bigint): number {
  return groupOfNid(Number(ssl.SSL_ctrl(handshake, GET_NEGOTIATED_GROUP, 0n, 0n)));
}

/** `?`: where libssl has it; `*`: it is ready. */
function listWith(ready: number): string {
  return ROWS.map((row) => row.map(([name, group]) => `?${group === ready ? '*' : ''}${name}`).join(':')).join(' / ');
}
