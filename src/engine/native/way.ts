/** Where a client goes, in a thread: to its upstream, or to what was chosen among the destinations of that. */
import type { Thread, ThreadUpstream } from './thread.ts';

/** What is dialled for a client: another one than counts it, where that was chosen. */
export function wayOf(
  { ways, table, upstreams }: Pick<Thread, 'ways' | 'table' | 'upstreams'>,
  client: number,
): ThreadUpstream {
  return ways.get(client)?.upstream ?? upstreams.get(table.upstream(client))!;
}
