/** Connecting accepted clients to their destination. The mirror image of accept.ts. */
import { startConnect } from './connect.ts';
import type { FirstFlight } from './first-flight.ts';
import { EADDRNOTAVAIL, EAGAIN, ECONNREFUSED, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM, EPOLLERR, EPOLLHUP, EPOLLOUT } from './kernel.ts';
import type { Address } from './kernel.ts';
import { CONNECTING, IS_UNIX } from './legs.ts';
import { OUT_OF_TIME } from './messages.ts';
import type { EndReason } from './messages.ts';
import type { Relay } from './relay.ts';
import type { Thread, ThreadUpstream } from './thread.ts';
import type { KeepAlive } from './tune.ts';

/** Head start of one address before the next is tried beside it (RFC 8305, section 5). */
const HEAD_START_MS = 300;
/** First and longest pause between two attempts at a destination that refuses. */
const RETRY_PAUSE_MS = { first: 20, longest: 250 };
/** First and longest pause while the queue of a Unix listener is full, of whose end no event tells. */
const FULL_QUEUE_PAUSE_MS = { first: 2, longest: 100 };
/** A client that ended without a byte is waited for so long: the dial may be about to succeed. */
const GIVE_UP_AFTER_MS = 200;
/** So long the addresses of a name are used for further clients, unless one of them fails. */
const RESOLVED_FOR_MS = 1000;
/** Pause while there are no descriptors, ports or memory. */
const SHORTAGE_PAUSE_MS = 50;
const SHORTAGES: readonly number[] = [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL];

/** A connect under way, and the index of its address. */
type Try = { readonly fd: number; readonly address: number };
type Failure = { readonly address: number; readonly errno: number };
/** What most dials end with. */
const NO_FAILURES: readonly Failure[] = [];

/** One client whose upstream is not connected yet. */
type Dial = {
  readonly client: number;
  readonly upstream: ThreadUpstream;
  readonly retryUntil: number;
  addresses: readonly Address[];
  /** Index of the address to be tried next. */
  next: number;
  /** Connects under way: mostly one. */
  tries: Try[];
  failures: readonly Failure[];
  /** When the attempt is given up. */
  deadline: number;
  /** When something is due of which no event tells. */
  wakeAt: number;
  /** A new attempt is due at `wakeAt`, rather than the next address. */
  isResting: boolean;
  pauseMs: number;
  fullQueuePauseMs: number;
  /** When to see whether a client that has ended sent anything; Infinity: it has not ended. */
  peekAt: number;
};

export class Dialer {
  readonly #thread: Thread;
  readonly #relay: Relay;
  readonly #keepAlive: KeepAlive;
  readonly #firstFlight: FirstFlight;
  /** By the descriptor of the client. */
  readonly #dials = new Map<number, Dial>();
  /** Dials that wait for the addresses of a name, by the number of their upstream. */
  readonly #resolving = new Map<number, Dial[]>();
  /** When `runDue` has something to do, at the earliest. */
  wakeAt = Infinity;

  constructor(thread: Thread, { relay, keepAlive, firstFlight }: { relay: Relay; keepAlive: KeepAlive; firstFlight: FirstFlight }) {
    this.#thread = thread;
    this.#relay = relay;
    this.#keepAlive = keepAlive;
    this.#firstFlight = firstFlight;
  }

  /** Connect a client that was accepted; its row is filled in, its upstream counts it. */
  begin(client: number): void {
    const { now, upstreams, legs } = this.#thread;
    const upstream = upstreams.get(legs.upstream(client))!;
    const dial: Dial = {
      client, upstream,
      retryUntil: now + upstream.plan.retryMs,
      addresses: [], next: 0, tries: [], failures: NO_FAILURES,
      deadline: 0, wakeAt: Infinity, isResting: false,
      pauseMs: RETRY_PAUSE_MS.first, fullQueuePauseMs: FULL_QUEUE_PAUSE_MS.first, peekAt: Infinity,
    };
    this.#dials.set(client, dial);
    upstream.counters.addDialing(1);
    this.#attempt(dial);
  }

