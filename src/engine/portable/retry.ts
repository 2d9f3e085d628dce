/** Waits of a dial: pauses, time limits and retries, all of which a signal ends. */

import { nextPause } from '../../waiting.ts';
import { RETRY_PAUSE_MS } from '../policy.ts';
import { describeLateAnswer } from '../words.ts';

/** @throws the signal's reason */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    }, milliseconds);
    signal.addEventListener('abort', abort, { once: true });
  });
}

/** Why `withinTime` ended what it ran. */
export class TimeLimitError extends Error {
  readonly limitMs: number;

  constructor(limitMs: number) {
    super(describeLateAnswer(limitMs / 1000));
    this.limitMs = limitMs;
  }
}

/**
 * Run with a signal that also comes after so many milliseconds.
 *
 * @throws TimeLimitError when the time was up; whatever `run` throws
 */
export async function withinTime<T>(
  limitMs: number,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener('abort', abort);
  const timer = setTimeout(() => controller.abort(new TimeLimitError(limitMs)), limitMs);
  try {
    return await run(controller.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

/** How long something is tried again, and at which errors. The signal ends it, with its reason. */
export type RetryOptions = {
  /** How long to go on trying, in milliseconds from now. */
  forMs: number;
  signal: AbortSignal;
  isWorthIt: (error: unknown) => boolean;
};

/** Run again, after growing pauses, while it fails in a way that time may mend. */
export async function withRetries<T>({ forMs, signal, isWorthIt }: RetryOptions, run: () => Promise<T>): Promise<T> {
  const until = performance.now() + forMs;
  for (let pauseMs = RETRY_PAUSE_MS.first; ; pauseMs = nextPause(pauseMs, RETRY_PAUSE_MS)) {
    try {
      return await run();
    } catch (error) {
      const leftMs = until - performance.now();
      if (leftMs <= 0 || !isWorthIt(error)) throw error;
      await pause(Math.min(pauseMs, leftMs), signal);
    }
  }
}
