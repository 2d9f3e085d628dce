/** Accepting on one listener. */
import { Socket } from 'node:net';
import type { BindableServer } from '../../endpoint/model.ts';
import type { ConnectionEnd, EngineObserver, Frontend, Upstream, UpstreamShare } from '../engine.ts';
import type { Admission } from '../admission/admission.ts';
import type { Hold } from '../hold.ts';
import type { Slots } from '../slots.ts';
import type { TotalSlots } from '../total-slots.ts';
import type { Listener } from '../../net/listener.ts';
import { openAcceptor } from '../../net/acceptor.ts';
import type { Acceptor } from '../../net/acceptor.ts';
import type { AcceptBackoff, Pausable } from './accept-backoff.ts';
import type { Descriptors } from './descriptors.ts';
import { ACCEPT_PAUSE_MS, HELLO_TIMEOUT_MS } from '../policy.ts';
import { ignoreError, plainLeg, resetLeg } from './leg.ts';
import { Place } from './place.ts';
import type { SpokenFor } from '../spoken-for.ts';
import type { HeaderReader } from './proxied.ts';
import { Route } from './route.ts';
import { serveClient } from './serve.ts';
import type { Terminator } from './terminate.ts';
import { TotalWait } from './total-wait.ts';
import type { WaitingRoom } from './waiting-room.ts';
import { ownUpstream } from './upstream.ts';
import type { PortableUpstream } from './upstream.ts';
import type { PeerMonitor } from './peer-monitor.ts';

/** What the frontends of an engine share. */
export type Shared = {
  descriptors: Descriptors;
  backoff: AcceptBackoff;
  peerMonitor: PeerMonitor;
  /** The places of all connections; null: no limit. */
  total: TotalSlots | null;
};

/** What a frontend is made of. The caller still owns the listener. */
export type PortableFrontendOptions = {
  listener: Listener;
  endpoint: BindableServer;
  upstream: PortableUpstream;
  share: UpstreamShare | null;
  /** Null: clients send no PROXY header. */
  headerReader: HeaderReader | null;
  terminator: Terminator | null;
  observer: EngineObserver;
  /** Null: no limit. */
  slots: Slots | null;
  /** Null: anybody may come in. */
  admission: Admission | null;
  /** Null: clients never wait. */
  held: { hold: Hold<Upstream>; waitingRoom: WaitingRoom } | null;
  shared: Shared;
};

/** Accepts on one listener for as long as descriptors, places and its owner allow. */
export class PortableFrontend implements Frontend, Pausable {
  readonly #options: PortableFrontendOptions;
  readonly #idleMs: number | null;
  readonly #lifetimeMs: number | null;
  readonly #route: Route;
  readonly #totalWait: TotalWait;
  #acceptor: Acceptor | null = null;
  readonly #endWatch: () => void;
  /** Accepted beyond the most that may be served at once, since an acceptor takes a moment to stop. */
  readonly #parked = new Map<Socket, Place>();
  #stopped: Promise<void> | null = null;
  /** Connections of its source in other processes. */
  #elsewhere = 0;
  #connections = 0;
  /** Descriptors may become free by what no event here tells of. */
  #retry: NodeJS.Timeout | null = null;

  constructor(options: PortableFrontendOptions) {
    const { endpoint, upstream, share, shared } = options;
    this.#options = options;
    this.#route = new Route(upstream, share);
    this.#totalWait = new TotalWait(shared.total);
    this.#idleMs = endpoint.idle ?? null;
    this.#lifetimeMs = endpoint.lifetime ?? null;
    shared.backoff.add(this);
    try {
      if (!this.#isFull && this.#totalWait.hasRoomFor(this.#count)) this.#open();
    } catch (error) {
      shared.backoff.remove(this);
      throw error;
    }
    const admit = () => this.#admitMore();
    const ends = [
      options.slots?.onRoom(() => this.#admitNext()),
      this.#totalWait.watch({ room: admit, full: () => this.#stopIfFull() }),
      options.held?.hold.watch({ ended: admit, emptied: admit, filled: () => void this.#pause() }),
    ];
    this.#endWatch = () => ends.forEach((end) => end?.());
  }

  get #isFull(): boolean {
    const { slots, held, shared } = this.#options;
    const hasNoRoom = (slots?.isFull ?? false) || (held?.hold.isFull ?? false);
    return hasNoRoom || this.#totalWait.isOn || shared.descriptors.mustWait(this.#connections);
  }

  /** Accept no more, if there is no room for it: a client that were accepted then would have to be served all the same. */
  #stopIfFull(): void {
    if (this.#acceptor !== null && !this.#totalWait.hasRoomFor(this.#count)) void this.#pause();
  }

  /** Connections of its source, as far as it knows. */
  get #count(): number {
    return this.#connections + this.#elsewhere;
  }

  countElsewhere(count: number): void {
    this.#elsewhere = count;
    if (this.#totalWait.isOn) this.#admitMore();
  }

  route(upstream: Upstream, share: UpstreamShare | null = null): void {
    this.#route.set(upstream, share);
  }

  reload(): readonly string[] {
    return this.#options.terminator?.reload() ?? [];
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  paused(event: { error: Error; retryInMs: number }): void {
    void this.#pause();
    this.#options.observer.acceptPaused?.(event);
  }

  resumed(): void {
    this.#resume();
    this.#options.observer.acceptResumed?.();
  }

  async #stop(): Promise<void> {
    this.#options.shared.backoff.remove(this);
    this.#endWatch();
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.#pause();
    this.#totalWait.end();
    // They were accepted: nobody else can serve them.
    for (const [client, place] of this.#parked) {
      this.#totalWait.take();
      this.#unpark(client, place);
    }
  }

  #open(): void {
    const { listener, shared } = this.#options;
    this.#acceptor = openAcceptor({
      listener,
      accepted: (client) => this.#accept(client),
      failed: (error) => shared.backoff.apply(error),
      isPaused: true,
    });
  }

