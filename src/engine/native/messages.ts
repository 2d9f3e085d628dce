/** What the main thread and the threads that move bytes say to each other. */
import type { ClosingReason } from '../closing-reason.ts';
import type { TargetPlan } from '../dial-order.ts';
import type { MessagePort } from 'node:worker_threads';
import type { OpenConnection } from '../engine.ts';
import type { AdmittedNetworks } from '../admission/admission.ts';
import type { SlotsPlan } from '../slots.ts';
import type { SpokenFor } from '../spoken-for.ts';
import type { Chosen } from '../sni-choice.ts';
import type { MovedConnection } from '../transfer.ts';
import type { ContextSettings, FrontendPlan, UpstreamPlan, UpstreamTls } from './thread-plans.ts';

/** What the main thread sends; each is carried out in the order in which it was sent. */
export type ThreadCommand =
  | { type: 'open-upstream'; plan: UpstreamPlan }
  /** Handshakes with it to come are made with another SSL_CTX. */
  | { type: 'set-upstream-tls'; upstream: number; tls: UpstreamTls }
  /** Nobody will name it again; it is remembered for the connections that it has. */
  | { type: 'forget-upstream'; upstream: number }
  /** The addresses of a name, or why it has none, and whether that may pass. */
  | {
      type: 'resolved';
      upstream: number;
      addresses: Uint8Array[];
      /** Of a service: whose addresses they are; null: those of one name. */
      targets: readonly TargetPlan[] | null;
      /** So long nobody needs to ask again. */
      freshMs: number;
      failure: { text: string; isPassing: boolean } | null;
    }
  /** Say `drained` when no connection of this upstream is left here. */
  | { type: 'watch'; upstream: number }
  | { type: 'destroy'; upstream: number; why: ClosingReason }
  | { type: 'open-frontend'; plan: FrontendPlan }
  /** Accept no more, answer `frontend-closed`. The descriptor is the main thread's to close. */
  | { type: 'close-frontend'; frontend: number }
  /** Handshakes of its clients to come are made with another SSL_CTX. */
  | { type: 'set-context'; frontend: number; context: number }
  /** The thread of handshakes is gone: so are the clients that it had. */
  | { type: 'end-handshakes' }
  /** To the thread of handshakes: what an SSL_CTX is used with. It comes before the first client for it. */
  | { type: 'use-context'; context: number; settings: ContextSettings }
  /** To the same: no client comes for it any more. */
  | { type: 'forget-context'; context: number }
  /** To the same: the keys that seal session tickets where a listener has none of its own, the newest first. */
  | { type: 'seal-tickets'; keys: readonly Uint8Array[] }
  /** These networks may come in from now on. */
  | { type: 'set-networks'; frontend: number; networks: AdmittedNetworks }
  /** There is room for clients again: of a frontend, or null, among the places of all connections. */
  | { type: 'look-for-room'; frontend: number | null }
  /** Somebody else who accepted on the same socket does so no more. */
  | { type: 'look-in-queue'; frontend: number }
  /** So many connections of its source are other processes'. */
  | { type: 'count-elsewhere'; frontend: number; count: number }
  /** A rule is held no longer: dial for those that wait. */
  | { type: 'release-held'; hold: number }
  /** Those that wait go to another destination. */
  | { type: 'route-held'; hold: number; upstream: number }
  /** Those that wait go where threads cannot; answer `surrendered`, if there are any. */
  | { type: 'surrender-held'; hold: number }
  /** Freeze up to so many connections of an upstream for a hand-over, without those that have TLS unless `tls`; answer `frozen`. */
  | { type: 'freeze'; upstream: number; limit: number; tls: boolean }
  /** Let frozen connections go on. */
  | { type: 'thaw'; clients: number[] }
  /** Another process has these frozen connections: close the copies, which no peer notices. */
  | { type: 'release'; clients: number[] }
  /** Take over a connection of another process. */
  | {
      type: 'adopt';
      upstream: number;
      frontend: number;
      connections: MovedConnection[];
      /** Memory of the key table, which has the keys of those that speak TLS already. */
      keys: SharedArrayBuffer | null;
    }
  /** Say what connections of these upstreams there are, from this descriptor on, some at a time; answer `listed`. */
  | { type: 'list'; question: number; upstreams: number[]; from: number }
  /** End the connections with these numbers, as far as they are here; answer `closed-connections`. */
  | { type: 'close-connections'; question: number; ids: number[] }
  /** Nothing happens: give back memory. */
  | { type: 'trim-memory' }
  /** Say when all that was sent before has been carried out; answer `answered`. */
  | { type: 'answer'; question: number }
  | { type: 'stop' };

/** In place of an errno: the time of the dial was up. */
export const OUT_OF_TIME = 0;
/** The same, and until then there was no local port to connect from: EADDRNOTAVAIL says that and other things. */
export const OUT_OF_PORTS = -1;