  #attempt(dial: Dial): void {
    const { now } = this.#thread;
    const { plan, resolved } = dial.upstream;
    const addresses = dial.upstream.addresses ?? (resolved !== null && now < resolved.until ? resolved.addresses : null);
    dial.isResting = false;
    dial.failures = NO_FAILURES;
    dial.next = 0;
    dial.deadline = now + plan.timeoutMs;
    this.#due(dial.deadline);
    if (addresses !== null) {
      dial.addresses = addresses;
      return this.#tryNext(dial);
    }
    dial.addresses = [];
    const waiting = this.#resolving.get(plan.id);
    if (waiting) return void waiting.push(dial);
    this.#resolving.set(plan.id, [dial]);
    this.#thread.say({ said: 'resolve', upstream: plan.id });
  }

  /** The addresses of a name have come. */
  resolved(upstreamId: number, sockaddrs: readonly Uint8Array[], error: string | null): void {
    const { kernel, upstreams, now } = this.#thread;
    const waiting = this.#resolving.get(upstreamId) ?? [];
    this.#resolving.delete(upstreamId);
    const addresses = sockaddrs.map((sockaddr) => kernel.address(sockaddr));
    const upstream = upstreams.get(upstreamId);
    if (upstream && error === null) upstream.resolved = { addresses, until: now + RESOLVED_FOR_MS };
    for (const dial of waiting) {
      if (this.#dials.get(dial.client) !== dial || dial.isResting) continue;
      if (error !== null) this.#giveUp(dial, { text: error });
      else {
        dial.addresses = addresses;
        this.#tryNext(dial);
      }
    }
  }

  #tryNext(dial: Dial): void {
    const index = dial.next;
    const address = dial.addresses[index];
    if (address === undefined) return;
    dial.next++;
    dial.wakeAt = Infinity;
    const result = this.#connect(dial, address, index);
    if (result === 0) return;
    if (result === -EAGAIN || SHORTAGES.includes(-result)) return this.#tryAgain(dial, result);
    this.#failed(dial, index, -result);
  }

  /** The same address once more, as soon as there may be room. */
  #tryAgain(dial: Dial, result: number): void {
    dial.next--;
    dial.wakeAt = this.#thread.now + (result === -EAGAIN ? dial.fullQueuePauseMs : SHORTAGE_PAUSE_MS);
    dial.fullQueuePauseMs = Math.min(2 * dial.fullQueuePauseMs, FULL_QUEUE_PAUSE_MS.longest);
    this.#due(dial.wakeAt);
  }

  /** Start to connect. Returns 0 when that is under way or done already, else the negative errno. */
  #connect(dial: Dial, address: Address, index: number): number {
    const { legs } = this.#thread;
    const fd = startConnect(this.#thread, address, { upstream: dial.upstream, firstFlight: this.#firstFlight });
    if (fd < 0) return fd;
    if (!legs.has(fd, CONNECTING)) {
      this.#connected(dial, fd);
      return 0;
    }
    // Until it is connected, only this leg knows the other: the client may have several.
    legs.setOther(fd, dial.client);
    dial.tries.push({ fd, address: index });
    if (dial.next < dial.addresses.length) {
      dial.wakeAt = this.#thread.now + HEAD_START_MS;
      this.#due(dial.wakeAt);
    }
    return 0;
  }

  /** An event of a connect under way. Returns whether the leg is connected now. */
  handle(fd: number, mask: number): boolean {
    const { kernel, legs } = this.#thread;
    const dial = this.#dials.get(legs.other(fd))!;
    if (mask & (EPOLLERR | EPOLLHUP)) {
      const index = dial.tries.find((each) => each.fd === fd)?.address ?? 0;
      const errno = kernel.takeError(fd);
      this.#closeTry(dial, fd);
      this.#failed(dial, index, errno || ECONNREFUSED);
      return false;
    }
    if (!(mask & EPOLLOUT)) return false;
    removeTry(dial, fd);
    this.#connected(dial, fd);
    return true;
  }

  #connected(dial: Dial, fd: number): void {
    const { legs } = this.#thread;
    const { client, upstream } = dial;
    this.#forget(dial);
    legs.clear(fd, CONNECTING);
    legs.pair(client, fd);
    if (!legs.has(fd, IS_UNIX)) {
      if (upstream.plan.keepAliveMs > 0) this.#keepAlive.add(fd, upstream.plan.keepAliveMs);
      this.#firstFlight.connected(fd);
    }
    this.#relay.begin(client);
  }

  #failed(dial: Dial, address: number, errno: number): void {
    dial.upstream.resolved = null;
    dial.failures = [...dial.failures, { address, errno }];
    if (dial.next < dial.addresses.length) return this.#tryNext(dial);
    if (dial.tries.length === 0) this.#attemptFailed(dial);
  }

  #attemptFailed(dial: Dial): void {
    const { now } = this.#thread;
    const isWorthIt = dial.failures.some(({ errno }) => errno === ECONNREFUSED || errno === ENOENT);
    if (!isWorthIt || now >= dial.retryUntil) return this.#giveUp(dial, { failures: dial.failures });
    dial.isResting = true;
    dial.deadline = Infinity;
    dial.wakeAt = Math.min(now + dial.pauseMs, dial.retryUntil);
    dial.pauseMs = Math.min(2 * dial.pauseMs, RETRY_PAUSE_MS.longest);
    this.#due(dial.wakeAt);
  }

  #giveUp(dial: Dial, reason: EndReason): void {
    this.#forget(dial);
    this.#thread.end(dial.client, { stage: 'dial', reason, reset: true });
  }

  /**
   * The client has ended. If the dial takes long, and it has sent nothing, it has given up; with data
   * in front of its end it may well wait for an answer.
   */
  clientEnded(client: number): void {
    const dial = this.#dials.get(client);
    if (!dial || dial.peekAt !== Infinity) return;
    dial.peekAt = this.#thread.now + GIVE_UP_AFTER_MS;
    this.#due(dial.peekAt);
  }

  #peek(dial: Dial): void {
    dial.peekAt = Infinity;
    if (this.#thread.kernel.peek(dial.client) === 0) this.#thread.end(dial.client, { stage: 'dial', reason: null, reset: true });
  }

  /** Stop dialling for a client; it is the caller's again. */
  abandon(client: number): void {
    const dial = this.#dials.get(client);
    if (dial) this.#forget(dial);
  }

  #forget(dial: Dial): void {
    this.#closeTries(dial);
    this.#dials.delete(dial.client);
    dial.upstream.counters.addDialing(-1);
  }

  #closeTries(dial: Dial): void {
    while (dial.tries.length > 0) this.#closeTry(dial, dial.tries[0]!.fd);
  }

  #closeTry(dial: Dial, fd: number): void {
    removeTry(dial, fd);
    this.#thread.legs.close(fd);
    this.#thread.kernel.close(fd);
  }

  #due(at: number): void {
    if (at < this.wakeAt) this.wakeAt = at;
  }

  /** Do what is due. */
  runDue(): void {
    const { now } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    for (const dial of this.#dials.values()) {
      if (now >= dial.peekAt) this.#peek(dial);
      else if (now >= dial.deadline) this.#timeOut(dial);
      else if (now >= dial.wakeAt) {
        if (dial.isResting) this.#attempt(dial);
        else this.#tryNext(dial);
      }
      if (this.#dials.get(dial.client) === dial) this.#due(Math.min(dial.deadline, dial.wakeAt, dial.peekAt));
    }
  }

  #timeOut(dial: Dial): void {
    const isUntried = dial.tries.length === 0 && dial.failures.length === 0;
    const late = isUntried ? [dial.next] : dial.tries.map(({ address }) => address);
    dial.failures = [...dial.failures, ...late.map((address) => ({ address, errno: OUT_OF_TIME }))];
    this.#closeTries(dial);
    dial.upstream.resolved = null;
    dial.next = dial.addresses.length;
    this.#attemptFailed(dial);
  }
}

function removeTry(dial: Dial, fd: number): void {
  if (dial.tries.length === 1 && dial.tries[0]!.fd === fd) dial.tries.pop();
  else dial.tries = dial.tries.filter((each) => each.fd !== fd);
}
