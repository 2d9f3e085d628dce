import { closeFd } from '../../sys/descriptor.ts';
import { setResetOnClose } from '../../sys/socket.ts';
import type { Listener } from '../../net/listener.ts';
import type { ServerEndpoint } from '../../endpoint/model.ts';
import type { Engine, EngineObserver, Frontend, Upstream, UpstreamShare } from '../engine.ts';
import type { Admission, AdmittedNetworks } from '../admission/admission.ts';
import type { Hold } from '../hold.ts';
import type { Slots } from '../slots.ts';
import { FrontendInThreads } from './frontend-in-threads.ts';
import type { SurrenderedClient } from './messages.ts';
import { isPlainServer, nativeTlsServer } from './plan.ts';
import { isInReach, ownShare, portableShare, threadRouting } from './routing.ts';
import type { NativeShare, NativeRouting } from './routing.ts';
import { ServerContexts } from './tls/server-contexts.ts';
import type { HandshakeService } from './tls/service.ts';
import type { Threads } from './threads.ts';
import type { NativeUpstream } from './upstream.ts';

/** What a frontend is made of. The caller still owns the listener. */
export type NativeFrontendOptions = {
  /** Make this frontend known to the reports of these threads under a new number. */
  register: (frontend: NativeFrontend, members: readonly number[]) => number;
  listener: Listener;
  endpoint: ServerEndpoint;
  upstream: NativeUpstream;
  share: NativeShare | null;
  observer: EngineObserver;
  threads: Threads;
  portable: Engine;
  /** The destination that an upstream of the portable engine stands for. */
  originalOf: (portable: Upstream) => Upstream;
  /** Null: no limit. */
  slots: Slots | null;
  /** Null: anybody may come in. */
  admission: Admission | null;
  /** Null: clients never wait. `id`: its number in the threads. */
  hold: { id: number; state: Hold<Upstream> } | null;
  /** It accepts no more. */
  onStopped?: (frontend: NativeFrontend) => void;
  /** Whether the threads may be used. */
  isUsable: boolean;
  /** For clients that speak TLS. Null: the threads have none. */
  handshakes: () => HandshakeService | null;
};

/** Pause before the portable engine is asked again to accept in the place of a thread that died. */
const RETRY_MS = 200;

/** Who accepts at the moment. */
type Accepting =
  { by: 'threads'; frontend: FrontendInThreads } | { by: 'portable'; frontend: Frontend } | { by: 'nobody' };

/**
 * Accepting on one listener: in the threads while they can serve both sides (plan.ts), else in the portable engine.
 * When a route changes that, the new acceptor is there before the old one goes.
 */
export class NativeFrontend implements Frontend {
  readonly observer: EngineObserver;
  readonly slots: Slots | null;
  readonly admission: Admission | null;
  readonly hold: Hold<Upstream> | null;
  readonly #options: NativeFrontendOptions;
  #routing: NativeRouting;
  #isUsable: boolean;
  /** What handshakes are made with; null: clients are plain, or the portable engine's. */
  #tls: ServerContexts | null = null;
  #accepting: Accepting = { by: 'nobody' };
  /** Connections of its source in other processes. */
  #elsewhere = 0;
  readonly #endWatch: () => void;
  readonly #endNetworks: (() => void) | null;
  /** Acceptors that are on their way out. */
  readonly #closing = new Set<Promise<void>>();
  /** The acceptors that the threads have, those on their way out included. */
  readonly #inThreads = new Set<FrontendInThreads>();

  constructor(options: NativeFrontendOptions) {
    this.observer = options.observer;
    this.#options = options;
    this.#routing = { upstream: options.upstream, share: options.share };
    this.#tls = options.isUsable ? openContexts(options) : null;
    this.#isUsable = options.isUsable && (isPlainServer(options.endpoint) || this.#tls !== null);
    this.slots = options.slots;
    this.admission = options.admission;
    this.hold = options.hold?.state ?? null;
    this.#accepting = this.#suits(this.#routing) ? this.#openInThreads() : this.#openPortable();
    const look = () => this.#lookForRoom();
    const ends = [this.slots?.onRoom(look), options.hold?.state.watch({ ended: look, emptied: look })];
    this.#endWatch = () => ends.forEach((end) => end?.());
    this.#endNetworks = this.admission?.onNetworks((networks) => this.#setNetworks(networks)) ?? null;
  }

  #setNetworks(networks: AdmittedNetworks): void {
    if (this.#accepting.by === 'threads') this.#accepting.frontend.setNetworks(networks);
  }

  #lookForRoom(): void {
    if (this.#accepting.by === 'threads') this.#accepting.frontend.lookForRoom();
  }

