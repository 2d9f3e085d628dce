import { readdirSync, readlinkSync } from 'node:fs';
import { until } from '../until.ts';

/** How many descriptors of each kind this process has: `socket`, `pipe`, `anon_inode`, files by their path. Linux only. */
export function openDescriptors(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const [kind = ''] = readlinkSync(`/proc/self/fd/${fd}`).split(':');
      counts[kind] = (counts[kind] ?? 0) + 1;
    } catch {
      // the directory itself
    }
  }
  return counts;
}

/** Resolves when there are no more sockets, pipes and the like than there were; a runtime closes its own a little later. Rejects when that takes seconds. */
export async function descriptorsAsBefore(before: Record<string, number>): Promise<void> {
  // Deno keeps what its first worker needed to run.
  const kinds = 'Deno' in globalThis ? ['socket', 'pipe'] : ['socket', 'pipe', 'anon_inode'];
  let now: Record<string, number> = {};
  const isAsBefore = () => {
    now = openDescriptors();
    return kinds.every((kind) => (now[kind] ?? 0) <= (before[kind] ?? 0));
  };
  await until(() => `${JSON.stringify(now)} are ${JSON.stringify(before)}`, isAsBefore, { limitMs: 50_000 });
}
