/** What the main thread and the threads that move bytes say to each other. */
import type { MessagePort } from 'node:worker_threads';
import type { SeatsPlan } from '../seats.ts';
import type { MovedConnection } from '../transfer.ts';

/** A destination as a thread needs it. */
export type UpstreamPlan = {
  id: number;
  /** See counters.ts. */
  counters: SharedArrayBuffer;
  /** `struct sockaddr` of each address; null: a name that the main thread resolves for every dial. */
  addresses: Uint8Array[] | null;
  /** `struct sockaddr` to connect from. */
  bindAddress: Uint8Array | null;
  timeoutMs: number;
  retryMs: number;
  /** Idle milliseconds before the first keep-alive probe; 0: none. */
  keepAliveMs: number;
  /** Whether its port is one that the system gives out to those who connect. */
  mayMeetItself: boolean;
};

export type EntrancePlan = {
  id: number;
  /** -1: nothing is accepted; it is for connections of another process. */
  fd: number;
  isUnix: boolean;
  /** See route.ts. */
  route: SharedArrayBuffer;
  /** See seats.ts; null: no limit. */
  seats: SeatsPlan | null;
  idleMs: number | null;
  /** Whether somebody wants to hear of connections that ended in order. */
  reportsOrderly: boolean;
};

export type Command =
  | { do: 'open-upstream'; plan: UpstreamPlan }
  /** Nobody will name it again; it is remembered for the connections that it has. */
  | { do: 'forget-upstream'; upstream: number }
  /** The addresses of a name, or why it has none, and whether that may pass. */
  | { do: 'resolved'; upstream: number; addresses: Uint8Array[]; failure: { text: string; isPassing: boolean } | null }
  /** Say `drained` when no connection of this upstream is left here. */
  | { do: 'watch'; upstream: number }
  | { do: 'destroy'; upstream: number }
  | { do: 'open-entrance'; plan: EntrancePlan }
  /** Accept no more, answer `entrance-closed`. The descriptor is the main thread's to close. */
  | { do: 'close-entrance'; entrance: number }
  /** There is room for clients again. */
  | { do: 'look-for-room'; entrance: number }
  /** Freeze up to so many connections of an upstream for a hand-over; answer `frozen`. */
  | { do: 'freeze'; upstream: number; limit: number }
  /** Let frozen connections go on. */
  | { do: 'thaw'; clients: number[] }
  /** Another process has these frozen connections: close the copies, which no peer notices. */
  | { do: 'let-go'; clients: number[] }
  /** Take over a connection of another process. */
  | { do: 'adopt'; upstream: number; entrance: number; connections: MovedConnection[] }
  /** Nothing happens: give back memory. */
  | { do: 'rest' }
  | { do: 'stop' };

/** In place of an errno: the time of the dial was up. */
export const OUT_OF_TIME = 0;

/** Why a connection ended: errors of system calls by their number, each with the number of the address, or a sentence. */
export type EndReason = { failures: readonly { address: number; errno: number }[] } | { text: string } | null;

export type EndReport = {
  upstream: number;
  entrance: number;
  peer: string;
  stage: 'dial' | 'relay';
  reason: EndReason;
  bytesIn: number;
  bytesOut: number;
  durationMs: number;
};

export type Report =
  | { said: 'resolve'; upstream: number }
  /** Nobody waits for that any more. */
  | { said: 'resolve-no-more'; upstream: number }
  | { said: 'ended'; ends: EndReport[] }
  | { said: 'drained'; upstream: number }
  /** It was to be forgotten, and all that concerned it has been reported. */
  | { said: 'upstream-forgotten'; upstream: number }
  /** A place became free that this entrance, which is closed, cannot use. */
  | { said: 'room'; entrance: number }
  | { said: 'paused'; entrance: number; errno: number; retryInMs: number }
  | { said: 'resumed'; entrance: number }
  | { said: 'entrance-closed'; entrance: number }
  /** It accepts no more, and its last connection here has ended. */
  | { said: 'entrance-forgotten'; entrance: number }
  | { said: 'frozen'; upstream: number; connections: MovedConnection[] };

/** What a thread is started with. Commands come as a message on the port, and then a byte on the descriptor, which wakes it. */
export type ThreadData = {
  number: number;
  legs: SharedArrayBuffer;
  port: MessagePort;
  wakeFd: number;
  /** See pulse.ts. */
  pulse: SharedArrayBuffer;
};