/** Why a connection ended: errors of system calls by their number, each with the number of the address, or a sentence. */
export type EndReason =
  { failures: readonly { address: number; errno: number }[] } | { text: string; hint?: string | undefined } | null;

/** What is told of a client that speaks TLS: the version, the name that it asked for, and that of its certificate, which was verified. */
export type TlsClient = { version: string; name: string | null; client?: string };

/** What a thread tells of a connection that has ended. */
export type EndReport = {
  upstream: number;
  frontend: number;
  peer: string;
  /** Who spoke for it by a PROXY header; null: nobody who was not it. */
  via: string | null;
  stage: 'handshake' | 'dial' | 'relay';
  /** Of a client that speaks TLS. */
  tls: TlsClient | null;
  why: ClosingReason;
  reason: EndReason;
  /** Where it was chosen: the number of the destination that was dialled, and what was chosen. */
  way?: number;
  chosen?: Chosen;
  /** When it was accepted, milliseconds since the epoch. */
  startedMs: number;
  /** Milliseconds until its destination was connected; null when it was not. */
  connectMs: number | null;
  /** Which process of the daemon accepted it, when it was another one; null: this one. */
  generation: number | null;
  bytesIn: number;
  bytesOut: number;
  durationMs: number;
};

/** An open connection, as a thread tells of it; its upstream by its number. */
export type ListedConnection = Omit<OpenConnection, 'upstream' | 'id'> & { upstream: number; id: number };

/** Ends of connections in shared memory: the first `count` of the rows in it, see end-batch.ts. */
export type EndsMessage = { buffer: SharedArrayBuffer; count: number };

/** A client that comes out of a thread; `spokenFor`: absent where no proxy had to speak for it. */
export type SurrenderedClient = { fd: number; spokenFor?: SpokenFor };

/** What the main thread has found out of a name. */
export type Resolved = Extract<ThreadCommand, { type: 'resolved' }>;

/** What a thread sends. */
export type Report =
  | { type: 'resolve'; upstream: number }
  /** Nobody waits for that any more. */
  | { type: 'resolve-no-more'; upstream: number }
  | { type: 'ended'; ends: EndReport[] }
  /** See end-batch.ts. */
  | { type: 'ended-quietly'; ends: EndsMessage }
  | { type: 'drained'; upstream: number }
  /** It was to be forgotten, and all that concerned it has been reported. */
  | { type: 'upstream-forgotten'; upstream: number }
  /** A place became free that this frontend, which is closed, cannot use. */
  | { type: 'room'; frontend: number }
  /** One of the places of all connections became free, and somebody elsewhere waits for it. */
  | { type: 'room-in-total' }
  /** As many of them are taken as some may take, of which the main thread wants to know. */
  | { type: 'total-full' }
  /** As many clients of a held rule wait as may. */
  | { type: 'held-full'; hold: number }
  /** There is room for more of them again. */
  | { type: 'held-room'; hold: number }
  /** Clients that waited, whose descriptors are the main thread's now. */
  | { type: 'surrendered'; hold: number; clients: SurrenderedClient[] }
  | { type: 'paused'; frontend: number; errno: number; retryInMs: number }
  | { type: 'resumed'; frontend: number }
  | { type: 'frontend-closed'; frontend: number }
  /** It accepts no more, and its last connection here has ended. */
  | { type: 'frontend-forgotten'; frontend: number }
  /** `shaking`: clients that are in their handshake, as far as was looked. */
  | { type: 'frozen'; upstream: number; connections: MovedConnection[]; shaking: number }
  /** `next`: where to go on; null: these were the last. */
  | { type: 'listed'; question: number; connections: ListedConnection[]; next: number | null }
  | { type: 'closed-connections'; question: number; count: number }
  | { type: 'answered'; question: number };

/** What the thread of handshakes is started with. */
export type HandshakeSettings = {
  /** What it waits on, which is there before the thread is: clients may come before. */
  epollFd: number;
  /** See tls/key-table.ts. */
  keys: SharedArrayBuffer;
  /** Most handshakes of a frontend at once; one more ends the oldest. */
  limit: number;
};

/** What a thread is started with. Commands come as a message on the port, and then a byte on the descriptor, which wakes it. */
export type ThreadData = {
  number: number;
  table: SharedArrayBuffer;
  port: MessagePort;
  wakeFd: number;
  /** See heartbeat.ts. */
  heartbeat: SharedArrayBuffer;
  /** See total-slots.ts; null: no limit. */
  total: SlotsPlan | null;
  /** Of the thread that shakes hands instead of moving bytes: what it waits on, which is there before the thread is, and its key table. */
  handshakes?: HandshakeSettings | undefined;
};
