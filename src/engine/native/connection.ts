/**
 * The life of a connection in a thread. It is made when a client is accepted (`admit`) or comes from
 * another process (adopt.ts), gets its other side when the dial has succeeded (`pair`), and is closed and
 * reported in one place, whatever the reason (`end`). Between `pair` and `end` it is the relay's.
 *
 * Its state is two rows of the connection table, and it is named by the descriptor of its client.
 */
import { writeId } from '../connection-ids.ts';
import { encodePrelude } from '../prelude.ts';
import type { PreludeSubject } from '../prelude.ts';
import { tlsFields } from '../proxy-fields.ts';
import { withFields } from '../proxy-header.ts';
import type { Acceptor } from './accept.ts';
import type { Adopter } from './adopt.ts';
import { limitBuffers } from './buffer-limit.ts';
import type { Chooser } from './choose.ts';
import type { ClientHandshakes } from './client-handshake.ts';
import type { Codec } from './codec.ts';
import { CODED, HEADING, IS_UNIX, KIND_CLIENT, READABLE, READ_TO_END } from './connection-table.ts';
import type { Destroyer } from './destroy.ts';
import type { Dialer } from './dial.ts';
import type { EndReporter } from './end-report.ts';
import type { FirstFlight } from './first-flight.ts';
import type { Headers } from './headers.ts';
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLPRI, EPOLLRDHUP } from './epoll-events.ts';
import type { Linger } from './linger.ts';
import type { SurrenderedClient } from './messages.ts';
import { clientAddressOf, forgetPeer, readPeer } from './peer.ts';
import type { Relay } from './relay.ts';
import type { EndOptions, Thread, ThreadFrontend } from './thread.ts';
import type { ThreadUpstreams } from './thread-upstreams.ts';
import type { KeepAlive } from './tune.ts';
import type { WaitingRoom } from './waiting-room.ts';
import { wayOf } from './way.ts';

type Others = {
  relay: Relay;
  handshakes: ClientHandshakes;
  waitingRoom: WaitingRoom;
  chooser: Chooser;
  dialer: Dialer;
  acceptor: Acceptor;
  adopter: Adopter;
  destroyer: Destroyer;
  reporter: EndReporter;
  upstreams: ThreadUpstreams;
  keepAlive: KeepAlive;
  firstFlight: FirstFlight;
  linger: Linger;
  headers: Headers;
};

/** The connections of one thread. */
export class Connections {
  readonly #thread: Thread;
  readonly #relay: Relay;
  readonly #handshakes: ClientHandshakes;
  readonly #waitingRoom: WaitingRoom;
  readonly #chooser: Chooser;
  readonly #dialer: Dialer;
  readonly #acceptor: Acceptor;
  readonly #adopter: Adopter;
  readonly #destroyer: Destroyer;
  readonly #reporter: EndReporter;
  readonly #upstreams: ThreadUpstreams;
  readonly #keepAlive: KeepAlive;
  readonly #firstFlight: FirstFlight;
  readonly #linger: Linger;
  readonly #headers: Headers;

  constructor(thread: Thread, others: Others) {
    this.#thread = thread;
    this.#relay = others.relay;
    this.#handshakes = others.handshakes;
    this.#waitingRoom = others.waitingRoom;
    this.#chooser = others.chooser;
    this.#dialer = others.dialer;
    this.#acceptor = others.acceptor;
    this.#adopter = others.adopter;
    this.#destroyer = others.destroyer;
    this.#reporter = others.reporter;
    this.#upstreams = others.upstreams;
    this.#keepAlive = others.keepAlive;
    this.#firstFlight = others.firstFlight;
    this.#linger = others.linger;
    this.#headers = others.headers;
  }

