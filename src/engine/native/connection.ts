/**
 * The life of a connection in a thread. It is made when a client is accepted (`admit`) or comes from
 * another process (`adopt`), gets its other side when the dial has succeeded (`pair`), and is closed and
 * reported in one place, whatever the reason (`end`). Between `pair` and `end` it is the relay's.
 *
 * Its state is two rows of the connection table, and it is named by the descriptor of its client.
 */
import type { ClosingReason } from '../closing-reason.ts';
import { writeId } from '../connection-ids.ts';
import { encodePrelude } from '../prelude.ts';
import type { PreludeSubject } from '../prelude.ts';
import { tlsFields } from '../proxy-fields.ts';
import { withFields } from '../proxy-header.ts';
import type { MovedConnection, MovedLeg } from '../transfer.ts';
import type { Acceptor } from './accept.ts';
import type { Chooser } from './choose.ts';
import {
  BROKEN,
  CODED,
  DOOMED,
  ENDED,
  FROZEN,
  HEADING,
  IS_UNIX,
  KIND_CLIENT,
  KIND_SERVER,
  LIMITED,
  READABLE,
  READ_TO_END,
  SHAKING,
  SHUT,
} from './connection-table.ts';
import type { Dialer } from './dial.ts';
import type { FirstFlight } from './first-flight.ts';
import type { Headers } from './headers.ts';
import type { IdleWatch } from './idle.ts';
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLPRI, EPOLLRDHUP, TCP_EVENTS, UNIX_EVENTS } from './kernel.ts';
import type { Mailbox } from './mailbox.ts';
import type { EndReport, SurrenderedClient } from './messages.ts';
import { comerOf, forgetPeer, hasPlainPeer, peerOf, readPeer, setPeer } from './peer.ts';
import type { Relay } from './relay.ts';
import type { Linger } from './linger.ts';
import type { Terminator } from './tls/terminate.ts';
import type { EndOptions, Thread, ThreadFrontend } from './thread.ts';
import type { ThreadUpstreams } from './thread-upstreams.ts';
import type { KeepAlive } from './tune.ts';
import type { WaitingRoom } from './waiting-room.ts';
import { wayOf } from './way.ts';
import type { Codec } from './codec.ts';

type Others = {
  relay: Relay;
  dialer: Dialer;
  chooser: Chooser;
  waitingRoom: WaitingRoom;
  acceptor: Acceptor;
  upstreams: ThreadUpstreams;
  keepAlive: KeepAlive;
  firstFlight: FirstFlight;
  idle: IdleWatch;
  mailbox: Mailbox;
  terminator: Terminator;
  linger: Linger;
  headers: Headers;
};

/** The connections of one thread. */
export class Connections {
  readonly #thread: Thread;
  readonly #relay: Relay;
  readonly #dialer: Dialer;
  readonly #chooser: Chooser;
  readonly #waitingRoom: WaitingRoom;
  readonly #acceptor: Acceptor;
  readonly #upstreams: ThreadUpstreams;
  readonly #keepAlive: KeepAlive;
  readonly #firstFlight: FirstFlight;
  readonly #idle: IdleWatch;
  readonly #mailbox: Mailbox;
  /** Of connections that another process accepted, which one. */
  readonly #origins = new Map<number, number>();
  readonly #doomed = new Map<number, ClosingReason>();
  readonly #terminator: Terminator;
  readonly #linger: Linger;
  readonly #headers: Headers;

  constructor(
    thread: Thread,
    {
      relay,
      dialer,
      chooser,
      waitingRoom,
      acceptor,
      upstreams,
      keepAlive,
      firstFlight,
      idle,
      mailbox,
      terminator,
      linger,
      headers,
    }: Others,
  ) {
    this.#thread = thread;
    this.#relay = relay;
    this.#dialer = dialer;
    this.#chooser = chooser;
    this.#waitingRoom = waitingRoom;
    this.#acceptor = acceptor;
    this.#upstreams = upstreams;
    this.#keepAlive = keepAlive;
    this.#firstFlight = firstFlight;
    this.#idle = idle;
    this.#mailbox = mailbox;
    this.#terminator = terminator;
    this.#linger = linger;
    this.#headers = headers;
  }