  async #pause(): Promise<void> {
    const acceptor = this.#acceptor;
    this.#acceptor = null;
    await acceptor?.close();
  }

  #resume(): void {
    const { listener, shared } = this.#options;
    const mayAccept = this.#stopped === null && listener.isOpen && !shared.backoff.isOn && !this.#isFull;
    if (!mayAccept || this.#acceptor !== null || !this.#totalWait.hasRoomFor(this.#count)) return;
    try {
      this.#open();
    } catch (error) {
      shared.backoff.apply(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #accept(client: Socket): void {
    const { admission, headerReader } = this.#options;
    const place = new Place(admission);
    // Where a header says who it is, it is asked for then.
    const refusal = headerReader === null ? place.take(client) : null;
    if (refusal !== null) {
      this.#route.upstream.refuse(refusal);
      client.on('error', ignoreError);
      return resetLeg(plainLeg(client));
    }
    if (!this.#isFull && this.#totalWait.tryTake(this.#count)) return void this.#serve(client, place);
    void this.#pause();
    client.on('error', ignoreError);
    client.once('close', () => {
      if (this.#parked.delete(client)) place.leave();
    });
    this.#parked.set(client, place);
  }

  /** Of another engine, which cannot go on with it. */
  takeIn({ fd, spokenFor }: { fd: number; spokenFor?: SpokenFor }): void {
    // Paused as those are that a server accepts; the types do not know of it.
    const options = { fd, readable: true, writable: true, allowHalfOpen: true, pauseOnCreate: true };
    // It has been let in already, and was counted.
    this.#totalWait.take();
    void this.#serve(new Socket(options), new Place(null), spokenFor);
  }

  /** Serve one that waited here, for which a place has been taken. */
  #unpark(client: Socket, place: Place): void {
    this.#parked.delete(client);
    if (!client.destroyed) return void this.#serve(client, place);
    place.leave();
    this.#totalWait.release();
  }

  async #serve(client: Socket, place: Place, spokenFor?: SpokenFor): Promise<void> {
    const { headerReader, terminator, observer, slots, held, shared } = this.#options;
    const { descriptors, backoff, peerMonitor } = shared;
    slots?.take();
    this.#connections++;
    descriptors.accepted();
    backoff.check();
    if (this.#isFull) void this.#pause();
    if (descriptors.mustWait(this.#connections)) this.#retryLater();
    let wasDialing = true;
    const connected = () => {
      wasDialing = false;
      descriptors.connected();
    };
    const upstream = this.#route.upstreamFor(client.remoteAddress);
    const end: ConnectionEnd = await serveClient(client, {
      upstream,
      headerReader,
      spokenFor,
      place,
      terminator,
      waitingRoom: held?.waitingRoom ?? null,
      peerMonitor,
      idleMs: this.#idleMs,
      helloMs: this.#options.endpoint.headerTimeout ?? HELLO_TIMEOUT_MS,
      lifetimeMs: this.#lifetimeMs,
      bufferBytes: this.#options.endpoint.buffer ?? null,
      connected,
    });
    slots?.release();
    this.#connections--;
    this.#totalWait.release();
    place.leave();
    descriptors.released({ wasDialing });
    backoff.ease();
    // The one that it went to: one that was held may have been given to another meanwhile.
    ownUpstream(end.upstream).connectionEnded(end);
    observer.connectionEnded?.(end);
    if (this.#totalWait.isOn) this.#admitMore();
    else this.#admitNext();
  }

  #retryLater(): void {
    if (this.#retry !== null) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      if (this.#stopped !== null) return;
      if (this.#options.shared.descriptors.mustWait(this.#connections)) this.#retryLater();
      else this.#admitNext();
    }, ACCEPT_PAUSE_MS.max).unref();
  }

  /** There may be room for as many as wait here. */
  #admitMore(): void {
    if (!this.#totalWait.tryEnd(this.#count)) return;
    while (this.#parked.size > 0 && !this.#isFull) this.#admitNext();
    this.#admitNext();
  }

  /** A place became free: for a client that was accepted already, else for one from the queue. */
  #admitNext(): void {
    if (this.#isFull) return;
    const [next] = this.#parked;
    if (!next) this.#resume();
    else if (this.#totalWait.tryTake(this.#count)) this.#unpark(...next);
  }
}
