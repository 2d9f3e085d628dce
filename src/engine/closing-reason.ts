/**
 * Why a connection ended, as one word of a closed list: both engines end each connection with exactly one, and the
 * numbers of all of them add up to the number of connections that have ended. The list is documented in
 * daemon/README.md.
 */
import { SHORTAGES } from './policy.ts';

/** Every reason, in the order of the documentation. */
export const closingReasons = [
  'finished',
  'client-reset',
  'upstream-reset',
  'client-gone',
  'handshake-failed',
  'unknown-name',
  'proxy-refused',
  'denied',
  'address-connections',
  'address-rate',
  'name-failed',
  'dial-refused',
  'dial-timeout',
  'dial-tls-failed',
  'dial-failed',
  'idle',
  'lifetime',
  'closed',
  'stopped',
  'shortage',
  'error',
  'crash',
] as const;

/** Why a connection ended. */
export type ClosingReason = (typeof closingReasons)[number];

/** Those of a client that came to no destination, by fault of its own. */
export const refusals: readonly ClosingReason[] = [
  'handshake-failed',
  'unknown-name',
  'proxy-refused',
  'denied',
  'address-connections',
  'address-rate',
];

/** Those of a dial that failed: the destination was not reached. */
export const dialFailures: readonly ClosingReason[] = [
  'name-failed',
  'dial-refused',
  'dial-timeout',
  'dial-tls-failed',
  'dial-failed',
];

/** Code of the error of a destination whose TLS failed. */
export const TLS_FAILURE = 'ERR_GRACE_TLS';
/** Code that stands for a dial whose time was up, whatever the system says. */
export const TIMED_OUT = 'ETIMEDOUT';

/** What the failure of a dial counts as, by the codes of what failed: one for each address. The gravest decides. */
export function dialReason(codes: readonly string[]): ClosingReason {
  if (codes.includes(TLS_FAILURE)) return 'dial-tls-failed';
  if (codes.some((code) => code === 'ENOTFOUND' || code.startsWith('EAI_'))) return 'name-failed';
  if (codes.includes(TIMED_OUT)) return 'dial-timeout';
  if (codes.some((code) => code === 'ECONNREFUSED' || code === 'ENOENT')) return 'dial-refused';
  return codes.some((code) => SHORTAGES.includes(code)) ? 'shortage' : 'dial-failed';
}
