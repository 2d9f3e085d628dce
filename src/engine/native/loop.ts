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
import { CONNECTING, DOOMED, FROZEN, IS_UNIX, KIND_CLIENT, KIND_LISTENER, KIND_OWN, ConnectionTable, READABLE, READ_TO_END } from './connection-table.ts';
import type { ThreadCommand, EndReport, Report, ThreadData } from './messages.ts';
import { forgetPeer, peerOf } from './peer.ts';
import { Heartbeat } from './heartbeat.ts';
import { Relay } from './relay.ts';
import { Route } from './route.ts';
import type { EndOptions, Thread } from './thread.ts';
import { KeepAlive } from './tune.ts';

/** Longest wait. Whoever wants something of a thread wakes it; this is for a wake-up that was lost. */
const MAX_WAIT_MS = 60_000;

export class Loop {
  readonly #port: MessagePort;
  readonly #wakeFd: number;
  readonly #heartbeat: Heartbeat;
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

  constructor({ number, table, port, wakeFd, heartbeat }: ThreadData) {
    const kernel = openKernel();
    // Before anything can go wrong: of a thread that dies, what is noted there is closed.
    const noted = new ConnectionTable(table);
    noted.open(kernel.epollFd, number, KIND_OWN);
    this.#port = port;
    this.#wakeFd = wakeFd;
    this.#heartbeat = new Heartbeat(heartbeat);
    this.#thread = {
      number,
      kernel,
      table: noted,
      upstreams: new Map(),
      frontends: new Map(),
      ipv6Peers: new Map(),
      now: performance.now(),
      fdBound: 0,
      send: (report) => this.#send(report),
      readMailbox: () => this.#readMailbox(),
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
    const { kernel, table } = this.#thread;
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
    table.close(kernel.epollFd);
    kernel.closeEpoll();
  }

  #waitMs(): number {
    if (this.#relay.hasQueue) return 0;
    const next = Math.min(this.#dialer.wakeAt, this.#acceptor.wakeAt, this.#relay.wakeAt, this.#keepAlive.wakeAt, this.#idle.wakeAt);
    if (next === Infinity) return MAX_WAIT_MS;
    return Math.min(Math.max(0, Math.ceil(next - this.#thread.now)), MAX_WAIT_MS);
  }

  #runDue(): void {
    this.#relay.runQueue();
    this.#dialer.runDue();
    this.#acceptor.runDue();
    this.#keepAlive.runDue();
    this.#idle.runDue();
    this.#reportEnds();
  }

  #reportEnds(): void {
    if (this.#ends.length === 0) return;
    const ends = this.#ends;
    this.#ends = [];
    this.#port.postMessage({ type: 'ended', ends } satisfies Report);
  }

  #handle(fd: number, generation: number, mask: number): void {
    if (fd === this.#wakeFd) return this.#readMailbox();
    const { table } = this.#thread;
    // The descriptor was closed, and perhaps opened anew, earlier in this round.
    if (table.generation(fd) !== generation) return;
    const state = table.state(fd);
    if (state & FROZEN) return;
    if (state & KIND_LISTENER) return this.#acceptor.handle(fd);
    if (state & CONNECTING && !this.#dialer.handle(fd, mask)) return;
    // It may have ended as soon as it began.
    if (table.generation(fd) !== generation) return;
    if (state & KIND_CLIENT && table.other(fd) === -1) return this.#handleWaiting(fd, mask);
    this.#relay.handle(fd, mask);
  }

  /** Events of a client whose upstream is being dialled: nothing is read, but one that has gone need not be dialled for. */
  #handleWaiting(client: number, mask: number): void {
    const { table } = this.#thread;
    // A Unix client that sent all and closed hangs up too, and what it sent is to be delivered.
    const isUnix = table.has(client, IS_UNIX);
    const hasLeft = isUnix && (mask & EPOLLHUP) !== 0 && this.#thread.kernel.peek(client) <= 0;
    if (hasLeft || mask & (isUnix ? EPOLLERR : EPOLLERR | EPOLLHUP)) return this.#end(client, { stage: 'dial', reason: null, reset: true });
    if (mask & EPOLLIN) table.set(client, READABLE);
    // One that has ended its direction may have nothing to say and wait for what the server says: TCP does not tell.
    if (mask & (EPOLLRDHUP | EPOLLHUP)) table.set(client, READABLE | READ_TO_END);
  }

  #end(client: number, { stage, reason, reset, isSilent = false }: EndOptions): void {
    const { table, kernel, upstreams, frontends } = this.#thread;
    this.#dialer.abandon(client);
    const server = table.other(client);
    const upstreamId = table.upstream(client);
    const frontendId = table.frontend(client);
    const upstream = upstreams.get(upstreamId)!;
    const frontend = frontends.get(frontendId);
    if (!isSilent && (reason !== null || frontend?.plan.reportsOrderly)) {
      const bytesOut = server === -1 ? 0 : table.bytes(server);
      const durationMs = Math.max(0, Date.now() - table.started(client));
      this.#ends.push({ upstream: upstreamId, frontend: frontendId, peer: peerOf(this.#thread, client), stage, reason, bytesIn: table.bytes(client), bytesOut, durationMs });
    }
    forgetPeer(this.#thread, client);
    for (const fd of server === -1 ? [client] : [client, server]) {
      this.#relay.forget(fd);
      table.close(fd);
      if (reset) kernel.closeWithReset(fd);
      else kernel.close(fd);
    }
    upstream.counters.countClosed();
    if (upstream.isWatched) this.#reportIfDrained(upstreamId);
    if (upstream.isForgotten) this.#forgetIfDone(upstreamId);
    if (frontend) this.#acceptor.left(frontend);
  }

  #forget(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream) return this.#send({ type: 'upstream-forgotten', upstream: id });
    upstream.isForgotten = true;
    this.#forgetIfDone(id);
  }

  #forgetIfDone(id: number): void {
    const { upstreams } = this.#thread;
    if (upstreams.get(id)?.counters.connections !== 0) return;
    upstreams.delete(id);
    this.#dialer.forget(id);
    this.#send({ type: 'upstream-forgotten', upstream: id });
  }

  #watch(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream) return;
    upstream.isWatched = true;
    this.#reportIfDrained(id);
  }

