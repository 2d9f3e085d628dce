/**
 * Notices clients that give up while their upstream is being dialled.
 *
 * Nothing may be read from such a client, and a socket that is not read tells nothing. So every client
 * that has waited for a while is looked at from outside, now and then:
 *
 * - a reset, and the close of a Unix socket, fails a write of no bytes;
 * - the end of a TCP client shows in the system's table of connections. With data in front of it the
 *   data still has to reach the upstream, and the client may wait for an answer: it has not given up.
 *   Without data it has, as far as anyone can tell, unless the dial succeeds before the second look:
 *   then the end is passed on as always.
 */
import type { Leg } from './leg.ts';
import { readTcpStates, tcpKey } from './tcp-table.ts';
import type { TcpState } from './tcp-table.ts';

export type VigilOptions = {
  /** Time between two looks in milliseconds, and before the first. */
  lookMs?: number;
};

type Watched = {
  readonly leg: Leg;
  readonly gone: () => void;
  readonly sinceMs: number;
  key: string | null;
  wasSeen: boolean;
  /** Looks in a row at which it seemed to be gone. */
  suspicions: number;
};

/** Looks that must agree: one table may be read while it changes, and a dial may be about to succeed. */
const looksToBelieve = 2;
/** Share of the time that may go into reading tables, which grow with the connections of the machine. */
const mostLoad = 0.05;
const nothing = new Uint8Array(0);

export class Vigil {
  readonly #lookMs: number;
  readonly #watched = new Set<Watched>();
  #timer: NodeJS.Timeout | null = null;

  constructor({ lookMs = 200 }: VigilOptions = {}) {
    this.#lookMs = lookMs;
  }

  /** Call back once when the client has gone. Returns what ends the watch. */
  watch(leg: Leg, gone: () => void): () => void {
    const watched: Watched = { leg, gone, sinceMs: performance.now(), key: null, wasSeen: false, suspicions: 0 };
    this.#watched.add(watched);
    this.#schedule(this.#lookMs);
    return () => this.#watched.delete(watched);
  }

  close(): void {
    this.#watched.clear();
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #schedule(delayMs: number): void {
    this.#timer ??= setTimeout(() => void this.#look(), delayMs);
  }

  async #look(): Promise<void> {
    const startMs = performance.now();
    // Most dials take no time at all: only those that do are worth a look.
    const waiting = [...this.#watched].filter(({ sinceMs }) => startMs - sinceMs >= this.#lookMs / 2);
    for (const { leg } of waiting) poke(leg);
    const states = await readTcpStates(keysOf(waiting));
    if (states !== null) for (const watched of waiting) this.#judge(watched, states);
    this.#timer = null;
    const tookMs = performance.now() - startMs;
    if (this.#watched.size > 0) this.#schedule(Math.max(this.#lookMs, tookMs / mostLoad));
  }

  #judge(watched: Watched, states: ReadonlyMap<string, TcpState>): void {
    if (watched.key === null || !this.#watched.has(watched)) return;
    const state = states.get(watched.key);
    watched.wasSeen ||= state !== undefined;
    // A connection of another network namespace is in no table of ours: it has not gone.
    const isSuspect = state === undefined ? watched.wasSeen : hasGivenUp(watched.leg, state);
    watched.suspicions = isSuspect ? watched.suspicions + 1 : 0;
    if (watched.suspicions < looksToBelieve) return;
    this.#watched.delete(watched);
    watched.gone();
  }
}

function hasGivenUp({ socket }: Leg, { hasPeerEnded, unread }: TcpState): boolean {
  return hasPeerEnded && unread <= 1 && socket.readableLength === 0;
}

/** The error comes to whoever listens for the end of the socket. Under TLS a write of no bytes says nothing. */
function poke({ socket, carrier }: Leg): void {
  if (socket === carrier && socket.writable) socket.write(nothing);
}

function keysOf(waiting: readonly Watched[]): Set<string> {
  const keys = new Set<string>();
  for (const watched of waiting) {
    watched.key ??= keyOf(watched.leg);
    if (watched.key !== null) keys.add(watched.key);
  }
  return keys;
}

function keyOf({ carrier: { localAddress, localPort, remoteAddress, remotePort } }: Leg): string | null {
  if (localAddress === undefined || localPort === undefined || remoteAddress === undefined || remotePort === undefined) return null;
  return tcpKey({ localAddress, localPort, remoteAddress, remotePort });
}
