/**
 * What the thread of handshakes knows of each SSL_CTX: how long a handshake may take, and the keys of its session tickets.
 *
 * An SSL_CTX has one such key at a time, and no function of ours is asked for another: one in JavaScript that fails in the
 * middle of libssl ends the process. So before a step of a handshake in which libssl may open a ticket, it is given the key that
 * the ticket was sealed with, and before any other step the newest. A ticket begins with the name of its key (RFC 5077,
 * section 4), 16 random bytes that stand nowhere else: whether a ClientHello has one is found without understanding it.
 */
import type { ThreadCommand } from '../messages.ts';
import type { ContextSettings, HelloPlan } from '../thread-plans.ts';
import { pinText } from './identity.ts';
import type { Crypto, Pinned } from './library.ts';
import { SessionPool } from './session-pool.ts';
import { KeyShares } from './key-shares.ts';
import { Sessions } from './sessions.ts';
import type { Ssl } from './ssl-library.ts';

const SSL_CTRL_SET_TLSEXT_TICKET_KEYS = 59n;
/** Bytes of a name. */
const NAME_SIZE = 16;

/** A key of session tickets where libssl can read it. */
export type TicketKey = Pinned;

/** Who the server must be whose client an SSL_CTX is for. */
export type Server = {
  /** The name that is sent, as C has it; null: none. */
  readonly sent: Pinned | null;
  /** The name, or the address, that its certificate must be for; null: nobody asks. */
  readonly checked: Pinned | null;
  readonly isAddress: boolean;
  /** In TLS 1.2 it may ask for another handshake, which it then takes our certificate from: records stay with libssl. */
  readonly mayRenegotiate: boolean;
  /** Sessions with it. */
  readonly pool: SessionPool;
};

type Context = {
  /** Null: it is for a server. */
  readonly server: Server | null;
  readonly timeoutMs: number;
  /** Null: those of every listener. */
  readonly keys: readonly TicketKey[] | null;
  readonly hello: HelloPlan | null;
  /** What libssl has now. */
  loaded: TicketKey | null;
  /** Handshakes under way that began with it. */
  users: number;
};

/** The SSL_CTXs of one thread, by their addresses. */
export class ContextBook {
  readonly #ssl: Ssl;
  readonly #crypto: Crypto;
  /** Those with servers. */
  readonly sessions: Sessions;
  readonly keyShares: KeyShares;
  readonly #contexts = new Map<number, Context>();
  /** No client is given away for these any more; whether those that had been have begun. */
  readonly #forgotten = new Map<number, boolean>();
  /** Of listeners that have none of their own. */
  #keys: readonly TicketKey[] = [];

  constructor({ ssl, crypto }: { ssl: Ssl; crypto: Crypto }) {
    this.#ssl = ssl;
    this.#crypto = crypto;
    this.sessions = new Sessions({ ssl, crypto });
    this.keyShares = new KeyShares({ ssl, crypto });
  }

  /** Whether a command is about what is noted here; then it is carried out. */
  execute(command: ThreadCommand): boolean {
    if (command.type === 'use-context') this.#use(command.context, command.settings);
    else if (command.type === 'forget-context') this.#forgotten.set(command.context, false);
    else if (command.type === 'seal-tickets') this.#keys = this.#replace(this.#keys, command.keys);
    else return false;
    return true;
  }

  /** Whether it is known here: what is to be known of it may lie in the mailbox. */
  has(context: bigint): boolean {
    return this.#contexts.has(Number(context));
  }

  /** A handshake begins with it; `leave` is called when that is over. */
  enter(context: bigint): void {
    this.#contexts.get(Number(context))!.users++;
  }

  leave(context: bigint): void {
    this.#contexts.get(Number(context))!.users--;
  }

