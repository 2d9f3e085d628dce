/** TLS towards clients, in a thread that moves bytes: clients are given to the thread of handshakes, and come back with keys. */
import { describeHandshakeFailure } from '../../words.ts';
import { HANDSHAKE_EVENTS } from '../epoll-events.ts';
import { EMFILE } from '../errno.ts';
import type { FrontendPlan, TlsPlan } from '../thread-plans.ts';
import type { Thread } from '../thread.ts';
import type { TlsCodec } from './codec.ts';
import { DONE, FAILED, LATE, TOO_MANY, UNTRUSTED } from './key-table.ts';
import type { ThreadTls } from './thread-tls.ts';

/** What came of a handshake: TLS on the leg; or the end of the connection, and whether the client is to be let read why. */
export type Terminated = { codec: TlsCodec } | { reason: string | null; wasTold: boolean };

/** Gives clients of one thread to their handshake, and takes them back. */
export class Terminator {
  readonly #thread: Thread;
  readonly #tls: ThreadTls;

  constructor(thread: Thread, tls: ThreadTls) {
    this.#thread = thread;
    this.#tls = tls;
  }

  /** Clients of this frontend will come. */
  open({ tls }: FrontendPlan): void {
    if (tls !== null) this.#tls.useKeys(tls.keys);
  }

  /**
   * Let a client shake hands: until an event comes of it, it is not to be touched here. Its row is filled in.
   *
   * @returns less than 0, a negative errno, when that cannot be
   */
  give(client: number, { tls }: FrontendPlan, generation: number): number {
    const { kernel } = this.#thread;
    if (!this.#tls.opened.keys.fits(client)) return -EMFILE;
    this.#tls.opened.keys.giveAway(client, { owner: kernel.epollFd, context: tls!.context });
    return kernel.watchFrom(tls!.epollFd, client, HANDSHAKE_EVENTS, generation);
  }

  /** A client has come back. `plan`: that of its frontend; null: there is none any more. */
  take(client: number, plan: TlsPlan | null): Terminated {
    const { keys, legs } = this.#tls.opened;
    const outcome = keys.outcome(client);
    const { limit, seesTruncation } = plan ?? { limit: 0, seesTruncation: false };
    if (outcome === DONE) return { codec: legs.open(client, { isClient: false, seesTruncation }) };
    const reason = this.#describe(outcome, { error: keys.error(client), limit });
    keys.close(client);
    return { reason, wasTold: outcome === FAILED || outcome === UNTRUSTED };
  }

  /** A leg comes from another process; its keys are in its row. */
  adopt(fd: number, state: Uint8Array): TlsCodec {
    return this.#tls.opened.legs.restore(fd, state);
  }

  #describe(outcome: number, { error, limit }: { error: number; limit: number }): string | null {
    if (outcome === LATE) return 'TLS handshake failed: TLS handshake timeout';
    if (outcome === TOO_MANY) return `TLS handshake ended: more than ${limit} under way`;
    if (outcome === UNTRUSTED) {
      const what = this.#tls.textAt(this.#tls.opened.ssl.X509_verify_cert_error_string(BigInt(error)));
      return describeHandshakeFailure(`the client's certificate is not trusted (${what})`);
    }
    return outcome === FAILED ? describeHandshakeFailure(this.#tls.reasonOf(error, 'no keys')) : null;
  }
}
