import { longestDurationMs } from '../../endpoint/duration.ts';
import type { Destination } from '../../forward/destination.ts';

/**
 * Give the connections of these destinations so many milliseconds to end, then close what is left.
 * Returns how many had to be closed.
 */
export async function drain(destinations: readonly Destination[], timeoutMs: number): Promise<number> {
  if (timeoutMs > 0) {
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(new Error('time is up')), Math.min(timeoutMs, longestDurationMs));
    await Promise.allSettled(destinations.map(({ upstream }) => upstream.drained({ signal: deadline.signal })));
    clearTimeout(timer);
  }
  const closed = destinations.reduce((sum, { upstream }) => sum + upstream.destroy(), 0);
  await Promise.all(destinations.map(({ upstream }) => upstream.drained()));
  return closed;
}
