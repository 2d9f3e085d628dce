/**
 * Notices peers that are gone although nothing is read from them: clients whose upstream is being
 * dialled, and peers whose bytes the other side does not take.
 *
 * A socket that is not read tells nothing. So every one that has been so for a while is looked at
 * from outside, now and then:
 *
 * - a reset, and the close of a Unix socket, fails a write of no bytes;
 * - a TCP connection that was reset is missing in the system's table of connections, and the end of
 *   one shows there.
 *
 * A client that ends while its upstream is dialled has given up if it sent nothing, as far as anyone
 * can tell, unless the dial succeeds before the second look: then the end is passed on as always. With
 * data in front of its end it has not: they have to reach the upstream, and it may wait for an answer.
 */
import type { Leg } from './leg.ts';
import { readTcpStates, tcpKey } from './tcp-table.ts';
import type { TcpState } from './tcp-table.ts';

export type VigilOptions = {
  /** Time between two looks in milliseconds, and before the first. */
  lookMs?: number;
};

/** What counts as gone: a reset alone, or also an end without data. */
export type Going = 'reset' | 'reset or end';

type Watched = {
  readonly leg: Leg;
  readonly going: Going;
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
const mostLoad = 0.01;
const nothing = new Uint8Array(0);

export class Vigil {
  readonly #lookMs: number;
  readonly #watched = new Set<Watched>();
  #timer: NodeJS.Timeout | null = null;

  constructor({ lookMs = 200 }: VigilOptions = {}) {
    this.#lookMs = lookMs;
  }

  /** Call back once when the peer is gone, or have its socket fail. Returns what ends the watch. */
  watch(leg: Leg, going: Going, gone: () => void): () => void {
    const watched: Watched = { leg, going, gone, sinceMs: performance.now(), key: null, wasSeen: false, suspicions: 0 };
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
    const isSuspect = state === undefined ? watched.wasSeen : watched.going === 'reset or end' && hasGivenUp(watched.leg, state);
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
