/** What the roles of one thread share: the calls, the table of legs, and what is open. */
import type { ClosingReason } from '../closing-reason.ts';
import type { TargetPlan } from '../dial-order.ts';
import type { ConnectionIds } from '../connection-ids.ts';
import type { ConnectionCount } from './connection-count.ts';
import type { Counters } from './counters.ts';
import type { PinnedAddress, Kernel } from './kernel.ts';
import type { ConnectionTable } from './connection-table.ts';
import type { EndReason, Report, SurrenderedClient } from './messages.ts';
import type { FrontendPlan, UpstreamPlan } from './thread-plans.ts';
import type { Admission } from '../admission/admission.ts';
import type { Hold } from '../hold.ts';
import type { Slots } from '../slots.ts';
import type { TotalSlots } from '../total-slots.ts';
import type { Route } from './route.ts';
import type { Codec } from './codec.ts';
import type { Chosen } from '../sni-choice.ts';

/** What is known of a destination; `targets`: whose addresses they are, where the name is that of a service. */
export type ResolvedAddresses = {
  readonly addresses: readonly PinnedAddress[];
  readonly targets: readonly TargetPlan[] | null;
  readonly until: number;
};

/** A destination, as a thread knows it. */
export type ThreadUpstream = {
  plan: UpstreamPlan;
  readonly counters: Counters;
  /** The addresses that its endpoint tells itself; null for a name. */
  readonly fixed: ResolvedAddresses | null;
  /** Addresses of a name, or of the targets of a service, and until when they are used without asking again. */
  resolved: ResolvedAddresses | null;
  readonly bindAddress: PinnedAddress | null;
  /** The address that was connected last. */
  answeredLast: PinnedAddress | null;
  /** The main thread waits for the last connection to end. */
  isWatched: boolean;
  /** It is forgotten with its last connection. */
  isForgotten: boolean;
  /** How sure it is that its clients speak first; see first-flight.ts. */
  eagerness: number;
};

/** Whether clients wait, and the number of that among the holds of the engine. */
export type ThreadHold = { readonly id: number; readonly state: Hold };

/** A frontend, as a thread knows it. */
export type ThreadFrontend = {
  plan: FrontendPlan;
  readonly route: Route;
  readonly slots: Slots | null;
  /** It has clients, and waits for one of the places of all connections. */
  waitsForTotal: boolean;
  readonly admission: Admission | null;
  /** Null: its clients never wait. */
  readonly hold: ThreadHold | null;
  /** Connections of it that are open, here and in all threads. */
  readonly connections: ConnectionCount;
  /** The same of its source in other processes, as far as it matters. */
  elsewhere: number;
  /** Whether the listener is watched at the moment. */
  isWatched: boolean;
  /** Clients that a turn takes at most. It follows how many there are, since an accept(2) that finds none costs as much as one that does. */
  burst: number;
  /** No client is accepted any more; it is kept for the connections it has. */
  isClosed: boolean;
  /** When accepting goes on that a lack of descriptors or memory stopped, and after which pause; 0: it is not stopped. */
  resumeAt: number;
  pauseMs: number;
  /** So long every client is tuned by itself; 0: its listener has done it. */
  tuneUntil: number;
  /** When idle connections are looked for next. */
  nextLookAt: number;
};

/** What was chosen for a client, and what is dialled for it. */
export type Way = { readonly chosen: Chosen; readonly upstream: ThreadUpstream };

/** What the roles of one thread share. */
export type Thread = {
  readonly number: number;
  readonly kernel: Kernel;
  readonly table: ConnectionTable;
  readonly ids: ConnectionIds;
  /** The places of all connections of the daemon; null: no limit. */
  readonly total: TotalSlots | null;
  /** By their numbers. */
  readonly upstreams: Map<number, ThreadUpstream>;
  readonly frontends: Map<number, ThreadFrontend>;
  /** What was chosen for clients by the name that they asked for, by descriptor. */
  readonly ways: Map<number, Way>;
  /** Addresses of IPv6 clients, by descriptor. */
  readonly ipv6Peers: Map<number, string>;
  /** Milliseconds of a clock that never jumps, as of the last time the thread woke. */
  now: number;
  /** One more than the highest descriptor that it ever had. */
  fdBound: number;
  send(report: Report): void;
  /** Carry out the commands that have come. */
  readMailbox(): void;
  /** A client was accepted: see Connections in connection.ts, whose methods this and the four below are. */
  admit(client: number, frontend: ThreadFrontend, upstream: number): boolean;
  /** What its upstream is to be told of a client before anything else; null: nothing. */
  preludeOf(client: number): Uint8Array | null;
  /** Its upstream is connected; and, with a codec, has shaken hands, after it was told of the client. */
  pair(client: number, server: number, codec?: Codec | null): void;
  /**
   * A connection is over: close both legs, with a reset or in order, and report it.
   * A leg whose dial is not over is not known here; the dialler closes it.
   */
  end(client: number, options: EndOptions): void;
  /** A client that is not connected goes elsewhere; its descriptor is the caller's. */
  surrender(client: number): SurrenderedClient;
};

/** How a connection ends. */
export type EndOptions = {
  stage: 'handshake' | 'dial' | 'relay';
  why: ClosingReason;
  reason: EndReason;
  reset: boolean;
  /** The client was told why, and is to be let read it. */
  lingers?: boolean;
  /** It did not end, it is another process's now: nobody is told. */
  isSilent?: boolean;
};
