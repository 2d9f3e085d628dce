/**
 * What moves the bytes. The rest of the daemon knows an engine by this interface alone.
 *
 * An engine accepts on listeners, dials the upstream that the listener currently routes to, and
 * relays both directions until both have ended. It owns every connection; nothing outside touches
 * a socket of one. Engines: `portable` (node:net and node:tls), `native` (epoll over libc calls).
 */
import type { ClientEndpoint, ServerEndpoint, SslClient, TlsClient } from '../endpoint/model.ts';
import type { Listener } from '../net/listener.ts';
import type { ClosingReason } from './closing-reason.ts';
import type { Admission } from './admission/admission.ts';
import type { Hold } from './hold.ts';
import type { Chosen } from './sni-choice.ts';
import type { Slots } from './slots.ts';
import type { SpokenFor } from './spoken-for.ts';
import type { Tally } from './tally.ts';
import type { MovedConnection } from './transfer.ts';

/** What moves the bytes: `portable` runs anywhere, `native` on Linux. */
export type EngineName = 'portable' | 'native';

/** Some of the ends of TLS that a destination leads to: the objects of its endpoint themselves. */
export type TlsEnds = ReadonlySet<SslClient | TlsClient>;

/** Moves the bytes of all rules of a process. Whoever opens it closes it. */
export type Engine = {
  readonly name: EngineName;
  /**
   * Prepare a destination: read its certificates, check what can be checked without connecting.
   * Nothing is contacted. Throws GraceError when a file is missing or unusable.
   */
  openUpstream(endpoint: ClientEndpoint): Upstream;
  /**
   * Start accepting. The engine works on a duplicate of the listener's descriptor, so the caller
   * still owns `listener`. Throws GraceError when a certificate or key is missing or unusable.
   */
  openFrontend(options: FrontendOptions): Frontend;
  /**
   * Connect to an endpoint as a client would be connected (names, TLS and its verification
   * included), with `http` ask that over the connection, then close it again. Rejects with GraceError
   * that says why it cannot be reached, or what it answered.
   */
  probe(endpoint: ClientEndpoint, options: ProbeOptions): Promise<void>;
  /** The open connections of some upstreams. One that begins or ends meanwhile may be there or not. */
  connections(upstreams: readonly Upstream[]): Promise<OpenConnection[]>;
  /**
   * Close those of the connections of some upstreams that have these ids: both peers see an end, bytes in flight are
   * lost. Returns how many there were, when they are closed; one that just now moves to another process is closed when it can be.
   */
  closeConnections(upstreams: readonly Upstream[], ids: readonly string[]): Promise<number>;
  /** How many threads of its own move bytes; absent: none. */
  readonly threads?: number;
  /** Present where open connections can move to another process. */
  readonly mover?: Mover;
  /** Resolves when all that it was told until now is done in its threads too, or after a second. Absent: it has none. */
  settled?(): Promise<void>;
  /** Give back memory that is not needed while nothing happens. */
  trimMemory?(): void;
  /** Release what the engine itself holds (threads); its connections must be gone. */
  close(): Promise<void>;
};

/** How an endpoint is tried. The signal ends the attempt, with its reason. */
export type ProbeOptions = { signal: AbortSignal; http?: HttpQuestion | undefined };

/** A GET over HTTP/1.1, and the answers to it that are good. */
export type HttpQuestion = {
  /** Of the request, as it goes into it: `/up`, `/up?full`. Printable ASCII without spaces. */
  path: string;
  /** The lowest and the highest status that is good. */
  least: number;
  most: number;
  /** For the head of the answer, from when the connection is made. */
  timeoutMs: number;
  userAgent: string;
};

/** Where clients are accepted, and where they go. */
export type FrontendOptions = {
  listener: Listener;
  /** What the listener speaks: plain, TLS, PROXY. */
  endpoint: ServerEndpoint;
  upstream: Upstream;
  /** A second one, for a part of the clients. */
  share?: UpstreamShare | null | undefined;
  observer: EngineObserver;
  /** Places for its clients, where other frontends and processes have some too. Default: its own, as many as `maxconn` says. */
  slots?: Slots | null | undefined;
  /** Who may come in, where what was counted is kept. Default: its own, as the endpoint says. */
  admission?: Admission | null | undefined;
  /** Whether clients wait before their upstream is dialled. Default: they never do. */
  hold?: Hold<Upstream> | null | undefined;
};

