/** Whom in the main thread a report of a thread concerns. The mirror image of commands.ts. */
import { SystemError } from '../../sys/system-error.ts';
import type { TotalSlots } from '../total-slots.ts';
import { tellEnds } from './end-batch.ts';
import type { FrontendOwners } from './frontend-owners.ts';
import type { NativeHolds } from './holds.ts';
import type { Inventory } from './inventory.ts';
import type { EndReport, Report } from './messages.ts';
import type { NativeMover } from './mover.ts';
import { endError } from './reason.ts';
import type { Resolver } from './resolve.ts';
import type { NativeUpstreams } from './upstreams.ts';

/** Who hears of them. */
export type Hearers = {
  readonly upstreams: NativeUpstreams;
  readonly owners: FrontendOwners;
  readonly resolver: Resolver;
  /** The places of all connections; null: no limit. */
  readonly total: TotalSlots | null;
  readonly holds: NativeHolds;
  readonly mover: NativeMover;
  readonly inventory: Inventory;
};

/** Tell whom it concerns. */
export function deliverReport(hearers: Hearers, thread: number, report: Report): void {
  const { upstreams, owners, resolver, total, holds, mover, inventory } = hearers;
  switch (report.type) {
    case 'resolve':
      return void resolver.resolve(thread, report.upstream);
    case 'resolve-no-more':
      return resolver.abort(thread, report.upstream);
    case 'ended':
      for (const end of report.ends) deliverEnd(hearers, end);
      return;
    case 'ended-quietly':
      // Who hears of the ends of an upstream is told of each at once, and not of those from before.
      return tellEnds(report.ends, {
        upstreamOf: (id) => upstreams.get(id),
        hear: (frontend, end) => owners.get(frontend)?.observer.connectionEnded?.(end),
      });
    case 'drained':
      return upstreams.get(report.upstream)?.lookAgain();
    case 'upstream-forgotten':
      return upstreams.forgotten(thread, report.upstream);
    case 'room':
      return owners.get(report.frontend)?.slots?.notify();
    case 'room-in-total':
      return total?.notify();
    case 'total-full':
      return total?.notifyFull();
    case 'held-full':
      return holds.get(report.hold)?.notifyFull();
    case 'held-room':
      return holds.get(report.hold)?.notify();
    case 'surrendered':
      return holds.surrendered(report.hold, report.clients);
    case 'paused': {
      const error = new SystemError(report.errno, 'accept');
      return owners.get(report.frontend)?.observer.acceptPaused?.({ error, retryInMs: report.retryInMs });
    }
    case 'resumed':
      return owners.get(report.frontend)?.observer.acceptResumed?.();
    case 'frontend-closed':
      return owners.get(report.frontend)?.closedIn?.(thread, report.frontend);
    case 'frontend-forgotten':
      return owners.forgotten(thread, report.frontend);
    case 'frozen':
      return mover.frozen(thread, report.upstream, report);
    case 'listed':
    case 'closed-connections':
      return inventory.answered(report);
    case 'answered':
      return; // the threads' own
  }
}

function deliverEnd({ upstreams, owners }: Hearers, end: EndReport): void {
  const upstream = upstreams.get(end.upstream);
  if (!upstream) return;
  const { upstream: _, frontend, reason: __, why, way, ...told } = end;
  const { endpoint, lastAddresses } = (way === undefined ? undefined : upstreams.way(way)) ?? upstream;
  const error = endError(end, endpoint, lastAddresses);
  const event = { ...told, upstream, error, reason: why };
  upstream.connectionEnded(event);
  const observer = owners.get(frontend)?.observer;
  if (error !== null || observer?.wantsOrderlyEnds !== false) observer?.connectionEnded?.(event);
}
