/**
 * TLS sessions with destinations, which later connections go on with: without certificates, and the signatures and verification that go
 * with them (RFC 8446, section 2.2; RFC 5246, section 7.3).
 *
 * A pool (session-pool.ts) is that of one SSL_CTX, and so of one destination as it was configured and last read: its
 * name, authorities, certificate, protocols. Of those, sessions alone are in it whose first handshake was verified, for that
 * name. Each has a note beside it, which libssl copies with the session: the address that it is with, and until when it is good. That is
 * as long as the server says, a week at most (RFC 8446, section 4.6.1), and no longer than any of the certificates
 * that were verified; a session that came of another one ends with it, so that now and then they are verified anew.
 *
 * One of TLS 1.3 is used once (RFC 8446, section C.4), unless it is the last: then a copy is offered. A server that does not take
 * a session loses all of its address here, and so does one with which a handshake fails. Bytes are never sent before the
 * handshake is over (0-RTT).
 */
import { SOCKADDR_IN6_SIZE } from '../../../sys/sockaddr.ts';
import { TLS13 } from './key-table.ts';
import type { Library } from './identity.ts';
import type { Pinned } from './library.ts';
import { word } from './library.ts';
import type { SessionPool } from './session-pool.ts';
import type { Ssl } from './ssl-library.ts';

/** Longest life of a session, in seconds (RFC 8446, section 4.6.1). */
const MAX_LIFETIME_S = 604_800;
/** Of one of TLS 1.2 whose server does not say: what libssl takes by itself. */
const DEFAULT_LIFETIME_S = 7200;
const DAY_S = 86_400;
/** Longest ticket that is kept, in bytes: a server may send some of 64 KiB, and they are many. */
const MAX_TICKET_SIZE = 8192;
/** Until when, in seconds since the epoch as 64 bits; and the address. */
const NOTE_SIZE = 8 + SOCKADDR_IN6_SIZE;

/** The sessions of one thread. */
export class Sessions {
  readonly #ssl: Ssl;
  readonly #note: Pinned;
  readonly #view: DataView;
  readonly #answer: Pinned;
  readonly #answerView: DataView;

  constructor({ ssl, crypto }: Library) {
    this.#ssl = ssl;
    this.#note = crypto.pin(NOTE_SIZE);
    this.#view = new DataView(this.#note.bytes.buffer);
    this.#answer = crypto.pin(16);
    this.#answerView = new DataView(this.#answer.bytes.buffer);
  }

  /**
   * Have a handshake that has not begun offer a session.
   *
   * @param address the `struct sockaddr` of the server
   * @returns whether there was one
   */
  offer(handshake: bigint, pool: SessionPool, address: Uint8Array): boolean {
    const session = this.#take(pool, address);
    if (session === 0n) return false;
    const isSet = this.#ssl.SSL_set_session(handshake, session) === 1;
    this.#ssl.SSL_SESSION_free(session);
    return isSet;
  }

