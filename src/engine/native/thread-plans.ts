/** What a thread is told of a destination, a frontend, and how handshakes are made: plain values, since they pass between threads. */
import type { AdmissionPlan } from '../admission/admission.ts';
import type { Presentable } from '../certificate-choice.ts';
import type { OrderlyEnds } from '../engine.ts';
import type { HeaderPlan } from '../header-plan.ts';
import type { HoldPlan } from '../hold.ts';
import type { PreludePlan } from '../prelude.ts';
import type { SlotsPlan } from '../slots.ts';
import type { Pattern } from '../sni-choice.ts';
import type { SessionPlan } from './tls/session-pool.ts';

/** A destination as a thread needs it. */
export type UpstreamPlan = {
  id: number;
  /** See counters.ts. */
  counters: SharedArrayBuffer;
  /** `struct sockaddr` of each address; null: a name, or a service, that the main thread resolves. */
  addresses: Uint8Array[] | null;
  /** `struct sockaddr` to connect from. */
  bindAddress: Uint8Array | null;
  /** What it is told of a client before the client's own bytes; null: nothing. */
  prelude: PreludePlan;
  timeoutMs: number;
  retryMs: number;
  /** Idle milliseconds before the first keep-alive probe; 0: none. */
  keepAliveMs: number;
  /** The connection is cut when nothing is acknowledged for so many milliseconds; 0: the system's time. */
  userTimeoutMs: number;
  /** How legs towards it shake hands; null: without TLS. */
  tls: UpstreamTls | null;
  /** Whether its port is one that the system gives out to those who connect. */
  mayMeetItself: boolean;
  /** Where it is one of several for each client; what stands above then has no meaning. Null: it is a single one. */
  sni: SniPlan | null;
};

/** One of the destinations among which is chosen; it has the counters of the one that they are of. */
export type WayPlan = Omit<UpstreamPlan, 'counters' | 'sni'>;

/** What a thread needs to have handshakes made with a destination; see tls/service.ts. */
export type UpstreamTls = {
  /** What the thread of handshakes waits on. */
  epollFd: number;
  /** See tls/key-table.ts. */
  keys: SharedArrayBuffer;
  /** Address of the SSL_CTX that handshakes are made with. */
  context: number;
  /** The name that its certificate must be for, for words. */
  checked: string;
  /** See tls/sessions.ts. */
  sessions: SessionPlan;
};

/** Destinations by the name that a client asks for. */
export type SniPlan = {
  patterns: Pattern[];
  /** One for each pattern, in order, and the default where there is one; `to`: how it is called. */
  ways: { to: string; plan: WayPlan }[];
  hasDefault: boolean;
};

/** A frontend as a thread needs it. */
export type FrontendPlan = {
  id: number;
  /** -1: nothing is accepted; it is for connections of another process. */
  fd: number;
  isUnix: boolean;
  /** See route.ts. */
  route: SharedArrayBuffer;
  /** See connection-count.ts. */
  connections: SharedArrayBuffer;
  /** See slots.ts; null: no limit. */
  slots: SlotsPlan | null;
  /** See admission.ts; null: anybody may come in. */
  admission: AdmissionPlan | null;
  /** See hold.ts; null: its clients never wait. */
  hold: (HoldPlan & { id: number }) | null;
  idleMs: number | null;
  lifetimeMs: number | null;
  /** Most bytes kept of a connection each way; null: what one read or one pipe takes. */
  bufferBytes: number | null;
  /** Longest that a ClientHello may take by which a destination is chosen, in milliseconds. */
  helloMs: number;
  /** Whether somebody wants to hear of connections that ended in order; `soon`: with others, a little later. */
  reportsOrderly: OrderlyEnds;
  /** What is asked of a PROXY header of its clients; null: they send none. */
  header: HeaderPlan | null;
  /** How its clients shake hands; null: they speak no TLS. */
  tls: TlsPlan | null;
};

/** What a thread needs to have handshakes made for its clients; see tls/service.ts. */
export type TlsPlan = {
  /** What the thread of handshakes waits on. */
  epollFd: number;
  /** See tls/key-table.ts. */
  keys: SharedArrayBuffer;
  /** Address of the SSL_CTX that handshakes are made with. */
  context: number;
  /** Most handshakes of the frontend at once. */
  limit: number;
  /** Whether an end of a client without a closing alert of TLS is a reset. */
  seesTruncation: boolean;
};

/** How handshakes of an SSL_CTX are made, beside what it knows itself. */
export type ContextSettings = {
  /** Longest handshake, in milliseconds. */
  timeoutMs: number;
  /** Its own keys of session tickets, 80 bytes each, the newest first, which seals; null: those of every listener. */
  ticketKeys: readonly Uint8Array[] | null;
  /** Who the server must be, where handshakes are those of a client; null: of a server. */
  server: ServerSettings | null;
  /** What is chosen by a ClientHello, at which its handshakes stop; null: nothing, and they do not. */
  hello: HelloPlan | null;
};

/** What a client asks of a server. */
export type ServerSettings = {
  /** The name that is sent; null: none. */
  sent: string | null;
  /** The name, or the address, that its certificate must be for; null: nobody asks. */
  checked: string | null;
  isAddress: boolean;
  /** A client that has a certificate may be asked for it later, where TLS is 1.2. */
  mayRenegotiate: boolean;
  /** See tls/sessions.ts. */
  sessions: SessionPlan;
};

/** What is chosen by a ClientHello. */
export type HelloPlan = {
  /** Those among which is chosen by name, each with the address of its SSL_CTX. */
  certificates: readonly (Presentable & { context: number })[];
  /** A client that asks for none of them gets that of the SSL_CTX which its handshake began with. */
  hasOther: boolean;
  /** Protocols of ALPN, preferred first; null: none are agreed on. */
  protocols: readonly string[] | null;
};