  /**
   * A client was accepted, whose address is in `kernel.peer` and which its upstream has counted already: dial for it,
   * after its PROXY header and its TLS handshake where there are such, unless it is to wait.
   * Returns false when it could not be watched, and has been ended.
   */
  admit(client: number, frontend: ThreadFrontend, upstream: number): boolean {
    const { kernel, table, number } = this.#thread;
    const { isUnix, header } = frontend.plan;
    const generation = table.open(
      client,
      number,
      KIND_CLIENT | (isUnix ? IS_UNIX : 0) | (header === null ? 0 : HEADING),
    );
    this.#thread.fdBound = Math.max(this.#thread.fdBound, client + 1);
    readPeer(this.#thread, client, kernel.peer);
    table.assign(client, upstream, frontend.plan.id);
    table.setStarted(client, this.#thread.now);
    table.setId(client, this.#thread.ids.next());
    table.setQuiet(client, { quietMs: 0, now: this.#thread.now });
    frontend.connections.enter();
    frontend.slots?.take();
    return this.#handshakes.begin(client, frontend, generation);
  }

  /** What an upstream is to be told of a client before anything else; null: nothing. */
  preludeOf(client: number): Uint8Array | null {
    const { table } = this.#thread;
    const { prelude } = wayOf(this.#thread, client).plan;
    if (prelude === null) return null;
    return encodePrelude(prelude, this.#subjectOf(client), () => writeId(table.id(client)));
  }

  /**
   * Its upstream is connected: bytes may go. What the upstream has to be told first goes with
   * `relay.beginWith`; one with TLS has been told, before its handshake.
   */
  pair(client: number, server: number, codec: Codec | null = null): void {
    const { table } = this.#thread;
    const { keepAliveMs } = wayOf(this.#thread, client).plan;
    table.pair(client, server);
    limitBuffers(this.#thread, client, server);
    table.setQuiet(client, { quietMs: 0, now: this.#thread.now });
    if (!table.has(server, IS_UNIX)) {
      if (keepAliveMs > 0) this.#keepAlive.add(server, keepAliveMs);
      if (codec === null) this.#firstFlight.connected(server);
    }
    if (codec !== null) {
      this.#relay.wire.attachServer(server, codec);
      // What has come since its handshake is still in its socket, and was no event of this thread.
      table.set(server, READABLE | READ_TO_END);
    }
    const prelude = codec === null ? this.preludeOf(client) : null;
    this.#headers.told(client);
    if (prelude === null) this.#relay.begin(client);
    else this.#relay.beginWith(client, prelude);
  }

  /** Events of a client whose upstream is being dialled: nothing is read, but one that has gone need not be dialled for. */
  handleWaiting(client: number, mask: number): void {
    const { table, kernel } = this.#thread;
    // A Unix client that sent all and closed hangs up too, and what it sent is to be delivered.
    const isUnix = table.has(client, IS_UNIX);
    const hasLeft = isUnix && (mask & EPOLLHUP) !== 0 && kernel.peek(client) <= 0;
    if (hasLeft || mask & (isUnix ? EPOLLERR : EPOLLERR | EPOLLHUP))
      return this.end(client, { stage: 'dial', why: 'client-gone', reason: null, reset: !hasLeft });
    if (mask & EPOLLIN) table.set(client, READABLE);
    // A read stops before urgent bytes, and is not the last.
    if (mask & EPOLLPRI) table.set(client, READABLE | READ_TO_END);
    // One that has ended its direction may have nothing to say and wait for what the server says: TCP does not tell.
    const hasEnded = (mask & (EPOLLRDHUP | EPOLLHUP)) !== 0;
    if (hasEnded) table.set(client, READABLE | READ_TO_END);
    this.#chooser.heard(client, { hasEnded });
  }

  /** It is over: close both sides, tell who counts it, and report it. */
  end(client: number, { stage, why, reason, reset, isSilent = false, lingers = false }: EndOptions): void {
    const { table, kernel, frontends, upstreams } = this.#thread;
    this.#dialer.abandon(client, { reset });
    this.#chooser.abandon(client);
    this.#waitingRoom.leave(client);
    const server = table.other(client);
    const upstream = table.upstream(client);
    const frontend = frontends.get(table.frontend(client));
    const durationMs = this.#thread.now - table.started(client);
    if (!isSilent) {
      const { counters } = upstreams.get(upstream)!;
      counters.tally.countEnd(why, durationMs);
      const wanted = frontend?.plan.reportsOrderly;
      const isQuiet = reason === null && wanted !== true && !counters.areEndsHeard;
      if (!isQuiet) this.#reporter.report(client, { stage, why, reason, durationMs });
      else if (wanted === 'soon') this.#reporter.reportSoon(client, stage, why, durationMs);
    }
    this.#forget(client, frontend);
    for (const fd of server === -1 ? [client] : [client, server]) {
      const isLingering = lingers || (table.has(fd, CODED) && !isSilent && this.#mayLinger(fd, { reset }));
      this.#relay.forget(fd);
      table.close(fd);
      if (isLingering) this.#linger.begin(fd);
      else if (reset) kernel.closeWithReset(fd);
      else kernel.close(fd);
    }
    this.#upstreams.left(upstream);
    if (frontend) this.#acceptor.left(frontend);
  }

  /** What is known of a client beside the table, whose descriptor may be another's next. */
  #forget(client: number, frontend: ThreadFrontend | undefined): void {
    this.#adopter.forget(client);
    this.#destroyer.forget(client);
    // Before its header nobody has counted it.
    const isCounted = frontend?.admission?.isCounting === true && !this.#thread.table.has(client, HEADING);
    if (isCounted) frontend.admission?.leave(clientAddressOf(this.#thread, client));
    this.#headers.forget(client);
    this.#thread.ways.delete(client);
    forgetPeer(this.#thread, client);
  }

  /** A client that is not connected goes where this thread cannot: its descriptor is the caller's, and another counts it from now on. */
  surrender(client: number): SurrenderedClient {
    const { table, kernel, frontends } = this.#thread;
    const upstream = table.upstream(client);
    const frontend = frontends.get(table.frontend(client));
    const spokenFor = frontend?.plan.header === null ? null : this.#headers.describe(client);
    this.#forget(client, frontend);
    kernel.unwatch(client);
    table.close(client);
    this.#upstreams.transferred(upstream);
    if (frontend) this.#acceptor.left(frontend);
    return { fd: client, ...(spokenFor && { spokenFor }) };
  }

  /** Whether what a TLS peer was told last would be lost with whatever it still sends. */
  #mayLinger(fd: number, { reset }: { reset: boolean }): boolean {
    const { wire } = this.#relay;
    return wire.mayHearMore(fd) && (!reset || wire.failureOf(fd) !== null);
  }

  /** Whom an upstream has to do with, and what of its TLS is known here. */
  #subjectOf(client: number): PreludeSubject {
    const subject = this.#headers.subjectOf(client);
    const { wire } = this.#relay;
    const tls = this.#thread.table.has(client, CODED) ? wire.proxyTlsOf(client) : null;
    return tls === null ? subject : withFields(subject, () => tlsFields(tls));
  }
}
