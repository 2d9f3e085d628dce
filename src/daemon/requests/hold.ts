/** Holding a rule, and letting it go. */
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Request, Result } from '../../control/messages.ts';
import { MovedError } from '../../control/server.ts';
import type { RequestContext } from '../../control/server.ts';
import { descriptorReserve } from '../../engine/policy.ts';
import { GraceError } from '../../error.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { fdLimit } from '../../sys/process.ts';
import { allRows } from './rows.ts';
import type { Service } from '../service.ts';

/** How often it is looked whether the connections that are open have ended, in milliseconds; and older generations, which have to be asked. */
const look = { everyMs: 5, olderEveryMs: 100 };

/** Answers once the clients of the rule wait and those that were there had their time; of a client with a command, when it is over. */
export async function hold(
  service: Service,
  src: SourceSpec,
  { id, maxWaiting, maxTimeMs, timeoutMs, drainMs }: Request<'hold'>,
  { signal, progress }: RequestContext<'hold'>,
): Promise<Result<'hold'>> {
  const { holds, changes, forwarder } = service;
  const most = Math.min(maxWaiting, mostThatCanWait(service));
  if (most < 1)
    throw new GraceError(`cannot hold ${src.typed}: there are no descriptors left for clients that wait`, {
      hint: 'raise the limit of open files (ulimit -n, or LimitNOFILE= of a systemd unit) for the daemon',
    });
  const isBack = id !== undefined && holds.isHeldBy(src, id);
  const changed = await holds.hold(src, { id, maxWaiting: most, maxTimeMs, timeoutMs });
  try {
    const open = isBack ? 0 : await drained(service, src, { drainMs, signal });
    if (id === undefined) return { changed, maxWaiting: most, open };
    progress({ held: true, open });
    while (holds.isHeldBy(src, id)) {
      if (service.phase === 'replaced') throw new MovedError('this daemon was replaced by a newer one');
      if (service.lifecycle.isStopping) throw new GraceError('the daemon is stopping');
      await changes.next(signal);
    }
    return { changed, maxWaiting: most, open };
  } catch (error) {
    // Whoever asked has gone: what they do not know to be held is not to stay so.
    if (signal.aborted && id !== undefined) holds.lost(src, id);
    else if (signal.aborted && changed) void forwarder.holding.release(src).catch(() => {}); // or of a successor, which was not told
    throw error;
  }
}

/** Answers when the rule was let go, or another holder keeps it. */
export async function release(
  { holds }: Service,
  src: SourceSpec,
  { id, timeoutMs }: Request<'release'>,
  { signal }: RequestContext<'release'>,
): Promise<Result<'release'>> {
  return await holds.release(src, { id, timeoutMs, signal });
}

/** Each that waits has a descriptor, and needs one more when it goes on. */
function mostThatCanWait({ forwarder }: Service): number {
  const { soft } = fdLimit();
  const limit = Number(soft);
  const waiting = forwarder.rules.reduce((sum, { hold: { isOn, waiting: own } }) => sum + (isOn ? own : 0), 0);
  try {
    const open = readdirSync('/proc/self/fd').length;
    return Math.floor((limit - descriptorReserve(limit) - open) / 2) + waiting;
  } catch {
    return Infinity; // no way to ask here; accepting pauses when there are none
  }
}

/** Wait until the connections that the destination has have ended, so long at most. Returns how many are left. Rejects with the signal's reason. */
async function drained(
  service: Service,
  src: SourceSpec,
  { drainMs, signal }: { drainMs: number; signal: AbortSignal },
): Promise<number> {
  const until = performance.now() + drainMs;
  let refreshAt = 0;
  for (;;) {
    const now = performance.now();
    if (service.generations.reports.length > 0 && now >= refreshAt) {
      refreshAt = now + look.olderEveryMs;
      await service.generations.refresh();
    }
    const rows = allRows(service, src.key).filter(({ row }) => row.active);
    const open = rows.reduce((sum, { row }) => sum + row.connections - (row.waiting ?? 0), 0);
    if (open <= 0 || performance.now() >= until) return Math.max(0, open);
    await delay(Math.min(look.everyMs, Math.max(0, until - performance.now())), undefined, { signal });
  }
}