  #reportIfDrained(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream || upstream.counters.connections > 0) return;
    upstream.isWatched = false;
    this.#send({ type: 'drained', upstream: id });
  }

  /** What the main thread does next may look for the reports of connections that have ended: they come first. */
  #send(report: Report): void {
    this.#reportEnds();
    this.#port.postMessage(report);
  }

  /** Carry out what the main thread has sent. */
  #readMailbox(): void {
    this.#thread.kernel.receive(this.#wakeFd);
    for (let received = receiveMessageOnPort(this.#port); received; received = receiveMessageOnPort(this.#port)) {
      this.#execute(received.message as ThreadCommand);
      this.#heartbeat.beat();
    }
  }

  #execute(command: ThreadCommand): void {
    const { upstreams, kernel, number } = this.#thread;
    switch (command.type) {
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
      case 'open-frontend': {
        const { plan } = command;
        const seats = plan.seats && new Seats(plan.seats);
        this.#acceptor.open({ plan, route: new Route(plan.route), seats, connections: 0, isWatched: false, burst: 1, isClosed: false, resumeAt: 0, pauseMs: 0, tuneUntil: 0, nextLookAt: 0 });
        return this.#idle.add(plan);
      }
      case 'look-for-room':
        return this.#acceptor.lookForRoom(command.frontend);
      case 'close-frontend':
        return this.#acceptor.close(command.frontend);
      case 'freeze':
        return this.#send({ type: 'frozen', upstream: command.upstream, connections: this.#freezer.freeze(command.upstream, command) });
      case 'thaw':
        return this.#freezer.thaw(command.clients);
      case 'release':
        return this.#freezer.release(command.clients);
      case 'adopt':
        return this.#freezer.adopt(command.connections, command);
      case 'trim-memory':
        return collectGarbage();
      case 'stop':
        this.#isStopped = true;
    }
  }

  #destroy(upstream: number): void {
    const { table, number, fdBound } = this.#thread;
    for (const client of table.owned(number, KIND_CLIENT, fdBound)) {
      if (table.upstream(client) !== upstream) continue;
      // The main thread is passing its descriptors on at this moment.
      if (table.has(client, FROZEN)) table.set(client, DOOMED);
      else this.#end(client, { stage: table.other(client) === -1 ? 'dial' : 'relay', reason: null, reset: false });
    }
  }
}