  #suits(routing: NativeRouting): boolean {
    return this.#isUsable && isInReach(routing);
  }

  route(upstream: NativeUpstream, share: UpstreamShare | null = null): void {
    const before = this.#routing;
    this.#routing = { upstream, share: ownShare(share) };
    const accepting = this.#accepting;
    if (accepting.by === 'nobody') return;
    // Clients that the portable engine still accepts go to the new destination in any case.
    if (accepting.by === 'portable') accepting.frontend.route(upstream.portable, portableShare(this.#routing));
    if (this.#suits(this.#routing)) {
      if (accepting.by === 'threads') return accepting.frontend.route(threadRouting(this.#routing));
      return this.#replace(this.#openInThreads());
    }
    if (accepting.by === 'portable') return;
    try {
      this.#replace(this.#openPortable());
    } catch (error) {
      this.#routing = before;
      throw error;
    }
  }

  lookInQueue(): void {
    if (this.#accepting.by === 'threads') this.#accepting.frontend.lookInQueue();
  }

  countElsewhere(count: number): void {
    this.#elsewhere = count;
    this.#tellElsewhere(this.#accepting);
  }

  #tellElsewhere(accepting: Accepting): void {
    if (accepting.by !== 'nobody') accepting.frontend.countElsewhere?.(this.#elsewhere);
  }

  /** Its number in the threads, for connections that join it; null while they do not accept here. */
  get idInThreads(): number | null {
    return this.#accepting.by === 'threads' ? this.#accepting.frontend.id : null;
  }

  /** Whether a limit makes one thread serve all its clients. */
  get isInOneThread(): boolean {
    return this.slots !== null;
  }

  /** A thread is gone, and the others are not to be relied on any more. */
  loseThread(thread: number): void {
    this.#isUsable = false;
    for (const frontend of this.#inThreads) frontend.loseThread(thread);
    this.#leaveThreads({ isRetry: false });
  }

  /** The thread of TLS handshakes is gone. */
  loseHandshakes(): void {
    if (this.#tls !== null) this.#isUsable = false;
    if (!this.#suits(this.#routing)) this.#leaveThreads({ isRetry: false });
  }

  /** No thread has a client any more that was accepted under this number. */
  forgottenAs(id: number): void {
    this.#tls?.left(id);
  }

  /** Until the portable engine can accept, clients wait in the queue, or are accepted by the threads that are left. */
  #leaveThreads({ isRetry }: { isRetry: boolean }): void {
    if (this.#accepting.by !== 'threads') return;
    try {
      this.#replace(this.#openPortable());
      if (isRetry) this.observer.acceptResumed?.();
    } catch (error) {
      this.observer.acceptPaused?.({
        error: error instanceof Error ? error : new Error(String(error)),
        retryInMs: RETRY_MS,
      });
      setTimeout(() => this.#leaveThreads({ isRetry: true }), RETRY_MS);
    }
  }

  #replace(next: Accepting): void {
    const previous = this.#accepting;
    this.#accepting = next;
    if (this.#elsewhere > 0) this.#tellElsewhere(next);
    this.#closeLater(previous);
  }

  #closeLater(accepting: Accepting): void {
    const closing = this.#close(accepting);
    this.#closing.add(closing);
    void closing.finally(() => this.#closing.delete(closing));
  }

  #openInThreads(): Accepting {
    const { register, listener, endpoint, threads, observer, hold } = this.#options;
    const frontend = new FrontendInThreads({
      threads,
      // A limit is one for all threads: where there is one, a single thread accepts.
      members: this.isInOneThread ? threads.alive.slice(0, 1) : threads.alive,
      register: (members) => register(this, members),
      listener,
      endpoint,
      routing: threadRouting(this.#routing),
      observer,
      slots: this.slots,
      admission: this.admission,
      hold,
      tls: this.#tls,
    });
    this.#inThreads.add(frontend);
    return { by: 'threads', frontend };
  }

  #openPortable(): Accepting {
    const { listener, endpoint, portable, observer, originalOf, hold } = this.#options;
    const named: EngineObserver = {
      ...observer,
      ...(observer.connectionEnded && {
        connectionEnded: (event) => observer.connectionEnded?.({ ...event, upstream: originalOf(event.upstream) }),
      }),
    };
    return {
      by: 'portable',
      frontend: portable.openFrontend({
        listener,
        endpoint,
        upstream: this.#routing.upstream.portable,
        share: portableShare(this.#routing),
        observer: named,
        slots: this.slots,
        admission: this.admission,
        hold: hold?.state ?? null,
      }),
    };
  }

  async #close(accepting: Accepting): Promise<void> {
    if (accepting.by === 'portable') return accepting.frontend.stop();
    if (accepting.by === 'nobody') return;
    await accepting.frontend.close();
    this.#inThreads.delete(accepting.frontend);
  }

  /** A thread accepts here no more, under this number. */
  closedIn(thread: number, id: number): void {
    for (const frontend of this.#inThreads) if (frontend.id === id) frontend.closedIn(thread);
  }

  /** A client that waited in a thread and cannot go on there. */
  takeIn(client: SurrenderedClient): void {
    const accepting = this.#accepting;
    if (accepting.by === 'portable' && accepting.frontend.takeIn) return accepting.frontend.takeIn(client);
    setResetOnClose(client.fd);
    closeFd(client.fd);
  }

  reload(): readonly string[] {
    const accepting = this.#accepting;
    const inPortable = accepting.by === 'portable' ? accepting.frontend.reload() : [];
    const tls = this.#tls;
    if (accepting.by === 'nobody' || tls === null) return inPortable;
    const { threads } = this.#options;
    const { context, before, problems } = tls.reload();
    if (accepting.by === 'threads') accepting.frontend.setContext(context);
    void threads.settled().then(() => tls.drop(before));
    return [...new Set([...inPortable, ...problems])];
  }

  async stop(): Promise<void> {
    this.#endWatch();
    this.#endNetworks?.();
    this.#replace({ by: 'nobody' });
    this.#tls?.close();
    this.#options.onStopped?.(this);
    await Promise.all(this.#closing);
  }
}

/** Null where the endpoint has no TLS that the threads speak; what is wrong with its files then is the portable engine's to say. */
function openContexts({ endpoint, handshakes }: NativeFrontendOptions): ServerContexts | null {
  const server = nativeTlsServer(endpoint);
  const service = server === null ? null : handshakes();
  if (server === null || service === null) return null;
  try {
    return new ServerContexts(service, server);
  } catch {
    return null;
  }
}
