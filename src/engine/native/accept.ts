/** Taking clients from listeners. */
import { EAGAIN, ECONNABORTED, EINTR, EINVAL, EMFILE, EPOLLEXCLUSIVE, EPOLLIN } from './kernel.ts';
import { ACCEPT_PAUSE_MS, errnosOf, nextPause, SHORTAGES } from '../policy.ts';
import { Descriptors } from './descriptors.ts';
import { IS_UNIX, KIND_CLIENT, KIND_LISTENER } from './legs.ts';
import type { Dialer } from './dial.ts';
import { CLOSED_ROUTE } from './route.ts';
import type { Route } from './route.ts';
import { readPeer } from './peer.ts';
import { TCP_EVENTS, UNIX_EVENTS } from './relay.ts';
import type { Thread, ThreadEntrance } from './thread.ts';
import { tuneClient } from './tune.ts';

/** Clients that are taken before open connections have their turn. */
const ACCEPTS_PER_TURN = 64;
/** Longest that a client may have waited in the queue of a listener before it was tuned. */
const TUNE_FOR_MS = 2000;
const SHORTAGE_ERRNOS = errnosOf(SHORTAGES);
/** In place of a client: it was accepted, and nothing could be done with it. */
const REFUSED = -(1 << 20);

export class Acceptor {
  readonly #thread: Thread;
  readonly #dialer: Dialer;
  readonly #descriptors: Descriptors;
  /** Entrances by the descriptor of their listener. */
  readonly #byFd = new Map<number, ThreadEntrance>();
  /** When `runDue` has something to do. */
  wakeAt = Infinity;

  constructor(thread: Thread, { dialer }: { dialer: Dialer }) {
    this.#thread = thread;
    this.#dialer = dialer;
    this.#descriptors = new Descriptors(thread.kernel, thread.legs);
  }

  open(entrance: ThreadEntrance): void {
    const { entrances, kernel, now } = this.#thread;
    const { id, fd, isUnix } = entrance.plan;
    entrances.set(id, entrance);
    if (fd === -1) return;
    this.#byFd.set(fd, entrance);
    if (!isUnix) tuneClient(kernel, fd);
    entrance.tuneUntil = now + TUNE_FOR_MS;
    this.#watch(entrance);
  }

  /** Accept no more, and say so. Its connections still count for it. */
  close(id: number): void {
    const { entrances } = this.#thread;
    const entrance = entrances.get(id);
    if (!entrance) return;
    this.#unwatch(entrance);
    this.#byFd.delete(entrance.plan.fd);
    entrance.resumeAt = 0;
    entrance.isClosed = true;
    this.#thread.say({ said: 'entrance-closed', entrance: id });
    // A place that became free before this was heard of is another's.
    if (entrance.seats && !isFull(entrance)) this.#thread.say({ said: 'room', entrance: id });
    this.forgetIfDone(entrance);
  }

  /** A closed entrance is remembered for its last connection. */
  forgetIfDone({ plan, isClosed, connections }: ThreadEntrance): void {
    if (!isClosed || connections > 0) return;
    if (this.#thread.entrances.delete(plan.id)) this.#thread.say({ said: 'entrance-forgotten', entrance: plan.id });
  }

  #watch(entrance: ThreadEntrance): void {
    const { kernel, legs, number } = this.#thread;
    if (entrance.isWatched) return;
    const { fd } = entrance.plan;
    // Level-triggered, and of all threads that wait one is woken.
    const watched = kernel.watch(fd, EPOLLIN | EPOLLEXCLUSIVE, legs.open(fd, number, KIND_LISTENER));
    if (watched < 0) return this.#pause(entrance, -watched);
    entrance.isWatched = true;
  }

