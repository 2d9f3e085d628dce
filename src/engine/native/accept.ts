/** Taking clients from listeners. */
import { EPOLLEXCLUSIVE, EPOLLIN } from './epoll-events.ts';
import { EAGAIN, ECONNABORTED, EINTR, EINVAL, EMFILE } from './errno.ts';
import { nextPause } from '../../waiting.ts';
import { ACCEPT_PAUSE_MS, errnosOf, SHORTAGES } from '../policy.ts';
import { Descriptors } from './descriptors.ts';
import { ConnectionCount } from './connection-count.ts';
import { KIND_LISTENER } from './connection-table.ts';
import type { FrontendPlan } from './thread-plans.ts';
import { CLOSED_ROUTE, Route } from './route.ts';
import { Admission } from '../admission/admission.ts';
import type { RefusalOfClient } from '../admission/admission.ts';
import { wordsOfSockaddr } from '../admission/address-key.ts';
import { Hold } from '../hold.ts';
import { Slots } from '../slots.ts';
import type { TotalSlots } from '../total-slots.ts';
import type { Thread, ThreadFrontend } from './thread.ts';
import { tuneClient } from './tune.ts';

/** Clients that are taken before open connections have their turn. */
const ACCEPTS_PER_TURN = 64;
/** Longest that a client may have waited in the queue of a listener before it was tuned. */
const TUNE_FOR_MS = 2000;
const SHORTAGE_ERRNOS = errnosOf(SHORTAGES);
/** In place of a client: it was accepted, and nothing could be done with it. */
const REFUSED = -(1 << 20);

