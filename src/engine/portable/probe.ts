import type { Dialer } from './dial.ts';
import { closedLeg, closeLeg } from './leg.ts';

/** Connect as for a client, then close again. Rejects with GraceError or with the signal's reason. */
export async function probe(dial: Dialer, { signal }: { signal: AbortSignal }): Promise<void> {
  const leg = await dial({ signal });
  closeLeg(leg);
  await closedLeg(leg);
}
