/** TLS towards destinations, in a thread that moves bytes. The mirror image of terminate.ts. */
import {
  CLOSED_IN_HANDSHAKE,
  describeHandshakeFailure,
  describeMisnamed,
  describeUntrusted,
  NAME_HINT,
  TRUST_HINT,
} from '../../words.ts';
import { HANDSHAKE_EVENTS } from '../epoll-events.ts';
import { EMFILE } from '../errno.ts';
import type { UpstreamPlan } from '../thread-plans.ts';
import type { Thread } from '../thread.ts';
import type { TlsCodec } from './codec.ts';
import { DONE, FOREIGN, GONE, MISNAMED, UNTRUSTED } from './key-table.ts';
import { SessionPool } from './session-pool.ts';
import { SslCodec } from './ssl-codec.ts';
import type { SslLegs } from './ssl-codec.ts';
import { freeSsl } from './ssl-library.ts';
import type { ThreadTls } from './thread-tls.ts';
import type { TicketReader } from './ticket-reader.ts';
import { verificationCode } from './verification.ts';

/** Why a destination's TLS is not to be had. `isPassing`: it may be had a moment later. */
export type TlsFailure = { readonly text: string; readonly hint?: string; readonly isPassing: boolean };

/** What came of a handshake. */
export type Originated = { codec: TlsCodec | SslCodec } | { failure: TlsFailure };

/** Has the legs of one thread that are connected shake hands with their destination. */
export class Originator {
  readonly #thread: Thread;
  readonly #tls: ThreadTls;
  #sslLegs: SslLegs | null = null;
  readonly #pools = new WeakMap<NonNullable<UpstreamPlan['tls']>, SessionPool>();

  constructor(thread: Thread, tls: ThreadTls) {
    this.#thread = thread;
    this.#tls = tls;
  }

  /** Legs will be connected to it. */
  open({ tls, sni }: UpstreamPlan): void {
    for (const each of [tls, ...(sni?.ways ?? []).map(({ plan }) => plan.tls)]) {
      if (each !== null) this.#tls.useKeys(each.keys);
    }
  }

  /**
   * Let a connected leg shake hands: until an event comes of it, it is not to be touched here.
   *
   * @returns less than 0, a negative errno, when that cannot be
   */
  give(fd: number, { epollFd, context }: NonNullable<UpstreamPlan['tls']>): number {
    const { kernel, table } = this.#thread;
    const { keys } = this.#tls.opened;
    if (!keys.fits(fd)) return -EMFILE;
    keys.giveAway(fd, { owner: kernel.epollFd, context });
    kernel.unwatch(fd);
    return kernel.watchFrom(epollFd, fd, HANDSHAKE_EVENTS, table.generation(fd));
  }

  /** A leg has come back. `plan`: null where nobody wants to know why it failed. */
  take(fd: number, plan: UpstreamPlan['tls']): Originated {
    const { keys, legs, ssl } = this.#tls.opened;
    const outcome = keys.outcome(fd);
    const error = keys.error(fd);
    const handle = keys.handle(fd);
    if (outcome === DONE) {
      keys.setHandle(fd, 0n);
      return { codec: legs.open(fd, { isClient: true, tickets: this.#ticketsTo(handle, plan) }) };
    }
    keys.close(fd);
    if (outcome === FOREIGN) return { codec: new SslCodec(this.#legsOfSsl(), fd, handle) };
    switch (outcome) {
      case UNTRUSTED: {
        const what = this.#tls.textAt(ssl.X509_verify_cert_error_string(BigInt(error))) ?? '';
        return fail(describeUntrusted(what, verificationCode(error)), { hint: TRUST_HINT });
      }
      case MISNAMED:
        return fail(describeMisnamed(plan?.checked ?? ''), { hint: NAME_HINT });
      case GONE:
        return fail(CLOSED_IN_HANDSHAKE, { isPassing: true });
      default:
        return fail(describeHandshakeFailure(this.#tls.reasonOf(error, 'no keys')));
    }
  }

  /** Who waits for session tickets; null: nobody. */
  #ticketsTo(handle: bigint, plan: UpstreamPlan['tls']): TicketReader | null {
    if (handle === 0n) return null;
    const { ssl, readers } = this.#tls.opened;
    if (plan === null) {
      freeSsl(ssl, handle); // nobody wants them
      return null;
    }
    const pool = this.#pools.get(plan) ?? new SessionPool(plan.sessions);
    this.#pools.set(plan, pool);
    return readers.open(handle, pool);
  }

  #legsOfSsl(): SslLegs {
    const { ssl, crypto, legs } = this.#tls.opened;
    return (this.#sslLegs ??= {
      thread: this.#thread,
      ssl,
      crypto,
      received: legs.received,
      plain: legs.plain,
      suiteOf: (handle) =>
        this.#tls.textAt(ssl.SSL_CIPHER_standard_name(ssl.SSL_get_current_cipher(handle))) ?? 'unknown',
      reason: () => this.#tls.reasonOf(Number(ssl.ERR_peek_last_error() & 0xffff_ffffn), 'it ended'),
    });
  }
}

function fail(text: string, more: Partial<TlsFailure> = {}): { failure: TlsFailure } {
  return { failure: { text, isPassing: false, ...more } };
}