  /**
   * A client was accepted, whose address is in `kernel.peer` and which its upstream has counted already: dial for it,
   * after its PROXY header and its TLS handshake where there are such, unless it is to wait.
   * Returns false when it could not be watched, and has been ended.
   */
  admit(client: number, frontend: ThreadFrontend, upstream: number): boolean {
    const { kernel, table, number } = this.#thread;
    const { isUnix, header, tls } = frontend.plan;
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
    frontend.connections++;
    frontend.slots?.take();
    if (header !== null && !this.#headers.begin(client, header)) return false;
    if (header === null && tls !== null) return this.#shake(client, frontend);
    if (!this.#isWatched(client, kernel.watch(client, isUnix ? UNIX_EVENTS : TCP_EVENTS, generation))) return false;
    if (header !== null) return this.#lookForHeader(client, generation);
    this.#waitingRoom.enter(client);
    return true;
  }

  /** Returns false when a client could not be watched, of which nobody would hear again, and has been ended. */
  #isWatched(client: number, result: number): boolean {
    if (result >= 0) return true;
    this.end(client, {
      stage: 'dial',
      why: 'shortage',
      reason: { failures: [{ address: -1, errno: -result }] },
      reset: true,
    });
    return false;
  }

  /** Have a client shake hands, whom nobody watches. Returns false when it has been ended. */
  #shake(client: number, { plan }: ThreadFrontend): boolean {
    const { table } = this.#thread;
    table.set(client, SHAKING);
    return this.#isWatched(client, this.#terminator.give(client, plan, table.generation(client)));
  }

