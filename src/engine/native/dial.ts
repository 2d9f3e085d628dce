/** Connecting accepted clients to their destination. The mirror image of accept.ts. */
import { nextPause } from '../../waiting.ts';
import { FULL_QUEUE_PAUSE_MS, RETRY_PAUSE_MS, SHORTAGE_PAUSE_MS } from '../policy.ts';
import type { DialAge } from '../transfer.ts';
import { isConnectedToItself, lackOf, startConnect } from './connect.ts';
import type { DialLookups } from './dial-lookups.ts';
import type { FirstFlight } from './first-flight.ts';
import { EPOLLERR, EPOLLHUP, EPOLLOUT } from './epoll-events.ts';
import { EAGAIN, ECONNREFUSED } from './errno.ts';
import type { PinnedAddress } from './kernel.ts';
import { CONNECTING } from './connection-table.ts';
import {
  beginAttempt,
  headStartMs,
  lateAttempts,
  mayPass,
  nextIndex,
  openDial,
  reasonOf,
  removeTry,
  setAddresses,
  whyGivenUp,
} from './dial-state.ts';
import type { Dial } from './dial-state.ts';
import { describeHandshakeFailure, describeLateLookup } from '../words.ts';
import type { Resolved } from './messages.ts';
import type { ResolvedAddresses, Thread } from './thread.ts';
import type { TlsFailure } from './tls/originate.ts';
import type { TlsCodec } from './tls/codec.ts';
import type { SslCodec } from './tls/ssl-codec.ts';
import type { UpstreamHandshakes } from './upstream-handshake.ts';
import { wayOf } from './way.ts';

type Others = { firstFlight: FirstFlight; lookups: DialLookups; handshakes: UpstreamHandshakes };

/** Dials for the clients of one thread: all addresses in turn, again where that is wanted, until the time is up. The mirror image of Acceptor. */
export class Dialer {
  readonly #thread: Thread;
  readonly #firstFlight: FirstFlight;
  readonly #lookups: DialLookups;
  readonly #handshakes: UpstreamHandshakes;
  /** By the descriptor of the client. */
  readonly #dials = new Map<number, Dial>();
  /** When `runDue` has something to do, at the earliest. */
  wakeAt = Infinity;

  constructor(thread: Thread, { firstFlight, lookups, handshakes }: Others) {
    this.#thread = thread;
    this.#firstFlight = firstFlight;
    this.#lookups = lookups;
    this.#handshakes = handshakes;
  }

  /**
   * Connect a client that was accepted; its row is filled in, its upstream counts it. `age`: another
   * process has tried for so long.
   */
  begin(client: number, age: DialAge | null = null): void {
    const { now } = this.#thread;
    const upstream = wayOf(this.#thread, client);
    const dial = openDial(client, upstream, { now, sinceMs: age?.sinceMs ?? 0 });
    this.#dials.set(client, dial);
    upstream.counters.addDialing(1);
    this.#attempt(dial, age?.attemptMs);
  }

  /** How long it has been since a dial began and since its attempt did; null: this client is not being dialled for. */
  ageOf(client: number): DialAge | null {
    const dial = this.#dials.get(client);
    const { now } = this.#thread;
    return dial ? { sinceMs: now - dial.beganAt, attemptMs: dial.isResting ? 0 : now - dial.attemptAt } : null;
  }

  #attempt(dial: Dial, agedMs = 0): void {
    const { now } = this.#thread;
    const { fixed, resolved } = dial.upstream;
    const known = fixed ?? resolved;
    beginAttempt(dial, now - agedMs);
    this.#due(dial.deadline);
    if (known !== null && now < known.until) return this.#tryAddresses(dial, known);
    dial.addresses = [];
    this.#lookups.enter(dial);
  }

  /** The addresses of a name have come. */
  resolved(resolved: Resolved): void {
    const { dials, addresses } = this.#lookups.take(resolved);
    const { failure } = resolved;
    for (const dial of dials) {
      if (this.#dials.get(dial.client) !== dial || dial.isResting) continue;
      dial.lookupFailure = failure;
      if (failure !== null) this.#attemptFailed(dial);
      else this.#tryAddresses(dial, addresses);
    }
  }

  #tryAddresses(dial: Dial, addresses: ResolvedAddresses): void {
    setAddresses(dial, addresses);
    this.#tryNext(dial);
  }

