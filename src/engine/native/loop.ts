/** One thread's life: wait for events, give each to whom it concerns, do what time has made due. */
import type { MessagePort } from 'node:worker_threads';
import { receiveMessageOnPort } from 'node:worker_threads';
import { collectGarbage } from '../../sys/garbage.ts';
import { Acceptor } from './accept.ts';
import { Seats } from '../seats.ts';
import { Counters } from './counters.ts';
import { Dialer } from './dial.ts';
import { FirstFlight, UNKNOWN_EAGERNESS } from './first-flight.ts';
import { Freezer } from './freeze.ts';
import { IdleWatch } from './idle.ts';
import { EINTR, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLRDHUP, openKernel } from './kernel.ts';
import { CONNECTING, DOOMED, FROZEN, IS_UNIX, KIND_CLIENT, KIND_LISTENER, KIND_OWN, Legs, READABLE, READ_TO_END } from './legs.ts';
import type { Command, EndReport, Report, ThreadData } from './messages.ts';
import { forgetPeer, peerOf } from './peer.ts';
import { Pulse } from './pulse.ts';
import { Relay } from './relay.ts';
import { Route } from './route.ts';
import type { EndOptions, Thread } from './thread.ts';
import { KeepAlive } from './tune.ts';

/** Longest wait. Whoever wants something of a thread wakes it; this is for a wake-up that was lost. */
const LONGEST_WAIT_MS = 60_000;

export class Loop {
  readonly #port: MessagePort;
  readonly #wakeFd: number;
  readonly #pulse: Pulse;
  readonly #thread: Thread;
  readonly #relay: Relay;
  readonly #keepAlive: KeepAlive;
  readonly #firstFlight: FirstFlight;
  readonly #dialer: Dialer;
  readonly #acceptor: Acceptor;
  readonly #freezer: Freezer;
  readonly #idle: IdleWatch;
  /** Connections that ended since the thread last waited. */
  #ends: EndReport[] = [];
  #isStopped = false;

