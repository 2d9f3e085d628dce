/** TLS of an engine, in its main thread: whether its threads speak it, and what destinations are shaken hands with. */
import { EndpointError } from '../../../endpoint/error.ts';
import { hasTls } from '../../../endpoint/inner.ts';
import type { ClientEndpoint, SslClient, TlsClient } from '../../../endpoint/model.ts';
import { errorMessage } from '../../../error.ts';
import type { TlsEnds } from '../../engine.ts';
import type { TicketRing } from '../../ticket-ring.ts';
import type { UpstreamTls } from '../thread-plans.ts';
import type { Threads, ThreadsOptions } from '../threads.ts';
import { HandshakeService } from './service.ts';
import type { HandshakeLimits } from './service.ts';
import { UpstreamContexts } from './upstream-contexts.ts';

/** What it is made of. */
export type EngineTlsOptions = {
  /** Those that move the bytes. */
  threads: Threads;
  /** Whether it is wanted at all. */
  isWanted: boolean;
  /** Whether the threads may be used. */
  isUsable: () => boolean;
  /** Seals the session tickets. */
  tickets: TicketRing;
  /** The thread of handshakes is gone, and the others have been told. */
  onLost: () => void;
  /** TLS is the portable engine's after all, or some of it, and why. */
  onUnusable: ((why: string) => void) | undefined;
  /** The thread of handshakes runs with these. */
  forHandshakes: HandshakeLimits & Pick<ThreadsOptions, 'answerTimeoutMs' | 'stopTimeoutMs' | 'startWorker'>;
};

/** Starts the thread of handshakes with the first that needs it, and does without once that cannot be had. */
export class EngineTls {
  readonly #options: EngineTlsOptions;
  readonly #contexts = new UpstreamContexts();
  /** Undefined: nobody has needed it; null: it cannot be had. */
  #service: HandshakeService | null | undefined = undefined;

  constructor(options: EngineTlsOptions) {
    this.#options = options;
  }

  /** Whether handshakes are under way, or may be. */
  get isOpen(): boolean {
    return this.#service !== undefined && this.#service !== null;
  }

  /** The thread of handshakes, which is started if need be; null: the portable engine has all TLS. */
  open(): HandshakeService | null {
    const { isWanted, isUsable, threads, tickets, forHandshakes } = this.#options;
    if (!isWanted || !isUsable()) return null;
    if (this.#service !== undefined) return this.#service;
    try {
      this.#service = new HandshakeService({
        ...forHandshakes,
        threads,
        tickets,
        onFlaw: (flaw) => this.#doWithout(flaw),
        onDeath: (_, error) => this.#lose(error),
      });
    } catch (error) {
      this.#doWithout(errorMessage(error)); // this runtime has no OpenSSL that can be called
    }
    return this.#service ?? null;
  }

  /** No client has come to it yet. */
  #doWithout(why: string): void {
    void this.#service?.close();
    this.#service = null;
    this.#options.onUnusable?.(why);
  }

  /** Clients in the middle of their handshake are lost; all others go on, and TLS is the portable engine's from now on. */
  #lose(error: Error): void {
    const { threads, onLost, onUnusable } = this.#options;
    this.#service = null;
    threads.sendToAll({ type: 'end-handshakes' });
    onLost();
    onUnusable?.(`the thread of handshakes failed: ${error.message}`);
  }

  /** What the threads need for handshakes with a destination of an upstream; null where they have none. Throws EndpointError when a file is unusable. */
  openDestination(endpoint: SslClient | TlsClient, upstream: number): UpstreamTls | null {
    const service = this.open();
    if (service === null) return null;
    try {
      return this.#contexts.open(service, upstream, endpoint);
    } catch (error) {
      this.#contexts.close(service, upstream);
      if (error instanceof EndpointError) throw error;
      this.#options.onUnusable?.(errorMessage(error));
      return null;
    }
  }

  /** The same again, of all destinations of an upstream, by number, or of `only` some. Throws GraceError and keeps what there was. */
  reload(upstream: number, endpoints: readonly [number, ClientEndpoint][], only?: TlsEnds): void {
    const { threads } = this.#options;
    const service = this.open();
    if (service === null) return;
    const secure = endpoints.flatMap(([number, each]) =>
      hasTls(each) && only?.has(each) !== false ? [[number, each] as const] : [],
    );
    const { opened, before } = this.#contexts.reload(service, upstream, new Map(secure));
    for (const [number, tls] of opened) threads.sendToAll({ type: 'set-upstream-tls', upstream: number, tls });
    void threads.settled().then(() => this.#contexts.drop(this.#service ?? null, before));
  }

  /** Nobody dials for an upstream, or its plan came to nothing. */
  forget(upstream: number): void {
    this.#contexts.close(this.#service ?? null, upstream);
  }

  /** Resolves when what the thread of handshakes was told so far is done. */
  async settled(): Promise<void> {
    await this.#service?.settled();
  }

  trimMemory(): void {
    this.#service?.trimMemory();
  }

  /** End the thread of handshakes, which has clients of the threads: after them. */
  async close(): Promise<void> {
    await this.#service?.close();
  }
}
