import type { Destination } from '../forward/destination.ts';

/**
 * Give the connections of these destinations so many milliseconds to end, then close what is left.
 * Returns how many had to be closed.
 */
export async function drain(destinations: readonly Destination[], timeoutMs: number): Promise<number> {
  if (timeoutMs > 0) {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(new Error('time is up')), Math.min(timeoutMs, longestTimer));
    await Promise.allSettled(destinations.map(({ upstream }) => upstream.drained({ signal: deadline.signal })));
    clearTimeout(timer);
  }
  const closed = destinations.reduce((sum, { upstream }) => sum + upstream.destroy(), 0);
  await Promise.all(destinations.map(({ upstream }) => upstream.drained()));
  return closed;
}

/** setTimeout fires at once for anything longer: 2^31 - 1 ms, some 24 days. */
export const longestTimer = 2_147_483_647;