  /** The header of a client that was just accepted is often there. Returns false when the client has been ended. */
  #lookForHeader(client: number, generation: number): boolean {
    this.handleHeading(client, 0);
    return this.#thread.table.generation(client) === generation;
  }

  /** Events of a client whose PROXY header has not come: once it has, the client goes on as one that was just accepted. */
  handleHeading(client: number, mask: number): void {
    const { table, kernel, frontends } = this.#thread;
    if (!this.#headers.handle(client, mask)) return;
    const frontend = frontends.get(table.frontend(client));
    if (!frontend?.plan.tls) return this.#waitingRoom.enter(client);
    // What has come of its handshake is still in its socket, and is an event for whoever watches that next.
    kernel.unwatch(client);
    table.clear(client, READABLE | READ_TO_END);
    this.#shake(client, frontend);
  }

  /** A client has come back from its TLS handshake, which may have failed. */
  shaken(client: number, mask: number): void {
    const { table, frontends, upstreams } = this.#thread;
    const { tally } = upstreams.get(table.upstream(client))!.counters;
    const isDoomed = table.has(client, DOOMED);
    table.clear(client, SHAKING | DOOMED);
    const terminated = this.#terminator.take(client, frontends.get(table.frontend(client))?.plan.tls ?? null);
    if ('codec' in terminated) this.#relay.wire.attach(client, terminated.codec);
    tally.countHandshake('client', 'codec' in terminated ? terminated.codec : null);
    if (isDoomed) return this.end(client, { stage: 'handshake', why: this.doomOf(client), reason: null, reset: false });
    if (!('codec' in terminated)) {
      const { reason, wasTold } = terminated;
      return this.end(client, {
        stage: 'handshake',
        why: reason === null ? 'client-gone' : 'handshake-failed',
        reason: reason === null ? null : { text: reason },
        reset: true,
        lingers: wasTold,
      });
    }
    if (mask & (EPOLLERR | EPOLLHUP))
      return this.end(client, { stage: 'dial', why: 'client-gone', reason: null, reset: true });
    table.set(client, READABLE | (mask & (EPOLLRDHUP | EPOLLPRI) ? READ_TO_END : 0));
    this.#waitingRoom.enter(client);
  }

  /** The thread of handshakes is gone. */
  endHandshakes(): void {
    const { table, number, fdBound } = this.#thread;
    for (const client of table.owned(number, SHAKING, fdBound)) {
      if (!table.has(client, KIND_CLIENT)) continue;
      table.clear(client, SHAKING);
      this.end(client, { stage: 'handshake', why: 'crash', reason: null, reset: true });
    }
  }

  /**
   * A connection comes from another process, frozen as it was there. Its descriptors are this thread's from
   * now on; its place, where there is a limit, and the count of its upstream have been taken for it.
   */
  adopt(moved: MovedConnection, { upstream, frontend }: { upstream: number; frontend: number }): void {
    const { table, frontends } = this.#thread;
    const { client, server } = moved;
    this.#openLeg(client, KIND_CLIENT);
    table.assign(client.fd, upstream, frontend);
    table.setStarted(client.fd, this.#thread.now - ageOf(moved));
    table.setId(client.fd, moved.id ?? this.#thread.ids.next());
    const entered = frontends.get(frontend);
    if (entered) entered.connections++;
    setPeer(this.#thread, client.fd, moved.peer);
    if (moved.generation !== undefined) this.#origins.set(client.fd, moved.generation);
    this.#headers.adopt(client.fd, moved);
    if (moved.chosen) this.#chooser.adopt(client.fd, moved.chosen);
    this.#attachCodec(client);
    if (server !== null) {
      this.#openLeg(server, KIND_SERVER);
      this.#attachCodec(server);
      table.pair(client.fd, server.fd);
      this.#limitBuffer(client.fd, server.fd);
      table.setConnectMs(server.fd, moved.connectMs ?? 0);
      this.#relay.setPrelude(client.fd, client.pending);
      this.#relay.setPrelude(server.fd, server.pending);
      this.#keepAliveOf(server, client.fd);
    }
    this.#idle.adopt(client.fd, moved.quietMs ?? 0);
  }

  #openLeg({ fd, isUnix, hasEnded, isShut, isBroken, bytes }: MovedLeg, kind: number): void {
    const { table, number, now } = this.#thread;
    table.open(
      fd,
      number,
      kind | FROZEN | (isUnix ? IS_UNIX : 0) | (hasEnded ? ENDED : 0) | (isShut ? SHUT : 0) | (isBroken ? BROKEN : 0),
    );
    table.addBytes(fd, bytes, now);
    this.#thread.fdBound = Math.max(this.#thread.fdBound, fd + 1);
  }

  #limitBuffer(client: number, server: number): void {
    const { table, frontends } = this.#thread;
    const bytes = frontends.get(table.frontend(client))?.plan.bufferBytes ?? null;
    if (bytes !== null) for (const fd of [client, server]) table.set(fd, LIMITED);
  }

  #attachCodec({ fd, tls }: MovedLeg): void {
    if (tls) this.#relay.wire.attach(fd, this.#terminator.adopt(fd, tls.state));
  }

  #keepAliveOf({ fd, isUnix }: MovedLeg, client: number): void {
    const { keepAliveMs } = wayOf(this.#thread, client).plan;
    if (!isUnix && keepAliveMs > 0) this.#keepAlive.setNow(fd, keepAliveMs);
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
    this.#limitBuffer(client, server);
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
      return this.end(client, { stage: 'dial', why: 'client-gone', reason: null, reset: true });
    if (mask & EPOLLIN) table.set(client, READABLE);
    // One that has ended its direction may have nothing to say and wait for what the server says: TCP does not tell.
    const hasEnded = (mask & (EPOLLRDHUP | EPOLLHUP)) !== 0;
    if (hasEnded) table.set(client, READABLE | READ_TO_END);
    this.#chooser.heard(client, { hasEnded });
  }

  /** It is over: close both sides, tell who counts it, and report it. */
  end(client: number, { stage, why, reason, reset, isSilent = false, lingers = false }: EndOptions): void {
    const { table, kernel, frontends, upstreams } = this.#thread;
    this.#dialer.abandon(client);
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
      if (!isQuiet) this.#report(client, { stage, why, reason, durationMs });
      else if (wanted === 'soon') this.#reportSoon(client, stage, why, durationMs);
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
    this.#origins.delete(client);
    this.#doomed.delete(client);
    // Before its header nobody has counted it.
    const isCounted = frontend?.admission?.isCounting === true && !this.#thread.table.has(client, HEADING);
    if (isCounted) frontend.admission?.leave(comerOf(this.#thread, client));
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

  /** Report an end that is told of later, in numbers where they say all. */
  #reportSoon(client: number, stage: EndReport['stage'], why: ClosingReason, durationMs: number): void {
    const isPlain = hasPlainPeer(this.#thread, client) && !this.#thread.table.has(client, CODED);
    if (!isPlain || this.#headers.viaOf(client) !== null || this.#thread.ways.has(client))
      return this.#report(client, { stage, why, durationMs, reason: null });
    const { table, now } = this.#thread;
    const generation = this.#origins.get(client) ?? null;
    this.#mailbox.addQuietEnd(table, client, { stage, why, durationMs, generation }, now);
  }

  /** What the table knows of a connection that ends. */
  #countsOf(
    client: number,
    durationMs: number,
  ): Pick<EndReport, 'upstream' | 'frontend' | 'startedMs' | 'connectMs' | 'generation' | 'bytesIn' | 'bytesOut'> {
    const { table } = this.#thread;
    const server = table.other(client);
    return {
      upstream: table.upstream(client),
      frontend: table.frontend(client),
      startedMs: Date.now() - durationMs,
      connectMs: server === -1 ? null : table.connectMs(server),
      generation: this.#origins.get(client) ?? null,
      bytesIn: table.bytes(client),
      bytesOut: server === -1 ? 0 : table.bytes(server),
    };
  }

  /** Whether what a TLS peer was told last would be lost with whatever it still sends. */
  #mayLinger(fd: number, { reset }: { reset: boolean }): boolean {
    const { wire } = this.#relay;
    return wire.mayHearMore(fd) && (!reset || wire.failureOf(fd) !== null);
  }

  #report(client: number, end: Pick<EndOptions, 'stage' | 'why' | 'reason'> & { durationMs: number }): void {
    const way = this.#thread.ways.get(client);
    this.#mailbox.addEnd({
      ...this.#countsOf(client, end.durationMs),
      ...end,
      ...(way && { way: way.upstream.plan.id, chosen: way.chosen }),
      peer: peerOf(this.#thread, client),
      via: this.#headers.viaOf(client),
      tls: this.#thread.table.has(client, CODED) ? this.#relay.wire.tlsOf(client) : null,
    });
  }

  /** End all of an upstream; those that are frozen, as soon as they are it no longer. */
  destroy(upstream: number, why: ClosingReason): void {
    const { table, number, fdBound } = this.#thread;
    for (const client of table.owned(number, KIND_CLIENT, fdBound))
      if (table.upstream(client) === upstream) this.#destroyOne(client, why);
  }

  /** End those with these numbers, as `destroy` does. Returns how many there were. */
  close(ids: readonly number[]): number {
    const { table, number, fdBound } = this.#thread;
    const wanted = new Set(ids);
    let count = 0;
    for (const client of table.owned(number, KIND_CLIENT, fdBound)) {
      if (!wanted.has(table.id(client)) || table.has(client, DOOMED)) continue;
      this.#destroyOne(client, 'closed');
      count++;
    }
    return count;
  }

  #destroyOne(client: number, why: ClosingReason): void {
    const { table } = this.#thread;
    // The main thread is passing its descriptors on at this moment.
    if (table.has(client, FROZEN | SHAKING)) {
      table.set(client, DOOMED);
      this.#doomed.set(client, why);
      // The thread that shakes hands with it sees the end, and gives it back.
      if (table.has(client, SHAKING)) this.#thread.kernel.endBoth(client);
    } else this.end(client, { stage: table.other(client) === -1 ? 'dial' : 'relay', why, reason: null, reset: false });
  }

  /** Why one is to be ended that is doomed. */
  doomOf(client: number): ClosingReason {
    return this.#doomed.get(client) ?? 'closed';
  }

  /** Which process of the daemon accepted it; undefined: this one. */
  originOf(client: number): number | undefined {
    return this.#origins.get(client);
  }

  /** Whom an upstream has to do with, and what of its TLS is known here. */
  #subjectOf(client: number): PreludeSubject {
    const subject = this.#headers.subjectOf(client);
    const { wire } = this.#relay;
    const tls = this.#thread.table.has(client, CODED) ? wire.proxyTlsOf(client) : null;
    return tls === null ? subject : withFields(subject, () => tlsFields(tls));
  }
}

/** Longest that connections are taken to be on their way, in milliseconds. */
const MAX_TRANSIT_MS = 60_000;

/** For how many milliseconds a connection has been there that comes from another process. The way here counts, unless the clock was set meanwhile. */
function ageOf({ ageMs, startedMs }: MovedConnection): number {
  const byWallMs = Date.now() - startedMs;
  const transitMs = byWallMs - (ageMs ?? byWallMs);
  return Math.max(0, transitMs >= 0 && transitMs < MAX_TRANSIT_MS ? byWallMs : (ageMs ?? 0));
}
