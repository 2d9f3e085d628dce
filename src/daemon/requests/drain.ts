import type { Destination } from '../../forward/destination.ts';
import { TimeLimit } from '../../waiting.ts';

/**
 * Give the connections of these destinations so many milliseconds to end, then close what is left.
 * Returns how many had to be closed.
 */
export async function drain(destinations: readonly Destination[], timeoutMs: number): Promise<number> {
  if (timeoutMs > 0) {
    using limit = new TimeLimit(timeoutMs);
    await Promise.allSettled(destinations.map(({ upstream }) => upstream.drained({ signal: limit.signal })));
  }
  const closed = destinations.reduce((sum, { upstream }) => sum + upstream.destroy('stopped'), 0);
  await Promise.all(destinations.map(({ upstream }) => upstream.drained()));
  return closed;
}
