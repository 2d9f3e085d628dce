/**
 * Notices peers that are gone although nothing is read from them: clients whose upstream is being
 * dialled or who are slow to shake hands, and peers whose bytes the other side does not take.
 *
 * A socket that is not read tells nothing. So every one that has been so for a while is looked at
 * from outside, now and then:
 *
 * - the system tells where a TCP connection stands: reset, ended, what waits to be read;
 * - the close of a Unix socket, and a reset where the system does not tell, fails a write of no bytes.
 *
 * A client that ends its direction while its upstream is dialled has not given up: it may have nothing to
 * say and wait for what the server says, and TCP does not tell one from the other. In the middle of a
 * handshake it has.
 */
import type { Leg } from './leg.ts';
import { openTcpDiagnosis } from './tcp-diag.ts';
import type { TcpAddresses, TcpDiagnosis, TcpState } from './tcp-diag.ts';

/** How often peers are looked at. */
export type PeerMonitorOptions = {
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
  addresses: TcpAddresses | null;
  /** The system knew of it before. */
  wasKnown: boolean;
  /** Looks in a row at which it seemed to be gone. */
  suspicions: number;
};

/** Looks that must agree, as a dial may be about to succeed. */
const LOOKS_TO_BELIEVE = 2;
/** Share of the time that may go into looking. */
const MAX_LOAD = 0.02;
const NOTHING = new Uint8Array(0);

/** Looks at the peers of an engine that nobody reads from. */
export class PeerMonitor {
  readonly #lookMs: number;
  readonly #watched = new Set<Watched>();
  #timer: NodeJS.Timeout | null = null;

  constructor({ lookMs = 200 }: PeerMonitorOptions = {}) {
    this.#lookMs = lookMs;
  }

  /** Call back once when the peer is gone, or have its socket fail. Returns what ends the watch. */
  watch(leg: Leg, going: Going, gone: () => void): () => void {
    const watched: Watched = {
      leg,
      going,
      gone,
      sinceMs: performance.now(),
      addresses: null,
      wasKnown: false,
      suspicions: 0,
    };
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
    this.#timer ??= setTimeout(() => this.#look(), delayMs);
  }

  #look(): void {
    this.#timer = null;
    const startMs = performance.now();
    // Most dials take no time at all: only those that do are worth a look.
    const waiting = [...this.#watched].filter(({ sinceMs }) => startMs - sinceMs >= this.#lookMs / 2);
    const onTcp = waiting.filter(({ leg }) => leg.isTcp);
    const isDiagnosed = onTcp.length > 0 && this.#diagnose(onTcp);
    for (const { leg } of waiting) if (!isDiagnosed || !leg.isTcp) poke(leg);
    const tookMs = performance.now() - startMs;
    if (this.#watched.size > 0) this.#schedule(Math.max(this.#lookMs, tookMs / MAX_LOAD));
  }

  #diagnose(onTcp: readonly Watched[]): boolean {
    using diagnosis = openTcpDiagnosis();
    if (diagnosis === null) return false;
    for (const watched of onTcp) {
      watched.suspicions = isSuspect(watched, diagnosis) ? watched.suspicions + 1 : 0;
      if (watched.suspicions < LOOKS_TO_BELIEVE) continue;
      this.#watched.delete(watched);
      watched.gone();
    }
    return true;
  }
}

function isSuspect(watched: Watched, diagnosis: TcpDiagnosis): boolean {
  const { leg, going } = watched;
  watched.addresses ??= addressesOf(leg);
  if (watched.addresses === null) return false;
  const state = diagnosis.stateOf(watched.addresses);
  // A connection that came from another network namespace never was known in ours.
  if (state === null) return watched.wasKnown;
  watched.wasKnown = true;
  return state.isGone || (going === 'reset or end' && hasGivenUp(leg, state));
}

function hasGivenUp({ socket }: Leg, { hasPeerEnded, unread }: TcpState): boolean {
  return hasPeerEnded && unread <= 1 && socket.readableLength === 0;
}

/** The error comes to whoever listens for the end of the socket. To TLS a write of no bytes is nothing to do. */
function poke({ socket, carrier }: Leg): void {
  if (socket === carrier && socket.writable) socket.write(NOTHING);
}

function addressesOf({ carrier: { localAddress, localPort, remoteAddress, remotePort } }: Leg): TcpAddresses | null {
  if (localAddress === undefined || localPort === undefined || remoteAddress === undefined || remotePort === undefined)
    return null;
  return { localAddress, localPort, remoteAddress, remotePort };
}
