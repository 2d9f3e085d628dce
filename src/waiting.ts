/**
 * Waits: until something comes or a signal does, for so long at the most, until a process has gone, and how long
 * before something is tried again. All times are in milliseconds. What only takes a signal gets
 * `AbortSignal.timeout`; a pause is that of `node:timers/promises`.
 */
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { isRunning } from './sys/process.ts';

/** What a timer can hold, in milliseconds: 24 days. A longer one would fire at once. */
export const maxTimerMs: number = 2 ** 31 - 1;

/** Between two looks at a process: the end of one that is no child has no event. */
const lookMs = 5;

/** What a promise resolves to, unless the signal comes first: then this rejects with its reason, and the work goes on unheard. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  signal?.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal?.reason);
  signal?.addEventListener('abort', abort);
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** What becomes of a wait that is late. */
export type WithinOptions<L> = {
  /** Called when time is up: what it returns is the result, what it throws the error. Default: the result is undefined. */
  onLate?: () => L;
  /** Whether the wait keeps the process running. Default true. */
  ref?: boolean;
};

/**
 * What a promise resolves to, or what `onLate` says if it has not settled after so many milliseconds; the work then
 * goes on, and its failure is no news. A time that is too long for a timer (24 days) is the longest there is.
 */
export async function within<T, L = undefined>(
  work: Promise<T>,
  timeoutMs: number,
  { onLate, ref = true }: WithinOptions<L> = {},
): Promise<T | L> {
  const late = Symbol('late');
  const { promise: expired, resolve } = Promise.withResolvers<typeof late>();
  const timer = setTimeout(resolve, Math.min(timeoutMs, maxTimerMs), late);
  if (!ref) timer.unref();
  try {
    const first = await Promise.race([work, expired]);
    return first === late ? (onLate?.() as L) : first;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A signal that comes after so many milliseconds, or earlier by `abort`. As `AbortSignal.timeout`, but it can be
 * called off (`clear` it in any case, or dispose of it), and it keeps the process running. A time that is too long for a timer is
 * the longest there is.
 */
export class TimeLimit implements Disposable {
  readonly #over = new AbortController();
  readonly #timer: NodeJS.Timeout;

  /** `reason`: that of the signal when time is up. */
  constructor(timeoutMs: number, reason: Error = new Error('time is up')) {
    this.#timer = setTimeout(() => this.#over.abort(reason), Math.min(timeoutMs, maxTimerMs));
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** All of the time from now on, if it is not over. */
  restart(): void {
    if (!this.signal.aborted) this.#timer.refresh();
  }

  /** Time is up now, for this reason. */
  abort(reason: Error): void {
    this.#over.abort(reason);
  }

  /** Time goes on for ever. */
  clear(): void {
    clearTimeout(this.#timer);
  }

  [Symbol.dispose](): void {
    this.clear();
  }
}

/**
 * Whether a process has gone, or goes within so many milliseconds; see `isRunning` of sys/process.ts for what counts.
 * Rejects with an AbortError when the signal comes first.
 */
export async function goneWithin(
  pid: number,
  timeoutMs: number,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isRunning(pid)) {
    if (performance.now() > deadline) return false;
    await delay(lookMs, undefined, { signal });
  }
  return true;
}

/** Pauses of a back-off, in milliseconds: they double from the first to the longest. */
export type PauseRange = { readonly first: number; readonly max: number };

/** The pause of a back-off after one of so many milliseconds; the first after none (0). */
export function nextPause(pauseMs: number, { first, max }: PauseRange): number {
  return pauseMs === 0 ? first : Math.min(2 * pauseMs, max);
}

/** Longest that much work in one go may keep others from their turn of the event loop, in milliseconds. */
const maxTurnMs = 20;

/** Breaks in work that takes long and waits for nothing in between: clients, and whoever asks whether this process lives, do not wait for all of it. */
export class Breaks {
  #sinceMs = performance.now();

  /** Let others have their turn, if it is time. */
  async take(): Promise<void> {
    if (performance.now() - this.#sinceMs < maxTurnMs) return;
    await nextTurn();
    this.#sinceMs = performance.now();
  }
}
