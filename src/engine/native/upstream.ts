import type { ClientEndpoint } from '../../endpoint/model.ts';
import { EndListeners } from '../end-listeners.ts';
import type { ConnectionEnd, EndListener, TlsEnds, Upstream, UpstreamStats } from '../engine.ts';
import type { ClosingReason } from '../closing-reason.ts';
import { emptyTally } from '../tally.ts';
import type { Tally } from '../tally.ts';
import { allocateCounters, Counters, sumCounters } from './counters.ts';
import type { UpstreamPlan } from './thread-plans.ts';
import type { Threads } from './threads.ts';

/** What a destination is made of. */
export type NativeUpstreamOptions = {
  endpoint: ClientEndpoint;
  id: number;
  plan: Omit<UpstreamPlan, 'id' | 'counters'> | null;
  threads: Threads;
  /** Read the files of its TLS again, or of some of it, for handshakes of the threads to come. Throws GraceError and keeps the old ones. */
  reloadTls: (upstream: NativeUpstream, only: TlsEnds | undefined) => void;
  /** Open the same destination in the portable engine. */
  openPortable: (original: NativeUpstream) => Upstream;
  /** It is to be forgotten and has no connection left: nobody will ask for it again. */
  onOver: (upstream: NativeUpstream) => void;
};

/** A destination: its connections in the threads, and those that the portable engine has. */
export class NativeUpstream implements Upstream {
  readonly endpoint: ClientEndpoint;
  /** Its number in the threads. */
  readonly id: number;
  /** Whether the threads know it, and may have connections of it. */
  readonly isInThreads: boolean;
  readonly #speaksTls: boolean;
  #hasLostHandshakes = false;
  /** What its name meant when it was last looked up. */
  lastAddresses: readonly string[] = [];
  readonly #threads: Threads;
  readonly #counters: readonly Counters[];
  readonly #reloadTls: NativeUpstreamOptions['reloadTls'];
  readonly #openPortable: (original: NativeUpstream) => Upstream;
  readonly #onOver: (upstream: NativeUpstream) => void;
  readonly #endListeners = new EndListeners((areHeard) => {
    for (const counters of this.#counters) counters.setEndsHeard(areHeard);
  });
  #portable: Upstream | null = null;
  #isForgotten = false;
  /** Called when a thread says that it has no connection of this upstream left. */
  readonly #waiters = new Set<() => void>();

  constructor({ endpoint, id, plan, threads, reloadTls, openPortable, onOver }: NativeUpstreamOptions) {
    this.endpoint = endpoint;
    this.id = id;
    this.isInThreads = plan !== null;
    this.#speaksTls = [plan, ...(plan?.sni?.ways.map((way) => way.plan) ?? [])].some((each) => each?.tls);
    this.#threads = threads;
    this.#reloadTls = reloadTls;
    this.#openPortable = openPortable;
    this.#onOver = onOver;
    const counters = allocateCounters(threads.count);
    this.#counters = Array.from({ length: threads.count }, (_, thread) => new Counters(counters, thread));
    if (plan) threads.sendToAll({ type: 'open-upstream', plan: { ...plan, id, counters } });
    // Certificates are to be read now, so that one that is missing is found.
    else this.#startPortable();
  }

  /** Whether the threads can connect to it. */
  get isInReach(): boolean {
    return this.isInThreads && !(this.#speaksTls && this.#hasLostHandshakes);
  }

  /** Nobody is left who would shake hands with it for the threads. */
  loseHandshakes(): void {
    this.#hasLostHandshakes = true;
  }

  /** The same destination in the portable engine. */
  get portable(): Upstream {
    return this.#portable ?? this.#startPortable();
  }

  /** The same, if it has been needed so far. */
  get portables(): Upstream[] {
    return this.#portable ? [this.#portable] : [];
  }

  #startPortable(): Upstream {
    const portable = this.#openPortable(this);
    portable.onEnd((end) => this.connectionEnded({ ...end, upstream: this }));
    return (this.#portable = portable);
  }

  onEnd(listener: EndListener): () => void {
    return this.#endListeners.add(listener);
  }

  /** One of its connections has ended. */
  connectionEnded(end: ConnectionEnd): void {
    this.#endListeners.tell(end);
  }

  reload(only?: TlsEnds): void {
    if (this.#speaksTls && this.isInReach) this.#reloadTls(this, only);
    this.#portable?.reload(only);
  }

  stats(): UpstreamStats {
    const own = sumCounters(this.#counters);
    if (!this.#portable) return own;
    const { connections, dialing, bytesIn, bytesOut } = this.#portable.stats();
    return {
      connections: own.connections + connections,
      dialing: own.dialing + dialing,
      bytesIn: own.bytesIn + bytesIn,
      bytesOut: own.bytesOut + bytesOut,
    };
  }

  /** Connections that a thread has. */
  connectionsOf(thread: number): number {
    return this.#counters[thread]?.connections ?? 0;
  }

  async drained({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    signal?.throwIfAborted();
    while (this.stats().connections > 0) {
      await this.#threadsDrained(signal);
      await this.#portable?.drained({ signal });
    }
  }

  #threadsDrained(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#waiters.delete(look);
        signal?.removeEventListener('abort', abort);
      };
      const abort = () => {
        settle();
        reject(signal?.reason);
      };
      const look = () => {
        const busy = this.#counters.findIndex(({ connections }) => connections > 0);
        if (busy !== -1) return this.#threads.send(busy, { type: 'watch', upstream: this.id });
        settle();
        resolve();
      };
      this.#waiters.add(look);
      signal?.addEventListener('abort', abort);
      look();
    });
  }

  /** Connections are about to be given to a thread. */
  countAdopted(thread: number, count: number): void {
    this.#counters[thread]?.addAdopted(count);
  }

  /** A thread has no connection of it left, or is gone. */
  lookAgain(): void {
    for (const look of this.#waiters) look();
  }

  /** The connections of a thread that died are gone. */
  forgetThread(thread: number): void {
    this.#counters[thread]?.forget();
    this.lookAgain();
  }

  forget(): void {
    if (this.#isForgotten) return;
    this.#isForgotten = true;
    void this.drained().then(() => {
      this.#portable?.forget();
      this.#onOver(this);
    });
  }

  tally(): Tally {
    const sum = this.#portable?.tally() ?? emptyTally();
    for (const row of this.#counters) row.addTo(sum);
    return sum;
  }

  destroy(why: ClosingReason = 'closed'): number {
    const own = sumCounters(this.#counters).connections;
    if (own > 0) this.#threads.sendToAll({ type: 'destroy', upstream: this.id, why });
    return own + (this.#portable?.destroy(why) ?? 0);
  }
}