/** A second destination of a frontend, and which of its clients go there: see share.ts. */
export type UpstreamShare = {
  upstream: Upstream;
  /** Of the addresses of clients, from 0 to 100. */
  percent: number;
  /** What decides which: 16 hexadecimal digits. */
  secret: string;
};

/** Accepting on one listener. */
export type Frontend = {
  /** Clients accepted from now on go to this upstream, or a share of them to another; those accepted before stay. */
  route(upstream: Upstream, share?: UpstreamShare | null): void;
  /**
   * Read certificates and keys again, for handshakes to come. What is bad stays as it was, and the rest is taken: returns why
   * some is still the old one. Throws GraceError and keeps all of it.
   */
  reload(): readonly string[];
  /**
   * Stop accepting and let go of the duplicate. Connections go on. A client still in the queue of
   * the socket stays there, for whoever else holds the socket. Twice is fine.
   */
  stop(): Promise<void>;
  /**
   * Another process that accepted on the same socket does so no more: clients in its queue of which that one alone was
   * told are to be found.
   */
  lookInQueue?(): void;
  /** So many connections of its source are other processes': with them it has few or many, where all rules share places (total-slots.ts). */
  countElsewhere?(count: number): void;
  /** Serve a client that another engine accepted on the same listener: its descriptor is this one's from now on. */
  takeIn?(client: { fd: number; spokenFor?: SpokenFor }): void;
};

/** What a destination counts. */
export type UpstreamStats = {
  /** Clients accepted for this upstream and not ended, those whose upstream is being dialled included. */
  connections: number;
  /** Of those, the ones that are still being dialled. */
  dialing: number;
  /** Bytes client → upstream and upstream → client, of all connections since it was opened. */
  bytesIn: number;
  bytesOut: number;
};

/** A destination of one rule, and the connections to it. */
export type Upstream = {
  readonly endpoint: ClientEndpoint;
  /** What stands for it in an engine inside this one. */
  readonly portable?: Upstream;
  stats(): UpstreamStats;
  /**
   * Read certificates, keys and authorities again, for handshakes with it to come. Throws GraceError and keeps the old ones.
   *
   * @param only the ends of TLS whose files are read, of those that it leads to (`tlsOf` in endpoint/inner.ts); default: all
   */
  reload(only?: TlsEnds): void;
  /** Resolves when `connections` is 0, at once if it is; rejects with the signal's reason. */
  drained(options?: { signal?: AbortSignal | undefined }): Promise<void>;
  /** Hear of the end of each of its connections, of those in order too, until the returned function is called. Nothing is heard of before that. */
  onEnd(listener: EndListener): () => void;
  /** All that was counted of its connections since it was opened; see tally.ts. The row is the caller's. */
  tally(): Tally;
  /** Close every connection now, for this reason (default: closed); both peers see an end, bytes in flight are lost. Returns how many. */
  destroy(why?: ClosingReason): number;
  /**
   * Its owner routes no client there any more and never will again: the engine forgets it with its
   * last connection. What was asked of it before is still answered. Twice is fine.
   */
  forget(): void;
};

/** An accepted client that has not ended yet. */
export type OpenConnection = {
  /** No other connection has it, in no process; it stays the same when the connection moves to another one. */
  id: string;
  upstream: Upstream;
  /** The client's address, `host:port`, `[host]:port` or `unix`. */
  client: string;
  /** `dialing`: what comes before its upstream is connected, handshakes of the client included; `half-closed`: one direction has ended. */
  state: 'dialing' | 'open' | 'half-closed';
  /** When its client was accepted, in milliseconds since the epoch. */
  startedMs: number;
  /** For how many milliseconds no byte has come from either side. */
  idleMs: number;
  bytesIn: number;
  bytesOut: number;
  /** Where the name that the client asked for decided. */
  chosen?: Chosen;
  /** Of the client's side and of the upstream's, where they have TLS. */
  clientTls?: TlsFacts;
  upstreamTls?: TlsFacts;
};

/** What was agreed on in a TLS handshake. */
export type TlsFacts = {
  /** `TLSv1.3` */
  version: string;
  cipher: string;
  /** The key exchange, `X25519`; absent where it cannot be told. */
  group?: string;
};

