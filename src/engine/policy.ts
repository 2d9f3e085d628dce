/**
 * What both engines hold to, whatever they move bytes with: how long what is waited for, what is kept in
 * reserve, and what each error of the system means.
 */
import { constants } from 'node:os';
import type { PauseRange } from '../waiting.ts';

/** Head start of one address before the next is tried beside it, in milliseconds (RFC 8305, section 5: 250 ms). */
export const HEAD_START_MS = 300;
/**
 * The same of the last target of a service before those of the next priority, which are for when it cannot be
 * reached: a first packet that was lost is sent again after a second (RFC 6298).
 */
export const PRIORITY_HEAD_START_MS = 1500;
/** First and longest pause between two attempts at a destination that refuses. */
export const RETRY_PAUSE_MS: PauseRange = { first: 20, max: 250 };
/** First and longest pause while the queue of a Unix listener is full, of whose end no event tells. */
export const FULL_QUEUE_PAUSE_MS: PauseRange = { first: 2, max: 100 };
/** Pause before a connect is tried again for which there were no descriptors, ports or memory, in milliseconds. */
export const SHORTAGE_PAUSE_MS = 50;
/**
 * So long the portable engine tries again where there are no descriptors or memory, in milliseconds; the
 * native one does for as long as the time of the dial lasts, since a try costs it next to nothing.
 */
export const SHORTAGE_PATIENCE_MS = 100;
/** First and longest pause of accepting while there are no descriptors or memory: no event tells when there are again. */
export const ACCEPT_PAUSE_MS: PauseRange = { first: 20, max: 500 };
/** Longest TLS handshake of a client, in milliseconds. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Longest that a client may take over its PROXY header, in milliseconds: what the specification has as the least. */
export const PROXY_HEADER_TIMEOUT_MS = 3000;
/** Longest that a ClientHello by whose name a destination is chosen may take, in milliseconds. */
export const HELLO_TIMEOUT_MS = 10_000;
/** Handshakes of a listener at once; one more ends the oldest. */
export const MAX_HANDSHAKES = 1000;
/** Time in which a TLS session can be resumed, in seconds. */
export const TICKET_LIFETIME_S = 43_200;
/** The keys that seal session tickets are new after so long, in milliseconds; those before are taken for as long again. */
export const TICKET_ROTATION_MS: number = TICKET_LIFETIME_S * 1000;
/** An answer to a lookup is used for so long, in milliseconds, for others who ask for the same name. */
export const NAME_FRESH_MS = 1000;

/**
 * TCP keep-alive where an endpoint does not say otherwise: silence before the first probe, pause between
 * probes, in milliseconds, and how many go unanswered. A peer that is gone is found out within two
 * minutes; a shorter failure of the network does no harm.
 */
export const KEEP_ALIVE: { readonly idleMs: number; readonly intervalMs: number; readonly probes: number } = {
  idleMs: 60_000,
  intervalMs: 10_000,
  probes: 6,
};

/** By so much of itself the lifetime of a connection is longer or shorter, so that not all that began together end together. */
const LIFETIME_JITTER = 0.1;

/** A lifetime, made up to a tenth longer or shorter by a number that is a connection's own. */
export function jittered(lifetimeMs: number, seed: number): number {
  const mixed = Math.imul(Math.floor(seed) ^ (Math.floor(seed) >>> 15), 0x9e3779b1) >>> 0;
  return lifetimeMs * (1 + LIFETIME_JITTER * ((2 * mixed) / 2 ** 32 - 1));
}

/** How many looks an idle time takes: that no byte moved is found out at most one look late. */
export const LOOKS_PER_IDLE = 4;

/**
 * Of so many descriptors that a process may have, those kept for what is no connection: the upstream of
 * the last one, a second address tried, files, the start of a successor.
 */
export function descriptorReserve(limit: number): number {
  return Math.min(64, Math.max(8, Math.floor(limit / 16)));
}

/**
 * The limit of descriptors is read again after so long, in milliseconds, when a client comes: it may be lowered while the
 * process runs (prlimit(1)).
 */
export const LIMIT_LOOK_MS = 10;

/**
 * The last of the descriptors for connections are for sources that have few: from `from` of them on, one that
 * has more than `few` connections waits, so that a flood of one takes no other's place.
 */
export function scarceDescriptors(limit: number): { from: number; few: number } {
  return { from: Math.floor((limit - descriptorReserve(limit)) * 0.875), few: Math.max(16, Math.floor(limit / 32)) };
}

/** This process or the system has too little of something, which time mends: the same address is tried again. */
export const SHORTAGES: readonly string[] = ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'];

/**
 * Nobody answers there now, but somebody may soon: a server that is being restarted, a network, a name
 * or an address to connect from that is away for a moment. What `retry=` waits for; anything else that
 * fails ends the dial when no address is left.
 */
export const REFUSALS: readonly string[] = [
  'ECONNREFUSED',
  'ECONNRESET', // it closed while we were in its queue
  'ENOENT',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ENETDOWN',
  'EHOSTDOWN',
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'EAI_FAIL',
  'ENOTFOUND',
];

/** How a peer may end a connection that is open; not errors. */
export const ENDINGS: readonly string[] = ['ECONNRESET', 'EPIPE', 'ECONNABORTED'];

/** The same by their numbers on this system. */
export function errnosOf(codes: readonly string[]): readonly number[] {
  const numbers: Record<string, number | undefined> = constants.errno;
  return codes.flatMap((code) => numbers[code] ?? []);
}
