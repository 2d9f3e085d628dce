/**
 * How both engines connect: how long what is waited for, and what each error of connect(2) means for
 * the rest of a dial.
 */
import { constants } from 'node:os';

/** Pauses in milliseconds that double from the first to the longest. */
export type PauseRange = { readonly first: number; readonly longest: number };

/** Head start of one address before the next is tried beside it, in milliseconds (RFC 8305, section 5: 250 ms). */
export const HEAD_START_MS = 300;
/** First and longest pause between two attempts at a destination that refuses. */
export const RETRY_PAUSE_MS: PauseRange = { first: 20, longest: 250 };
/** First and longest pause while the queue of a Unix listener is full, of whose end no event tells. */
export const FULL_QUEUE_PAUSE_MS: PauseRange = { first: 2, longest: 100 };
/** Pause while there are no descriptors, ports or memory. */
export const SHORTAGE_PAUSE_MS = 50;
/** First and longest pause of accepting while there are no descriptors or memory: no event tells when there are again. */
export const ACCEPT_PAUSE_MS: PauseRange = { first: 20, longest: 500 };

/**
 * TCP keep-alive where an endpoint does not say otherwise: silence before the first probe, pause between
 * probes, in milliseconds, and how many go unanswered. A peer that is gone is found out within two
 * minutes; a shorter failure of the network does no harm.
 */
export const KEEP_ALIVE: { readonly idleMs: number; readonly intervalMs: number; readonly probes: number } = { idleMs: 60_000, intervalMs: 10_000, probes: 6 };

/** This process or the system has too little of something, which time mends: the same address is tried again. */
export const shortages: readonly string[] = ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'];

/**
 * Nobody answers there now, but somebody may soon: a server that is being restarted, a network, a name
 * or an address to connect from that is away for a moment. What `retry=` waits for; anything else that
 * fails ends the dial when no address is left.
 */
export const passing: readonly string[] = ['ECONNREFUSED', 'ENOENT', 'ENETUNREACH', 'EHOSTUNREACH', 'ENETDOWN', 'EHOSTDOWN', 'EADDRNOTAVAIL', 'EAI_AGAIN', 'EAI_FAIL', 'ENOTFOUND'];

/** How a peer may end a connection that is open; not errors. */
export const endings: readonly string[] = ['ECONNRESET', 'EPIPE', 'ECONNABORTED'];

/** The same by their numbers on this system. */
export function errnosOf(codes: readonly string[]): readonly number[] {
  const numbers: Record<string, number | undefined> = constants.errno;
  return codes.flatMap((code) => numbers[code] ?? []);
}