/** Whether somebody wants to hear of connections that ended in order. */
export type OrderlyEnds = boolean | 'soon';

/** Hears what happens to connections; must not throw and must be quick. */
export type EngineObserver = {
  /** An accepted client ended. `error` is why, when it was not an orderly end or a peer's reset. */
  connectionEnded?(event: ConnectionEnd): void;
  /** False: `connectionEnded` need not be called without an error; `soon`: it may be called a little later then. Default true. */
  readonly wantsOrderlyEnds?: OrderlyEnds;
  /** Accepting stopped for a while (no descriptors or memory left) or went on again. */
  acceptPaused?(event: { error: Error; retryInMs: number }): void;
  acceptResumed?(): void;
};

/** Hears of the end of connections; must not throw and must be quick. */
export type EndListener = (end: ConnectionEnd) => void;

/** What is told of a connection that has ended. */
export type ConnectionEnd = {
  /** The client's address, `host:port` or `unix`; where a proxy speaks for it by a PROXY header, what that says. */
  peer: string;
  /** The address of that proxy; null without one. */
  via: string | null;
  upstream: Upstream;
  /** `dial`: no upstream was reached; `handshake`: TLS or PROXY of the client failed; `relay`: after connecting. */
  stage: 'handshake' | 'dial' | 'relay';
  error: Error | null;
  /** Why it ended: exactly one word for each connection. */
  reason: ClosingReason;
  bytesIn: number;
  bytesOut: number;
  /** When it was accepted, milliseconds since the epoch. */
  startedMs: number;
  /** From there until its destination was connected; null when it was not. */
  connectMs: number | null;
  durationMs: number;
  /** Of a client that speaks TLS: the version, the name that it asked for, and whose its verified certificate is, if it has one. */
  tls: { version: string; name: string | null; client?: string } | null;
  /** Where the name that the client asked for decided where it went. */
  chosen?: Chosen | undefined;
  /** Which process of the daemon accepted it, where that was another one; null: this one. */
  generation: number | null;
};

/** Where connections go on that come from another process. */
export type AdoptOptions = {
  upstream: Upstream;
  /** Where clients of its rule are accepted now; null when they are not any more. */
  frontend: Frontend | null;
  /** Without a frontend: who hears of the end, and how long no byte may move. */
  observer: EngineObserver;
  idleMs: number | null;
  /** Without a frontend: how long they may last in all. Default: for ever. */
  lifetimeMs?: number | null;
  /** Without a frontend: most bytes kept each way. Default: as many as the engine finds best. */
  bufferBytes?: number | null;
  /** Where they have a place each from now on; null: no limit. */
  slots?: Slots | null;
  /** Where they are counted from now on; null: nowhere. */
  admission?: Admission | null;
  /** Whether those that are not connected yet wait; as of a frontend. */
  hold?: Hold<Upstream> | null;
};

/** An engine whose connections can change the process. */
export type Mover = {
  /** Stop up to so many connections of an upstream where they are, unless `tls` is false those with TLS too. None is given when none can be moved. */
  freeze(upstream: Upstream, limit: number, options?: { tls?: boolean }): Promise<MovedConnection[]>;
  /** Connections of an upstream whose clients are shaking hands: they can be moved when they have. */
  handshakes(upstream: Upstream): number;
  /** Connections of an upstream that another engine has inside this one, and that never move. */
  unmovable(upstream: Upstream): number;
  /** Number of the form in which connections with TLS move; null: none can have it. */
  readonly tlsFormat: number | null;
  /** Whether `adopt` takes connections with TLS in this form. It may start what is needed for that. */
  canAdoptTls(format: number): boolean;
  /** Let frozen connections go on here. */
  thaw(connections: readonly MovedConnection[]): void;
  /** Whether `adopt` can be expected to succeed. Asked before the other process lets go. */
  readonly canAdopt: boolean;
  /** Forget frozen connections, which another process has: no peer notices. */
  release(connections: readonly MovedConnection[]): void;
  /** Go on with connections of another process. Their descriptors are the engine's from now on. Throws GraceError when it cannot. */
  adopt(connections: readonly MovedConnection[], options: AdoptOptions): void;
  /** Resolves when all that was adopted so far goes on, or after a second. */
  settled(): Promise<void>;
};
