/** Where the dial for one client stands. */
import { codeOfErrno } from '../../sys/system-error.ts';
import { dialReason, TIMED_OUT } from '../closing-reason.ts';
import type { ClosingReason } from '../closing-reason.ts';
import { drawOrder } from '../dial-order.ts';
import type { Turn } from '../dial-order.ts';
import { errnosOf, FULL_QUEUE_PAUSE_MS, HEAD_START_MS, REFUSALS, RETRY_PAUSE_MS } from '../policy.ts';
import type { PinnedAddress } from './kernel.ts';
import { OUT_OF_PORTS, OUT_OF_TIME } from './messages.ts';
import type { EndReason } from './messages.ts';
import type { UpstreamTls } from './thread-plans.ts';
import type { TlsFailure } from './tls/originate.ts';
import type { ResolvedAddresses, ThreadUpstream } from './thread.ts';

const REFUSAL_ERRNOS = errnosOf(REFUSALS);

/** A connect under way, and the index of its address. */
export type Try = { readonly fd: number; readonly address: number };
/** The index of an address, and why it could not be connected. */
export type FailedAttempt = { readonly address: number; readonly errno: number };
/** Why a name has no addresses, and whether that may pass. */
export type LookupFailure = { readonly text: string; readonly isPassing: boolean };
/** What most dials end with. */
const NO_FAILURES: readonly FailedAttempt[] = [];

/** One client whose upstream is not connected yet. */
export type Dial = {
  readonly client: number;
  readonly upstream: ThreadUpstream;
  readonly retryUntil: number;
  readonly beganAt: number;
  /** When the attempt under way began. */
  attemptAt: number;
  addresses: readonly PinnedAddress[];
  /** Of a service: the order in which they are tried. */
  order: readonly Turn[] | null;
  /** Index of the address that is tried first: the one that answered last. */
  first: number;
  /** How many have been tried. */
  next: number;
  /** Connects under way: mostly one. */
  tries: Try[];
  /** What is connected and shakes hands, and with what: its upstream may have another by the time it is done. */
  shaking: (Try & { readonly tls: UpstreamTls }) | null;
  failures: readonly FailedAttempt[];
  /** Why the destination's TLS is not to be had; null: that was not what failed. */
  tlsFailure: TlsFailure | null;
  /** What this process or the system has too little of for the next address, which is waited for; null: nothing. */
  lack: number | null;
  /** Why the name has no addresses; null: it has some, or was not looked up. */
  lookupFailure: LookupFailure | null;
  /** When the attempt is given up. */
  deadline: number;
  /** When something is due of which no event tells. */
  wakeAt: number;
  /** A new attempt is due at `wakeAt`, rather than the next address. */
  isResting: boolean;
  pauseMs: number;
  fullQueuePauseMs: number;
};

/** A dial that begins now; `sinceMs` ago, if another process began it. */
export function openDial(
  client: number,
  upstream: ThreadUpstream,
  { now, sinceMs }: { now: number; sinceMs: number },
): Dial {
  return {
    client,
    upstream,
    beganAt: now - sinceMs,
    attemptAt: now,
    retryUntil: now + upstream.plan.retryMs - sinceMs,
    addresses: [],
    order: null,
    first: 0,
    next: 0,
    tries: [],
    shaking: null,
    failures: NO_FAILURES,
    tlsFailure: null,
    lack: null,
    lookupFailure: null,
    deadline: 0,
    wakeAt: Infinity,
    isResting: false,
    pauseMs: RETRY_PAUSE_MS.first,
    fullQueuePauseMs: FULL_QUEUE_PAUSE_MS.first,
  };
}

/** A new attempt begins, or began at a time in the past: nothing has failed, and its time is running. */
export function beginAttempt(dial: Dial, attemptAt: number): void {
  dial.isResting = false;
  dial.failures = NO_FAILURES;
  dial.tlsFailure = null;
  dial.lookupFailure = null;
  dial.next = 0;
  dial.attemptAt = attemptAt;
  dial.deadline = attemptAt + dial.upstream.plan.timeoutMs;
}

/** Try these addresses: those of a name with the one that answered last before the others, those of a service as is drawn. */
export function setAddresses(dial: Dial, { addresses, targets }: ResolvedAddresses): void {
  const { answeredLast } = dial.upstream;
  dial.addresses = addresses;
  dial.order = targets === null ? null : drawOrder(targets);
  dial.first =
    addresses.length < 2 || answeredLast === null
      ? 0
      : Math.max(
          0,
          addresses.findIndex((each) => isSame(each, answeredLast)),
        );
}

/** Why a dial has failed, in one word. */
export function whyGivenUp({ lookupFailure, tlsFailure, failures }: Dial): ClosingReason {
  if (lookupFailure) return 'name-failed';
  if (tlsFailure) return 'dial-tls-failed';
  if (failures.some(({ errno }) => errno === OUT_OF_PORTS)) return 'shortage';
  return dialReason(failures.map(({ errno }) => (errno === OUT_OF_TIME ? TIMED_OUT : codeOfErrno(errno))));
}

/** The same as it is told. */
export function reasonOf({ lookupFailure, tlsFailure, failures }: Dial): EndReason {
  if (lookupFailure) return { text: lookupFailure.text };
  return tlsFailure ? { text: tlsFailure.text, hint: tlsFailure.hint } : { failures };
}

/** Whether what an attempt failed with may be otherwise a moment later. */
export function mayPass({ lookupFailure, tlsFailure, failures }: Dial): boolean {
  if ((lookupFailure ?? tlsFailure)?.isPassing === true) return true;
  return failures.some(({ errno }) => REFUSAL_ERRNOS.includes(errno));
}

/** What an attempt whose time is up has failed with, of the addresses that it had begun with. */
export function lateAttempts(dial: Dial): FailedAttempt[] {
  const { tries, shaking, failures, lack } = dial;
  const isUntried = tries.length === 0 && failures.length === 0 && shaking === null;
  const underWay = shaking === null ? tries : [shaking];
  const late = isUntried ? [nextIndex(dial)] : underWay.map(({ address }) => address);
  const errno = (isUntried ? lack : null) ?? OUT_OF_TIME;
  return late.map((address) => ({ address, errno }));
}

/** Index of the address that is tried next. */
export function nextIndex({ next, first, order }: Dial): number {
  if (order !== null) return order[next]?.address ?? -1;
  if (next === 0) return first;
  return next <= first ? next - 1 : next;
}

/** How long the address that was tried last has before the next is tried beside it, in milliseconds. */
export function headStartMs({ next, order }: Dial): number {
  return order?.[next - 1]?.headStartMs ?? HEAD_START_MS;
}

/** A connect is under way no longer. */
export function removeTry(dial: Dial, fd: number): void {
  if (dial.tries.length === 1 && dial.tries[0]!.fd === fd) dial.tries.pop();
  else dial.tries = dial.tries.filter((each) => each.fd !== fd);
}

function isSame(one: PinnedAddress, other: PinnedAddress): boolean {
  return Buffer.compare(one.pinned.bytes, other.pinned.bytes) === 0;
}