  constructor({ number, legs, port, wakeFd, pulse }: ThreadData) {
    const kernel = openKernel();
    // Before anything can go wrong: of a thread that dies, what is noted there is closed.
    const noted = new Legs(legs);
    noted.open(kernel.epollFd, number, KIND_OWN);
    this.#port = port;
    this.#wakeFd = wakeFd;
    this.#pulse = new Pulse(pulse);
    this.#thread = {
      number,
      kernel,
      legs: noted,
      upstreams: new Map(),
      entrances: new Map(),
      ipv6Peers: new Map(),
      now: performance.now(),
      fdBound: 0,
      say: (report) => this.#say(report),
      obey: () => this.#obey(),
      end: (client, options) => this.#end(client, options),
    };
    this.#relay = new Relay(this.#thread);
    this.#keepAlive = new KeepAlive(this.#thread);
    this.#firstFlight = new FirstFlight(this.#thread);
    this.#dialer = new Dialer(this.#thread, { relay: this.#relay, keepAlive: this.#keepAlive, firstFlight: this.#firstFlight });
    this.#acceptor = new Acceptor(this.#thread, { dialer: this.#dialer });
    this.#idle = new IdleWatch(this.#thread);
    this.#freezer = new Freezer(this.#thread, { relay: this.#relay, dialer: this.#dialer, acceptor: this.#acceptor, keepAlive: this.#keepAlive, idle: this.#idle });
  }

  /** Returns when the thread is told to stop. */
  run(): void {
    const { kernel, legs } = this.#thread;
    kernel.watch(this.#wakeFd, EPOLLIN, 0);
    while (!this.#isStopped) {
      const count = kernel.wait(this.#waitMs());
      if (count < 0 && count !== -EINTR) throw new Error(`epoll_wait failed with errno ${-count}`);
      this.#thread.now = performance.now();
      for (let index = 0; index < count; index++) {
        this.#handle(kernel.eventFd(index), kernel.eventGeneration(index), kernel.eventMask(index));
      }
      this.#firstFlight.endRound();
      this.#runDue();
    }
    this.#relay.close();
    legs.close(kernel.epollFd);
    kernel.closeEpoll();
  }

  #waitMs(): number {
    if (this.#relay.hasQueue) return 0;
    const next = Math.min(this.#dialer.wakeAt, this.#acceptor.wakeAt, this.#relay.wakeAt, this.#keepAlive.wakeAt, this.#idle.wakeAt);
    if (next === Infinity) return LONGEST_WAIT_MS;
    return Math.min(Math.max(0, Math.ceil(next - this.#thread.now)), LONGEST_WAIT_MS);
  }

  #runDue(): void {
    this.#relay.runQueue();
    this.#dialer.runDue();
    this.#acceptor.runDue();
    this.#keepAlive.runDue();
    this.#idle.runDue();
    this.#tellEnds();
  }

  #tellEnds(): void {
    if (this.#ends.length === 0) return;
    const ends = this.#ends;
    this.#ends = [];
    this.#port.postMessage({ said: 'ended', ends } satisfies Report);
  }

  #handle(fd: number, generation: number, mask: number): void {
    if (fd === this.#wakeFd) return this.#obey();
    const { legs } = this.#thread;
    // The descriptor was closed, and perhaps opened anew, earlier in this round.
    if (legs.generation(fd) !== generation) return;
    const state = legs.state(fd);
    if (state & FROZEN) return;
    if (state & KIND_LISTENER) return this.#acceptor.handle(fd);
    if (state & CONNECTING && !this.#dialer.handle(fd, mask)) return;
    // It may have ended as soon as it began.
    if (legs.generation(fd) !== generation) return;
    if (state & KIND_CLIENT && legs.other(fd) === -1) return this.#handleWaiting(fd, mask);
    this.#relay.handle(fd, mask);
  }

  /** Events of a client whose upstream is being dialled: nothing is read, but one that has gone need not be dialled for. */
  #handleWaiting(client: number, mask: number): void {
    const { legs } = this.#thread;
    // A Unix client that sent all and closed hangs up too, and what it sent is to be delivered.
    const isUnix = legs.has(client, IS_UNIX);
    const hasLeft = isUnix && (mask & EPOLLHUP) !== 0 && this.#thread.kernel.peek(client) <= 0;
    if (hasLeft || mask & (isUnix ? EPOLLERR : EPOLLERR | EPOLLHUP)) return this.#end(client, { stage: 'dial', reason: null, reset: true });
    if (mask & EPOLLIN) legs.set(client, READABLE);
    // One that has ended its direction may have nothing to say and wait for what the server says: TCP does not tell.
    if (mask & (EPOLLRDHUP | EPOLLHUP)) legs.set(client, READABLE | READ_TO_END);
  }

  #end(client: number, { stage, reason, reset, isSilent = false }: EndOptions): void {
    const { legs, kernel, upstreams, entrances } = this.#thread;
    this.#dialer.abandon(client);
    const server = legs.other(client);
    const upstreamId = legs.upstream(client);
    const entranceId = legs.entrance(client);
    const upstream = upstreams.get(upstreamId)!;
    const entrance = entrances.get(entranceId);
    if (!isSilent && (reason !== null || entrance?.plan.reportsOrderly)) {
      const bytesOut = server === -1 ? 0 : legs.bytes(server);
      const durationMs = Math.max(0, Date.now() - legs.started(client));
      this.#ends.push({ upstream: upstreamId, entrance: entranceId, peer: peerOf(this.#thread, client), stage, reason, bytesIn: legs.bytes(client), bytesOut, durationMs });
    }
    forgetPeer(this.#thread, client);
    for (const fd of server === -1 ? [client] : [client, server]) {
      this.#relay.forget(fd);
      legs.close(fd);
      if (reset) kernel.closeWithReset(fd);
      else kernel.close(fd);
    }
    upstream.counters.countClosed();
    if (upstream.isWatched) this.#sayIfDrained(upstreamId);
    if (upstream.isForgotten) this.#forgetIfDone(upstreamId);
    if (entrance) this.#acceptor.left(entrance);
  }

  #forget(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream) return this.#say({ said: 'upstream-forgotten', upstream: id });
    upstream.isForgotten = true;
    this.#forgetIfDone(id);
  }

  #forgetIfDone(id: number): void {
    const { upstreams } = this.#thread;
    if (upstreams.get(id)?.counters.connections !== 0) return;
    upstreams.delete(id);
    this.#dialer.forget(id);
    this.#say({ said: 'upstream-forgotten', upstream: id });
  }

  #watch(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream) return;
    upstream.isWatched = true;
    this.#sayIfDrained(id);
  }

  #sayIfDrained(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream || upstream.counters.connections > 0) return;
    upstream.isWatched = false;
    this.#say({ said: 'drained', upstream: id });
  }

  /** What the main thread does next may look for the reports of connections that have ended: they come first. */
  #say(report: Report): void {
    this.#tellEnds();
    this.#port.postMessage(report);
  }

  /** Carry out what the main thread has sent. */
  #obey(): void {
    this.#thread.kernel.receive(this.#wakeFd);
    for (let received = receiveMessageOnPort(this.#port); received; received = receiveMessageOnPort(this.#port)) {
      this.#carryOut(received.message as Command);
      this.#pulse.beat();
    }
  }

  #carryOut(command: Command): void {
    const { upstreams, kernel, number } = this.#thread;
    switch (command.do) {
      case 'open-upstream': {
        const { plan } = command;
        upstreams.set(plan.id, {
          plan,
          counters: new Counters(plan.counters, number),
          addresses: plan.addresses?.map((sockaddr) => kernel.address(sockaddr)) ?? null,
          resolved: null,
          bindAddress: plan.bindAddress && kernel.address(plan.bindAddress),
          answeredLast: null,
          isWatched: false,
          isForgotten: false,
          eagerness: UNKNOWN_EAGERNESS,
        });
        return;
      }
      case 'forget-upstream':
        return this.#forget(command.upstream);
      case 'resolved':
        return this.#dialer.resolved(command.upstream, command.addresses, command.failure);
      case 'watch':
        return this.#watch(command.upstream);
      case 'destroy':
        return this.#destroy(command.upstream);
      case 'open-entrance': {
        const { plan } = command;
        const seats = plan.seats && new Seats(plan.seats);
        this.#acceptor.open({ plan, route: new Route(plan.route), seats, connections: 0, isWatched: false, burst: 1, isClosed: false, resumeAt: 0, pauseMs: 0, tuneUntil: 0, nextLookAt: 0 });
        return this.#idle.add(plan);
      }
      case 'look-for-room':
        return this.#acceptor.lookForRoom(command.entrance);
      case 'close-entrance':
        return this.#acceptor.close(command.entrance);
      case 'freeze':
        return this.#say({ said: 'frozen', upstream: command.upstream, connections: this.#freezer.freeze(command.upstream, command) });
      case 'thaw':
        return this.#freezer.thaw(command.clients);
      case 'let-go':
        return this.#freezer.letGo(command.clients);
      case 'adopt':
        return this.#freezer.adopt(command.connections, command);
      case 'rest':
        return collectGarbage();
      case 'stop':
        this.#isStopped = true;
    }
  }

  #destroy(upstream: number): void {
    const { legs, number, fdBound } = this.#thread;
    for (const client of legs.owned(number, KIND_CLIENT, fdBound)) {
      if (legs.upstream(client) !== upstream) continue;
      // The main thread is passing its descriptors on at this moment.
      if (legs.has(client, FROZEN)) legs.set(client, DOOMED);
      else this.#end(client, { stage: legs.other(client) === -1 ? 'dial' : 'relay', reason: null, reset: false });
    }
  }
}

