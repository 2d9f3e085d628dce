import { setTimeout as delay } from 'node:timers/promises';
import { memoryKb } from './process-tree.ts';

/** Memory of a process and its descendants once it is at rest: what has just been started or used still changes for a while. */
export async function settledKb(
  { pid, restsWithinMs }: { pid: number; restsWithinMs: number },
  signal: AbortSignal,
): Promise<number> {
  await delay(restsWithinMs, undefined, { signal });
  let before = NaN;
  for (let tries = 1; ; tries++) {
    await delay(300, undefined, { signal });
    const now = memoryKb([pid]);
    if (Math.abs(now - before) < 0.002 * now || tries === 10) return now;
    before = now;
  }
}