  /** A session with an address; 0: there is none. */
  #take(pool: SessionPool, address: Uint8Array): bigint {
    const ssl = this.#ssl;
    const others: bigint[] = [];
    let found = 0n;
    let isLast = true;
    for (const session of pool.takeAll()) {
      if (!this.#isGood(session)) ssl.SSL_SESSION_free(session);
      else if (!this.#isWith(address)) others.push(session);
      else if (found === 0n) found = session;
      else {
        others.push(session);
        isLast = false;
        break;
      }
    }
    if (found !== 0n && isLast) {
      const copy = ssl.SSL_SESSION_dup(found);
      if (copy !== 0n) others.push(copy);
    }
    for (const session of others) this.#putBack(pool, session);
    return found;
  }

  /** Nothing of this address is offered any more: it does not take them. */
  drop(pool: SessionPool, address: Uint8Array): void {
    const others: bigint[] = [];
    for (const session of pool.takeAll()) {
      if (this.#isGood(session) && !this.#isWith(address)) others.push(session);
      else this.#ssl.SSL_SESSION_free(session);
    }
    for (const session of others) this.#putBack(pool, session);
  }

  #putBack(pool: SessionPool, session: bigint): void {
    if (!pool.put(session)) this.#ssl.SSL_SESSION_free(session);
  }

  /**
   * A full handshake is over, and the server is who it must be: note what its sessions are to be told by. `isVerified`: its certificates
   * were asked for, and so they are to be good.
   */
  note(handshake: bigint, address: Uint8Array, { isVerified }: { isVerified: boolean }): void {
    const session = this.#ssl.SSL_get_session(handshake);
    this.#note.bytes.fill(0);
    this.#note.bytes.set(address.subarray(0, SOCKADDR_IN6_SIZE), 8);
    this.#write(session, Math.min(now() + MAX_LIFETIME_S, isVerified ? this.#validUntil(handshake) : Infinity));
  }

  /** Until when, in seconds since the epoch, the certificates are good that a handshake has verified. */
  #validUntil(handshake: bigint): number {
    const ssl = this.#ssl;
    const chain = ssl.SSL_get0_verified_chain(handshake);
    let left = Infinity;
    for (let index = 0; chain !== 0n && index < ssl.OPENSSL_sk_num(chain); index++) {
      const end = ssl.X509_get0_notAfter(ssl.OPENSSL_sk_value(chain, word(index)));
      const { address } = this.#answer;
      if (ssl.ASN1_TIME_diff(address, address + 4n, 0n, end) !== 1) return 0;
      left = Math.min(left, this.#answerView.getInt32(0, true) * DAY_S + this.#answerView.getInt32(4, true));
    }
    return now() + left;
  }

  /** Keep the session that a handshake has now, for others. */
  keep(handshake: bigint, pool: SessionPool): void {
    const ssl = this.#ssl;
    const session = ssl.SSL_get1_session(handshake);
    if (session === 0n) return;
    const isTls13 = ssl.SSL_version(handshake) === TLS13;
    const told = Number(ssl.SSL_SESSION_get_ticket_lifetime_hint(session));
    const lifetime = isTls13 || told > 0 ? told : DEFAULT_LIFETIME_S;
    const isUsable = ssl.SSL_SESSION_is_resumable(session) === 1 && this.#ticketSize(session) <= MAX_TICKET_SIZE;
    const isGood = isUsable && lifetime > 0 && this.#isGood(session);
    if (isGood) this.#write(session, Math.min(Number(this.#view.getBigInt64(0, true)), now() + lifetime));
    if (!isGood || !pool.put(session)) ssl.SSL_SESSION_free(session);
  }

  #ticketSize(session: bigint): number {
    const { address } = this.#answer;
    this.#ssl.SSL_SESSION_get0_ticket(session, address, address + 8n);
    return Number(this.#answerView.getBigUint64(8, true));
  }

  #write(session: bigint, until: number): void {
    this.#view.setBigInt64(0, BigInt(Math.floor(until)), true);
    this.#ssl.SSL_SESSION_set1_ticket_appdata(session, this.#note.address, word(NOTE_SIZE));
  }

  /** Read its note; whether it has one, and its time is not up. */
  #isGood(session: bigint): boolean {
    const ssl = this.#ssl;
    const { address } = this.#answer;
    if (ssl.SSL_SESSION_get0_ticket_appdata(session, address, address + 8n) !== 1) return false;
    if (this.#answerView.getBigUint64(8, true) !== BigInt(NOTE_SIZE)) return false;
    ssl.memcpy(this.#note.address, this.#answerView.getBigUint64(0, true), word(NOTE_SIZE));
    return Number(this.#view.getBigInt64(0, true)) > now();
  }

  /** After `#isGood`. */
  #isWith(address: Uint8Array): boolean {
    return Buffer.compare(this.#note.bytes.subarray(8), address.subarray(0, SOCKADDR_IN6_SIZE)) === 0;
  }

  /** The destination is gone. */
  close(pool: SessionPool): void {
    pool.close();
    for (const session of pool.takeAll()) this.#ssl.SSL_SESSION_free(session);
  }
}

function now(): number {
  return Date.now() / 1000;
}
