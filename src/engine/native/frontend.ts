import { closeFd, setNonBlocking } from '../../sys/descriptor.ts';
import { setResetOnClose } from '../../sys/socket.ts';
import type { Listener } from '../../net/listener.ts';
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { ServerEndpoint, ServerExtras } from '../../endpoint/model.ts';
import type { Engine, EngineObserver, Frontend, Upstream, UpstreamShare } from '../engine.ts';
import type { Admission, AdmittedNetworks } from '../admission/admission.ts';
import type { Hold } from '../hold.ts';
import type { Slots } from '../slots.ts';
import { planHeader } from '../header-plan.ts';
import type { SurrenderedClient, ThreadCommand } from './messages.ts';
import { HELLO_TIMEOUT_MS } from '../policy.ts';
import { isPlainServer, nativeTlsServer } from './plan.ts';
import { ServerContexts } from './tls/server-contexts.ts';
import type { HandshakeService } from './tls/service.ts';
import { Route } from './route.ts';
import type { RouteTarget } from './route.ts';
import type { Threads } from './threads.ts';
import { NativeUpstream } from './upstream.ts';
import { shareKey, shareThreshold } from '../share.ts';

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

/** Where clients go: to one upstream, or a share of them to another. */
type Target = { upstream: NativeUpstream; share: NativeShare | null };
type NativeShare = UpstreamShare & { upstream: NativeUpstream };

/** Who accepts at the moment. */
type Accepting =
  | { by: 'threads'; id: number; members: readonly number[]; fds: number[]; route: Route }
  | { by: 'portable'; frontend: Frontend }
  | { by: 'nobody' };

/**
 * Accepting on one listener: in the threads while both sides are plain, else in the portable engine.
 * When a route changes that, the new acceptor is there before the old one goes.
 */
export class NativeFrontend implements Frontend {
  readonly observer: EngineObserver;
  readonly slots: Slots | null;
  readonly admission: Admission | null;
  readonly hold: Hold<Upstream> | null;
  readonly #options: NativeFrontendOptions;
  #target: Target;
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
  /** Of acceptors in the threads, those on their way out included. */
  readonly #routes = new Set<Route>();
  /** Called when a thread accepts no more. */
  readonly #closed: ((thread: number, id: number | null) => void)[] = [];

  constructor(options: NativeFrontendOptions) {
    this.observer = options.observer;
    this.#options = options;
    this.#target = { upstream: options.upstream, share: options.share };
    this.#tls = options.isUsable ? openContexts(options) : null;
    this.#isUsable = options.isUsable && (isPlainServer(options.endpoint) || this.#tls !== null);
    this.slots = options.slots;
    this.admission = options.admission;
    this.hold = options.hold?.state ?? null;
    this.#accepting = this.#suits(this.#target) ? this.#openInThreads() : this.#openPortable();
    const look = () => this.#lookForRoom();
    const ends = [this.slots?.onRoom(look), options.hold?.state.watch({ ended: look, emptied: look })];
    this.#endWatch = () => ends.forEach((end) => end?.());
    this.#endNetworks = this.admission?.onNetworks((networks) => this.#setNetworks(networks)) ?? null;
  }