/** Accepts on the listeners of one thread, as many clients as there are descriptors and places for. The mirror image of Dialer. */
export class Acceptor {
  readonly #thread: Thread;
  readonly #descriptors: Descriptors;
  /** Frontends by the descriptor of their listener. */
  readonly #byFd = new Map<number, ThreadFrontend>();
  /** When `runDue` has something to do. */
  wakeAt = Infinity;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#descriptors = new Descriptors(thread.kernel, thread.table);
  }

  /** Begin to accept, if the frontend has a listener. */
  open(plan: FrontendPlan): void {
    const { frontends, kernel, now } = this.#thread;
    const { id, fd, isUnix } = plan;
    const slots = plan.slots && new Slots(plan.slots);
    const admission = plan.admission && new Admission(plan.admission);
    const frontend: ThreadFrontend = {
      plan,
      route: new Route(plan.route),
      slots,
      waitsForTotal: false,
      admission,
      hold: plan.hold && { id: plan.hold.id, state: new Hold(plan.hold) },
      connections: new ConnectionCount(plan.connections),
      elsewhere: 0,
      isWatched: false,
      burst: 1,
      isClosed: false,
      resumeAt: 0,
      pauseMs: 0,
      tuneUntil: 0,
      nextLookAt: 0,
    };
    frontends.set(id, frontend);
    if (fd === -1) return;
    this.#byFd.set(fd, frontend);
    if (!isUnix) tuneClient(kernel, fd);
    frontend.tuneUntil = now + TUNE_FOR_MS;
    this.#watch(frontend);
  }

  /** Accept no more, and say so. Its connections still count for it. */
  close(id: number): void {
    const { frontends } = this.#thread;
    const frontend = frontends.get(id);
    if (!frontend) return;
    this.#unwatch(frontend);
    this.#byFd.delete(frontend.plan.fd);
    frontend.resumeAt = 0;
    frontend.isClosed = true;
    this.#endWaitForTotal(frontend);
    this.#thread.send({ type: 'frontend-closed', frontend: id });
    // A place that became free before this was heard of is another's.
    if (frontend.slots && !isFull(frontend)) this.#thread.send({ type: 'room', frontend: id });
    this.forgetIfDone(frontend);
  }

  /** Handshakes of clients to come are made with another SSL_CTX. */
  setContext(id: number, context: number): void {
    const frontend = this.#thread.frontends.get(id);
    if (frontend?.plan.tls) frontend.plan = { ...frontend.plan, tls: { ...frontend.plan.tls, context } };
  }

  /** A closed frontend is remembered for its last connection. */
  forgetIfDone({ plan, isClosed, connections }: ThreadFrontend): void {
    if (!isClosed || connections.here > 0) return;
    if (this.#thread.frontends.delete(plan.id)) this.#thread.send({ type: 'frontend-forgotten', frontend: plan.id });
  }

  #watch(frontend: ThreadFrontend): void {
    const { kernel, table, number } = this.#thread;
    if (frontend.isWatched) return;
    const { fd } = frontend.plan;
    // Level-triggered, and of all threads that wait one is woken.
    const watched = kernel.watch(fd, EPOLLIN | EPOLLEXCLUSIVE, table.open(fd, number, KIND_LISTENER));
    if (watched < 0) return this.#pause(frontend, -watched);
    frontend.isWatched = true;
  }

  #unwatch(frontend: ThreadFrontend): void {
    const { kernel, table } = this.#thread;
    if (!frontend.isWatched) return;
    kernel.unwatch(frontend.plan.fd);
    table.close(frontend.plan.fd);
    frontend.isWatched = false;
  }

  /**
   * Somebody else who accepted on the same socket does so no more. Of each client the kernel tells one of those that
   * watch a socket so (EPOLLEXCLUSIVE), and that may have been the other; who begins to watch is told of all that wait.
   */
  lookInQueue(id: number): void {
    const frontend = this.#thread.frontends.get(id);
    if (!frontend?.isWatched) return;
    this.#unwatch(frontend);
    this.#watch(frontend);
  }

  /** Clients wait in the queue of a listener. */
  handle(fd: number): void {
    const frontend = this.#byFd.get(fd);
    if (!frontend) return;
    const { total } = this.#thread;
    this.#descriptors.look(this.#thread.now);
    for (let accepts = 0; accepts < frontend.burst; accepts++) {
      if (isFull(frontend)) return this.#unwatch(frontend);
      if (total !== null) {
        // How many of a rule are in other processes is said before places become free for it.
        if (total.isShort) this.#thread.readMailbox();
        if (frontend.isClosed) return;
        if (!total.tryTake(countOf(frontend))) return this.#waitForTotal(frontend, total);
      }
      const client = this.#accept(frontend);
      if (client < 0 && total !== null) this.#leaveTotal(total);
      if (client === -EAGAIN) return void (frontend.burst = Math.max(1, frontend.burst >> 1));
      if (client === CLOSED_ROUTE) return;
      if (client === -ECONNABORTED || client === -EINTR) continue;
      if (SHORTAGE_ERRNOS.includes(-client)) return this.#pause(frontend, -client);
      // Somebody who has the socket too shut it down: it says so for ever, and nobody will come.
      if (client === -EINVAL) return this.#unwatch(frontend);
      // Errors of the network that accept(2) passes on concern that client alone.
      if (client < 0) continue;
      this.#admit(frontend, client);
      if (total?.isToBeToldOf) this.#thread.send({ type: 'total-full' });
      if (frontend.resumeAt > 0) return;
    }
    // The queue may hold more, of which the next wait tells.
    frontend.burst = Math.min(2 * frontend.burst, ACCEPTS_PER_TURN);
  }

  /** One client, counted for its upstream, which is in `#upstream`; or the negative errno; or CLOSED_ROUTE; or REFUSED. */
  #accept(frontend: ThreadFrontend): number {
    const { kernel, number } = this.#thread;
    const { plan, route } = frontend;
    route.raise(number);
    const before = route.upstream;
    const client = before === CLOSED_ROUTE ? CLOSED_ROUTE : this.#count(kernel.accept(plan.fd), before, frontend);
    route.lower(number);
    return client;
  }

  /** Count a client before the flag goes down: whoever waits for that finds it in the books. */
  #count(client: number, before: number, frontend: ThreadFrontend): number {
    if (client < 0) return client;
    const { kernel, table, upstreams } = this.#thread;
    const after = frontend.route.upstreamFor(kernel.peer);
    this.#upstream = after === CLOSED_ROUTE ? before : after;
    // A route holds at once, and may be faster than the message that tells of its upstream.
    if (!upstreams.has(this.#upstream)) this.#thread.readMailbox();
    const upstream = upstreams.get(this.#upstream);
    if (!upstream || !table.fits(client)) {
      kernel.closeWithReset(client);
      return REFUSED;
    }
    // Where a header says who it is, it is asked for then.
    const { header } = frontend.plan;
    const refusal = header === null && frontend.admission ? this.#refusalOf(client, frontend.admission) : null;
    if (refusal !== null) {
      kernel.closeWithReset(client);
      upstream.counters.countRefused(refusal);
      return REFUSED;
    }
    upstream.counters.countOpened();
    return client;
  }

  #refusalOf(client: number, admission: Admission): RefusalOfClient | null {
    const { kernel } = this.#thread;
    const words = wordsOfSockaddr(kernel.peer);
    return admission.admit(words === null ? { words, user: kernel.peerUser(client) } : { words });
  }

  #upstream = CLOSED_ROUTE;

  #admit(frontend: ThreadFrontend, client: number): void {
    if (frontend.tuneUntil > 0 && !frontend.plan.isUnix) this.#tuneEarly(frontend, client);
    if (frontend.pauseMs > 0) {
      frontend.pauseMs = 0;
      this.#thread.send({ type: 'resumed', frontend: frontend.plan.id });
    }
    const isOpen = this.#thread.admit(client, frontend, this.#upstream);
    // Here, where its upstream still gets a descriptor, and not when accept(2) fails for want of one.
    if (isOpen && this.#descriptors.isLastFor(client, frontend.connections.all)) this.#pause(frontend, EMFILE);
  }

  /** Clients that were in the queue before the listener was tuned have nothing from it. */
  #tuneEarly(frontend: ThreadFrontend, client: number): void {
    tuneClient(this.#thread.kernel, client);
    if (this.#thread.now > frontend.tuneUntil) frontend.tuneUntil = 0;
  }

  /** There is no place for one more: be told of one, and look once more, since one may have become free meanwhile. */
  #waitForTotal(frontend: ThreadFrontend, total: TotalSlots): void {
    this.#unwatch(frontend);
    frontend.waitsForTotal = true;
    total.beginWait();
    this.#watchIfRoom(frontend);
  }

  #endWaitForTotal(frontend: ThreadFrontend): void {
    if (!frontend.waitsForTotal) return;
    frontend.waitsForTotal = false;
    this.#thread.total?.endWait();
  }

  /** A place of all connections is free: for who waits here, and for who waits elsewhere, of whom the main thread knows. */
  #leaveTotal(total: TotalSlots, left?: number): void {
    if (!total.release(1, left) || !total.isWaitedFor) return;
    this.lookForRoomInTotal();
    if (total.isWaitedFor) this.#thread.send({ type: 'room-in-total' });
  }

  /** There may be room among the places of all connections. */
  lookForRoomInTotal(): void {
    for (const frontend of this.#byFd.values()) if (frontend.waitsForTotal) this.#watchIfRoom(frontend);
  }

  /** So many connections of its source are other processes'. */
  countElsewhere(id: number, count: number): void {
    const frontend = this.#thread.frontends.get(id);
    if (!frontend) return;
    frontend.elsewhere = count;
    this.#watchIfRoom(frontend);
  }

  /** A connection of a frontend has ended. */
  left(frontend: ThreadFrontend): void {
    frontend.connections.leave();
    const { total } = this.#thread;
    if (total !== null) this.#leaveTotal(total, countOf(frontend));
    const madeRoom = frontend.slots?.release() ?? false;
    if (madeRoom && (frontend.isClosed || frontend.plan.fd === -1))
      this.#thread.send({ type: 'room', frontend: frontend.plan.id });
    this.forgetIfDone(frontend);
    if (frontend.resumeAt > 0) this.#ease(frontend);
    this.#watchIfRoom(frontend);
  }

  /** A place of a frontend became free elsewhere. */
  lookForRoom(id: number): void {
    const frontend = this.#thread.frontends.get(id);
    if (frontend) this.#watchIfRoom(frontend);
  }

  #watchIfRoom(frontend: ThreadFrontend): void {
    const { total } = this.#thread;
    if (
      !frontend.isWatched &&
      !frontend.isClosed &&
      frontend.plan.fd !== -1 &&
      frontend.resumeAt === 0 &&
      !isFull(frontend) &&
      (!frontend.waitsForTotal || total?.hasRoomFor(countOf(frontend)))
    ) {
      this.#endWaitForTotal(frontend);
      this.#watch(frontend);
    }
  }

  #pause(frontend: ThreadFrontend, errno: number): void {
    const { now } = this.#thread;
    this.#unwatch(frontend);
    frontend.pauseMs = nextPause(frontend.pauseMs, ACCEPT_PAUSE_MS);
    frontend.resumeAt = now + frontend.pauseMs;
    this.wakeAt = Math.min(this.wakeAt, frontend.resumeAt);
    this.#thread.send({ type: 'paused', frontend: frontend.plan.id, errno, retryInMs: frontend.pauseMs });
  }

  /** Accept again where a pause is over. */
  runDue(): void {
    const { now, frontends } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    for (const frontend of frontends.values()) {
      if (frontend.resumeAt === 0) continue;
      if (now >= frontend.resumeAt) this.#tryAgain(frontend);
      if (frontend.resumeAt > 0) this.wakeAt = Math.min(this.wakeAt, frontend.resumeAt);
    }
  }

  #tryAgain(frontend: ThreadFrontend): void {
    this.#descriptors.look(this.#thread.now);
    if (this.#descriptors.hasRoomFor(frontend.connections.all)) {
      frontend.resumeAt = 0;
      this.#watch(frontend);
    } else {
      frontend.pauseMs = nextPause(frontend.pauseMs, ACCEPT_PAUSE_MS);
      frontend.resumeAt = this.#thread.now + frontend.pauseMs;
    }
  }

  /** A connection ended: there may be room now. */
  #ease(frontend: ThreadFrontend): void {
    frontend.pauseMs = ACCEPT_PAUSE_MS.first;
    frontend.resumeAt = Math.min(frontend.resumeAt, this.#thread.now + ACCEPT_PAUSE_MS.first);
    this.wakeAt = Math.min(this.wakeAt, frontend.resumeAt);
  }
}

function isFull({ slots, hold }: ThreadFrontend): boolean {
  return (slots !== null && slots.isFull) || (hold !== null && hold.state.isFull);
}

/** Connections of its source, in all threads and as far as is known in other processes: threads that decide by it decide alike. */
function countOf({ connections, elsewhere }: ThreadFrontend): number {
  return connections.all + elsewhere;
}