  #tryNext(dial: Dial): void {
    const index = nextIndex(dial);
    const address = dial.addresses[index];
    if (address === undefined) return;
    dial.next++;
    dial.wakeAt = Infinity;
    const result = this.#connect(dial, address, index);
    dial.lack = null;
    if (result === 0) return;
    if (result === -EAGAIN) return this.#tryAgain(dial, dial.fullQueuePauseMs);
    dial.lack = lackOf(-result, address, dial.upstream);
    if (dial.lack !== null) return this.#tryAgain(dial, SHORTAGE_PAUSE_MS);
    this.#failed(dial, index, -result);
  }

  /** The same address once more, as soon as there may be room. */
  #tryAgain(dial: Dial, pauseMs: number): void {
    dial.next--;
    dial.wakeAt = this.#thread.now + pauseMs;
    dial.fullQueuePauseMs = nextPause(dial.fullQueuePauseMs, FULL_QUEUE_PAUSE_MS);
    this.#due(dial.wakeAt);
  }

  /** Start to connect. Returns 0 when that is under way or done already, else the negative errno. */
  #connect(dial: Dial, address: PinnedAddress, index: number): number {
    const { table } = this.#thread;
    const fd = startConnect(this.#thread, address, { upstream: dial.upstream, firstFlight: this.#firstFlight });
    if (fd < 0) return fd;
    if (!table.has(fd, CONNECTING)) {
      if (isConnectedToItself(this.#thread, fd, address, dial.upstream)) {
        table.close(fd);
        this.#thread.kernel.closeWithReset(fd);
        return -ECONNREFUSED;
      }
      this.#connected(dial, fd, index);
      return 0;
    }
    // Until it is connected, only this leg knows the other: the client may have several.
    table.setOther(fd, dial.client);
    dial.tries.push({ fd, address: index });
    if (dial.next < dial.addresses.length) {
      dial.wakeAt = this.#thread.now + headStartMs(dial);
      this.#due(dial.wakeAt);
    }
    return 0;
  }

  /** An event of a connect under way. Returns whether the leg is connected now. */
  handle(fd: number, mask: number): boolean {
    const { kernel, table } = this.#thread;
    const dial = this.#dials.get(table.other(fd))!;
    const index = dial.tries.find((each) => each.fd === fd)?.address ?? 0;
    const address = dial.addresses[index]!;
    const isSelf = (mask & EPOLLOUT) !== 0 && isConnectedToItself(this.#thread, fd, address, dial.upstream);
    if (isSelf || mask & (EPOLLERR | EPOLLHUP)) {
      const errno = isSelf ? ECONNREFUSED : kernel.takeError(fd);
      this.#closeTry(dial, fd, { reset: isSelf });
      this.#failed(dial, index, errno || ECONNREFUSED);
      return false;
    }
    if (!(mask & EPOLLOUT)) return false;
    removeTry(dial, fd);
    this.#connected(dial, fd, index);
    return dial.upstream.plan.tls === null;
  }

  #connected(dial: Dial, fd: number, index: number): void {
    this.#thread.table.clear(fd, CONNECTING);
    dial.upstream.answeredLast = dial.addresses[index]!;
    if (dial.upstream.plan.tls === null) this.#succeeded(dial, fd, null);
    else this.#shake(dial, fd, index);
  }

  /** Shake hands. What else is being connected is not needed. */
  #shake(dial: Dial, fd: number, index: number): void {
    this.#closeTries(dial);
    dial.next = dial.addresses.length;
    dial.wakeAt = Infinity;
    const result = this.#handshakes.begin(dial, { fd, address: index });
    if (result < 0) this.#failed(dial, index, -result);
  }

  /** A leg has come back from its handshake. */
  shaken(fd: number): void {
    const dial = this.#dials.get(this.#thread.table.other(fd));
    const originated = this.#handshakes.take(fd, dial);
    if (originated === null || dial === undefined) return;
    if ('codec' in originated) this.#succeeded(dial, fd, originated.codec);
    else this.#refused(dial, originated.failure);
  }

  #refused(dial: Dial, failure: TlsFailure): void {
    this.#doubt(dial);
    dial.tlsFailure = failure;
    this.#attemptFailed(dial);
  }

  /** The thread of handshakes is gone, and with it what it was doing. */
  endHandshakes(): void {
    this.#handshakes.close();
    const failure = { text: describeHandshakeFailure('its thread has ended'), isPassing: false };
    for (const dial of this.#dials.values()) {
      if (dial.shaking === null) continue;
      dial.shaking = null;
      this.#refused(dial, failure);
    }
  }

  #succeeded(dial: Dial, fd: number, codec: TlsCodec | SslCodec | null): void {
    const { table } = this.#thread;
    const { client, upstream } = dial;
    if (codec !== null) upstream.counters.tally.countHandshake('upstream', codec);
    const connectMs = this.#thread.now - dial.beganAt;
    upstream.counters.tally.countConnect(connectMs);
    table.setConnectMs(fd, connectMs);
    this.#forget(dial);
    this.#thread.pair(client, fd, codec);
  }

  #failed(dial: Dial, address: number, errno: number): void {
    this.#doubt(dial);
    dial.failures = [...dial.failures, { address, errno }];
    if (dial.next < dial.addresses.length) return this.#tryNext(dial);
    if (dial.tries.length === 0) this.#attemptFailed(dial);
  }

  /** A name may mean something else by now. Of a service that is known, and another target is tried. */
  #doubt({ upstream, order }: Dial): void {
    if (order === null) upstream.resolved = null;
  }

  #attemptFailed(dial: Dial): void {
    const { now } = this.#thread;
    if (!mayPass(dial) || now >= dial.retryUntil) return this.#giveUp(dial);
    dial.isResting = true;
    dial.deadline = Infinity;
    dial.wakeAt = Math.min(now + dial.pauseMs, dial.retryUntil);
    dial.pauseMs = nextPause(dial.pauseMs, RETRY_PAUSE_MS);
    this.#due(dial.wakeAt);
  }

  #giveUp(dial: Dial): void {
    this.#forget(dial);
    const why = whyGivenUp(dial);
    if (why === 'dial-tls-failed') dial.upstream.counters.tally.countHandshake('upstream', null);
    this.#thread.end(dial.client, { stage: 'dial', why, reason: reasonOf(dial), reset: true });
  }

  /** Stop dialling for a client; it is the caller's again. With `reset` whoever has accepted already sees one, and no end without a word. */
  abandon(client: number, { reset = false }: { reset?: boolean } = {}): void {
    const dial = this.#dials.get(client);
    if (!dial) return;
    this.#closeTries(dial, { reset });
    this.#forget(dial);
  }

  #forget(dial: Dial): void {
    this.#lookups.leave(dial);
    this.#closeTries(dial);
    this.#handshakes.leave(dial);
    this.#dials.delete(dial.client);
    dial.upstream.counters.addDialing(-1);
  }

  #closeTries(dial: Dial, options?: { reset: boolean }): void {
    while (dial.tries.length > 0) this.#closeTry(dial, dial.tries[0]!.fd, options);
  }

  #closeTry(dial: Dial, fd: number, { reset = false }: { reset?: boolean } = {}): void {
    const { table, kernel } = this.#thread;
    removeTry(dial, fd);
    table.close(fd);
    if (reset) kernel.closeWithReset(fd);
    else kernel.close(fd);
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
      if (now >= dial.deadline) this.#timeOut(dial);
      else if (now >= dial.wakeAt) {
        if (dial.isResting) this.#attempt(dial);
        else this.#tryNext(dial);
      }
      if (this.#dials.get(dial.client) === dial) this.#due(Math.min(dial.deadline, dial.wakeAt));
    }
  }

  #timeOut(dial: Dial): void {
    if (this.#lookups.has(dial)) {
      this.#lookups.leave(dial);
      dial.lookupFailure = { text: describeLateLookup(dial.upstream.plan.timeoutMs / 1000), isPassing: true };
      return this.#attemptFailed(dial);
    }
    dial.failures = [...dial.failures, ...lateAttempts(dial)];
    this.#closeTries(dial);
    this.#handshakes.leave(dial);
    this.#doubt(dial);
    dial.next = dial.addresses.length;
    this.#attemptFailed(dial);
  }
}