  #setNetworks(networks: AdmittedNetworks): void {
    const accepting = this.#accepting;
    if (accepting.by !== 'threads') return;
    for (const thread of accepting.members)
      this.#options.threads.send(thread, { type: 'set-networks', frontend: accepting.id, networks });
  }

  /** Whoever serves clients of this source has one less, or one less waits. */
  #lookForRoom(): void {
    const accepting = this.#accepting;
    if (accepting.by !== 'threads') return;
    for (const thread of accepting.members)
      this.#options.threads.send(thread, { type: 'look-for-room', frontend: accepting.id });
  }

  #suits({ upstream, share }: Target): boolean {
    return this.#isUsable && upstream.isInReach && (share?.upstream.isInReach ?? true);
  }

  route(upstream: NativeUpstream, share: UpstreamShare | null = null): void {
    const before = this.#target;
    this.#target = { upstream, share: ownShare(share) };
    const accepting = this.#accepting;
    if (accepting.by === 'nobody') return;
    // Clients that the portable engine still accepts go to the new destination in any case.
    if (accepting.by === 'portable') accepting.frontend.route(upstream.portable, portableShare(this.#target));
    if (this.#suits(this.#target)) {
      if (accepting.by === 'threads') return accepting.route.set(routeTarget(this.#target));
      return this.#replace(this.#openInThreads());
    }
    if (accepting.by === 'portable') return;
    try {
      this.#replace(this.#openPortable());
    } catch (error) {
      this.#target = before;
      throw error;
    }
  }

  countElsewhere(count: number): void {
    this.#elsewhere = count;
    this.#tellElsewhere(this.#accepting);
  }

  #tellElsewhere(accepting: Accepting): void {
    if (accepting.by === 'portable') accepting.frontend.countElsewhere?.(this.#elsewhere);
    if (accepting.by !== 'threads') return;
    for (const thread of accepting.members)
      this.#options.threads.send(thread, {
        type: 'count-elsewhere',
        frontend: accepting.id,
        count: this.#elsewhere,
      });
  }

  /** Its number in the threads, for connections that join it; null while they do not accept here. */
  get idInThreads(): number | null {
    return this.#accepting.by === 'threads' ? this.#accepting.id : null;
  }

  /** Whether a limit makes one thread serve all its clients. */
  get isInOneThread(): boolean {
    return this.slots !== null;
  }

  /** A thread is gone, and the others are not to be relied on any more. */
  loseThread(thread: number): void {
    this.#isUsable = false;
    for (const route of this.#routes) route.lower(thread);
    for (const done of this.#closed) done(thread, null);
    this.#leaveThreads({ isRetry: false });
  }

  /** The thread of TLS handshakes is gone. */
  loseHandshakes(): void {
    if (this.#tls !== null) this.#isUsable = false;
    if (!this.#suits(this.#target)) this.#leaveThreads({ isRetry: false });
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
    const inner = innerEndpoint(endpoint);
    const extras: ServerExtras = inner.type === 'stdio' ? {} : inner;
    const {
      idle: idleMs = null,
      lifetime: lifetimeMs = null,
      buffer: bufferBytes = null,
      headerTimeout: helloMs = HELLO_TIMEOUT_MS,
    } = extras;
    const route = Route.open(routeTarget(this.#target), { threads: threads.count });
    const reportsOrderly = observer.connectionEnded !== undefined && (observer.wantsOrderlyEnds ?? true);
    // A limit is one for all threads: where there is one, a single thread accepts.
    const members = this.slots === null ? threads.alive : threads.alive.slice(0, 1);
    // A descriptor for each: the state of one is a single thread's.
    const fds: number[] = [];
    try {
      for (const _ of members) fds.push(listener.dup());
      for (const fd of fds) setNonBlocking(fd, true);
    } catch (error) {
      for (const fd of fds) closeFd(fd);
      throw error;
    }
    this.#routes.add(route);
    const id = register(this, members);
    const tls = this.#tls?.enter(id) ?? null;
    const header = planHeader(endpoint);
    const command = (fd: number): ThreadCommand => ({
      type: 'open-frontend',
      plan: {
        id,
        fd,
        isUnix: listener.address.family === 'unix',
        route: route.memory,
        slots: this.slots?.plan ?? null,
        admission: this.admission?.plan ?? null,
        hold: hold && { id: hold.id, memory: hold.state.memory },
        idleMs,
        lifetimeMs,
        bufferBytes,
        helloMs,
        reportsOrderly,
        header,
        tls,
      },
    });
    members.forEach((thread, index) => threads.send(thread, command(fds[index]!)));
    return { by: 'threads', id, members, fds, route };
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
        upstream: this.#target.upstream.portable,
        share: portableShare(this.#target),
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
    const { threads } = this.#options;
    accepting.route.close();
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = new Set(accepting.members.filter((thread) => threads.alive.includes(thread)));
    const done = (thread: number, id: number | null) => {
      if (id !== null && id !== accepting.id) return;
      waiting.delete(thread);
      if (waiting.size === 0) resolve();
    };
    this.#closed.push(done);
    for (const thread of waiting) threads.send(thread, { type: 'close-frontend', frontend: accepting.id });
    if (waiting.size === 0) resolve();
    await promise;
    this.#closed.splice(this.#closed.indexOf(done), 1);
    for (const fd of accepting.fds) closeFd(fd);
    this.#routes.delete(accepting.route);
  }

  /** A thread accepts here no more, under this number. */
  closedIn(thread: number, id: number): void {
    for (const done of this.#closed) done(thread, id);
  }

  /** A client that waited in a thread and cannot go on there. */
  takeIn(client: SurrenderedClient): void {
    const accepting = this.#accepting;
    if (accepting.by === 'portable' && accepting.frontend.takeIn) return accepting.frontend.takeIn(client);
    setResetOnClose(client.fd);
    closeFd(client.fd);
  }

  reload(): void {
    const accepting = this.#accepting;
    if (accepting.by === 'portable') accepting.frontend.reload();
    const tls = this.#tls;
    if (accepting.by === 'nobody' || tls === null) return;
    const { threads } = this.#options;
    const { context, before } = tls.reload();
    if (accepting.by === 'threads')
      for (const thread of accepting.members)
        threads.send(thread, { type: 'set-context', frontend: accepting.id, context });
    void threads.settled().then(() => tls.drop(before));
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

/** A share as the portable engine has it. */
function portableShare({ share }: Target): UpstreamShare | null {
  return share && { ...share, upstream: share.upstream.portable };
}

/** Where to, as the threads have it. */
function routeTarget({ upstream, share }: Target): RouteTarget {
  return {
    upstream: upstream.id,
    share: share && {
      upstream: share.upstream.id,
      threshold: shareThreshold(share.percent),
      key: shareKey(share.secret),
    },
  };
}

/** Narrows to an upstream of this engine. */
export function ownUpstream(upstream: Upstream): NativeUpstream {
  if (upstream instanceof NativeUpstream) return upstream;
  throw new TypeError('this upstream was opened by another engine');
}

/** The same of a share. */
export function ownShare(share: UpstreamShare | null): NativeShare | null {
  return share && { ...share, upstream: ownUpstream(share.upstream) };
}