  /**
   * All clients that had been given away before the last round began are known: free what nobody needs any more. Who was given away
   * before a context was forgotten is known in the round after the one in which that was heard of.
   */
  freeForgotten(): void {
    for (const [context, haveBegun] of this.#forgotten) {
      if (!haveBegun) this.#forgotten.set(context, true);
      else if (this.#contexts.get(context)?.users === 0) this.#free(context);
    }
  }

  /** There are no handshakes any more. */
  close(): void {
    for (const context of this.#forgotten.keys()) this.#free(context);
  }

  /** Longest handshake, in milliseconds. */
  timeoutMs(context: bigint): number {
    return this.#contexts.get(Number(context))!.timeoutMs;
  }

  /** Who the server must be; null: we are it. */
  serverOf(context: bigint): Server | null {
    return this.#contexts.get(Number(context))?.server ?? null;
  }

  /** What is chosen by the ClientHello of a handshake; null: nothing. */
  helloPlan(context: bigint): HelloPlan | null {
    return this.#contexts.get(Number(context))!.hello;
  }

  /** Whether tickets may come that are not sealed with the newest key. */
  hasOlder(context: bigint): boolean {
    return this.#keysOf(context).length > 1;
  }

  /** The key that is not the newest, and that some of these bytes name; null: none is. */
  findOlder(context: bigint, bytes: Uint8Array): TicketKey | null {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    const [, ...older] = this.#keysOf(context);
    return older.find((key) => text.includes(key.bytes.subarray(0, NAME_SIZE))) ?? null;
  }

  /** Tickets are opened and sealed with this key from now on; null: with the newest. */
  load(context: bigint, key: TicketKey | null): void {
    const known = this.#contexts.get(Number(context));
    const wanted = key ?? this.#keysOf(context)[0];
    if (!known || !wanted || known.loaded === wanted) return;
    this.#ssl.SSL_CTX_ctrl(context, SSL_CTRL_SET_TLSEXT_TICKET_KEYS, BigInt(wanted.bytes.length), wanted.address);
    known.loaded = wanted;
  }

  #keysOf(context: bigint): readonly TicketKey[] {
    return this.#contexts.get(Number(context))?.keys ?? this.#keys;
  }

  #use(context: number, { timeoutMs, ticketKeys, server, hello }: ContextSettings): void {
    const keys = ticketKeys && this.#replace([], ticketKeys);
    this.#contexts.set(context, {
      server: server && this.#serverOf(server),
      timeoutMs,
      keys,
      hello,
      loaded: null,
      users: 0,
    });
  }

  #serverOf({ sent, checked, isAddress, mayRenegotiate, sessions }: NonNullable<ContextSettings['server']>): Server {
    return {
      sent: sent === null ? null : pinText(this.#crypto, sent),
      checked: checked === null ? null : pinText(this.#crypto, checked),
      isAddress,
      mayRenegotiate,
      pool: new SessionPool(sessions),
    };
  }

  #free(context: number): void {
    const known = this.#contexts.get(context);
    this.#forgotten.delete(context);
    this.#contexts.delete(context);
    if (known === undefined) return;
    for (const key of known.keys ?? []) key.bytes.fill(0);
    if (known.server !== null) this.sessions.close(known.server.pool);
    for (const each of [context, ...(known.hello?.certificates ?? []).map((certificate) => certificate.context)])
      this.#ssl.SSL_CTX_free(BigInt(each));
  }

  /** Those that are still there stay what they are, and nothing is left of the others. */
  #replace(before: readonly TicketKey[], keys: readonly Uint8Array[]): TicketKey[] {
    const next = keys.map((key) => before.find(({ bytes }) => Buffer.compare(bytes, key) === 0) ?? this.#pin(key));
    for (const key of before) if (!next.includes(key)) key.bytes.fill(0);
    for (const key of keys) key.fill(0);
    return next;
  }

  #pin(key: Uint8Array): TicketKey {
    const pinned = this.#crypto.pin(key.length);
    pinned.bytes.set(key);
    return pinned;
  }
}