  #unwatch(entrance: ThreadEntrance): void {
    const { kernel, legs } = this.#thread;
    if (!entrance.isWatched) return;
    kernel.unwatch(entrance.plan.fd);
    legs.close(entrance.plan.fd);
    entrance.isWatched = false;
  }

  /** Clients wait in the queue of a listener. */
  handle(fd: number): void {
    const entrance = this.#byFd.get(fd);
    if (!entrance) return;
    for (let accepts = 0; accepts < entrance.burst; accepts++) {
      if (isFull(entrance)) return this.#unwatch(entrance);
      const client = this.#accept(entrance);
      if (client === -EAGAIN) return void (entrance.burst = Math.max(1, entrance.burst >> 1));
      if (client === CLOSED_ROUTE) return;
      if (client === -ECONNABORTED || client === -EINTR) continue;
      if (SHORTAGE_ERRNOS.includes(-client)) return this.#pause(entrance, -client);
      // Somebody who has the socket too shut it down: it says so for ever, and nobody will come.
      if (client === -EINVAL) return this.#unwatch(entrance);
      // Errors of the network that accept(2) passes on concern that client alone.
      if (client < 0) continue;
      this.#admit(entrance, client);
      if (entrance.resumeAt > 0) return;
    }
    // The queue may hold more, of which the next wait tells.
    entrance.burst = Math.min(2 * entrance.burst, ACCEPTS_PER_TURN);
  }

  /** One client, counted for its upstream, which is in `#upstream`; or the negative errno; or CLOSED_ROUTE; or REFUSED. */
  #accept({ plan, route }: ThreadEntrance): number {
    const { kernel, number } = this.#thread;
    route.raise(number);
    const before = route.upstream;
    const client = before === CLOSED_ROUTE ? CLOSED_ROUTE : this.#count(kernel.accept(plan.fd), before, route);
    route.lower(number);
    return client;
  }

  /** Count a client before the flag goes down: whoever waits for that finds it in the books. */
  #count(client: number, before: number, route: Route): number {
    if (client < 0) return client;
    const { kernel, legs, upstreams } = this.#thread;
    const after = route.upstream;
    this.#upstream = after === CLOSED_ROUTE ? before : after;
    // A route holds at once, and may be faster than the message that tells of its upstream.
    if (!upstreams.has(this.#upstream)) this.#thread.obey();
    const upstream = upstreams.get(this.#upstream);
    if (!upstream || !legs.fits(client)) {
      kernel.closeWithReset(client);
      return REFUSED;
    }
    upstream.counters.countOpened();
    return client;
  }

  #upstream = CLOSED_ROUTE;

  #admit(entrance: ThreadEntrance, client: number): void {
    const { kernel, legs, number } = this.#thread;
    const { isUnix, id } = entrance.plan;
    const generation = legs.open(client, number, KIND_CLIENT | (isUnix ? IS_UNIX : 0));
    const watched = kernel.watch(client, isUnix ? UNIX_EVENTS : TCP_EVENTS, generation);
    if (entrance.tuneUntil > 0 && !isUnix) this.#tuneEarly(entrance, client);
    this.#thread.fdBound = Math.max(this.#thread.fdBound, client + 1);
    readPeer(this.#thread, client, kernel.peer);
    this.enter(client, { upstream: this.#upstream, entrance: id, startedMs: Date.now() });
    entrance.seats?.take();
    if (entrance.pauseMs > 0) {
      entrance.pauseMs = 0;
      this.#thread.say({ said: 'resumed', entrance: id });
    }
    if (watched < 0) return this.#thread.end(client, { stage: 'dial', reason: { failures: [{ address: -1, errno: -watched }] }, reset: true });
    this.#dialer.begin(client);
    // Here, where its upstream still gets a descriptor, and not when accept(2) fails for want of one.
    if (this.#descriptors.isLast(client)) this.#pause(entrance, EMFILE);
  }

  /** Clients that were in the queue before the listener was tuned have nothing from it. */
  #tuneEarly(entrance: ThreadEntrance, client: number): void {
    tuneClient(this.#thread.kernel, client);
    if (this.#thread.now > entrance.tuneUntil) entrance.tuneUntil = 0;
  }

  /** Note where a client belongs. Its place, if there is a limit, is the caller's to take. */
  enter(client: number, { upstream, entrance, startedMs }: { upstream: number; entrance: number; startedMs: number }): void {
    const { legs, entrances } = this.#thread;
    legs.assign(client, upstream, entrance);
    legs.setStarted(client, startedMs);
    const entered = entrances.get(entrance);
    if (entered) entered.connections++;
  }

  /** A connection of an entrance has ended. */
  left(entrance: ThreadEntrance): void {
    entrance.connections--;
    const madeRoom = entrance.seats?.release() ?? false;
    if (madeRoom && (entrance.isClosed || entrance.plan.fd === -1)) this.#thread.say({ said: 'room', entrance: entrance.plan.id });
    this.forgetIfDone(entrance);
    if (entrance.resumeAt > 0) this.#ease(entrance);
    this.#watchIfRoom(entrance);
  }

  /** A place of an entrance became free elsewhere. */
  lookForRoom(id: number): void {
    const entrance = this.#thread.entrances.get(id);
    if (entrance) this.#watchIfRoom(entrance);
  }

  #watchIfRoom(entrance: ThreadEntrance): void {
    if (!entrance.isWatched && !entrance.isClosed && entrance.plan.fd !== -1 && entrance.resumeAt === 0 && !isFull(entrance)) this.#watch(entrance);
  }

  #pause(entrance: ThreadEntrance, errno: number): void {
    const { now } = this.#thread;
    this.#unwatch(entrance);
    entrance.pauseMs = nextPause(entrance.pauseMs, ACCEPT_PAUSE_MS);
    entrance.resumeAt = now + entrance.pauseMs;
    this.wakeAt = Math.min(this.wakeAt, entrance.resumeAt);
    this.#thread.say({ said: 'paused', entrance: entrance.plan.id, errno, retryInMs: entrance.pauseMs });
  }

  /** Accept again where a pause is over. */
  runDue(): void {
    const { now, entrances } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    for (const entrance of entrances.values()) {
      if (entrance.resumeAt === 0) continue;
      if (now >= entrance.resumeAt) this.#tryAgain(entrance);
      if (entrance.resumeAt > 0) this.wakeAt = Math.min(this.wakeAt, entrance.resumeAt);
    }
  }

  #tryAgain(entrance: ThreadEntrance): void {
    if (this.#descriptors.hasRoom()) {
      entrance.resumeAt = 0;
      this.#watch(entrance);
    } else {
      entrance.pauseMs = nextPause(entrance.pauseMs, ACCEPT_PAUSE_MS);
      entrance.resumeAt = this.#thread.now + entrance.pauseMs;
    }
  }

  /** A connection ended: there may be room now. */
  #ease(entrance: ThreadEntrance): void {
    entrance.pauseMs = ACCEPT_PAUSE_MS.first;
    entrance.resumeAt = Math.min(entrance.resumeAt, this.#thread.now + ACCEPT_PAUSE_MS.first);
    this.wakeAt = Math.min(this.wakeAt, entrance.resumeAt);
  }
}

function isFull({ seats }: ThreadEntrance): boolean {
  return seats !== null && seats.isFull;
}
