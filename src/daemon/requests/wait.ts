import type { Request, Result } from '../../control/messages.ts';
import { isRuleName } from '../../control/rule-name.ts';
import type { RequestContext } from '../../control/server.ts';
import { TimeLimit } from '../../waiting.ts';
import { readSource } from '../rules/specs.ts';
import type { Service } from '../service.ts';
import { oldestOf } from './connections.ts';
import { mustServe } from './handler.ts';
import { drainingRows } from './rows.ts';
import { keyOfAny } from './source.ts';

/** Answered when no earlier destination has a connection left; tells what is waited for until then. */
export async function wait(
  service: Service,
  request: Request<'wait'>,
  { signal, progress }: RequestContext<'wait'>,
): Promise<Result<'wait'>> {
  const { everyMs } = request;
  if (request.src && !isRuleName(request.src.absolute)) readSource(request.src);
  await service.generations.refresh();
  const srcKey = request.src ? keyOfAny(service, request.src) : null;
  for (;;) {
    mustServe(service);
    const waiting = drainingRows(service, srcKey);
    if (waiting.length === 0) return {};
    if (everyMs === undefined) progress({ waiting });
    else progress({ waiting, ...(await oldestOf(service, srcKey, waiting)) });
    await nextChange(service, { signal, everyMs });
  }
}

/** Resolves at the next change, or after so long. */
async function nextChange(
  { changes }: Service,
  { signal, everyMs }: { signal: AbortSignal; everyMs: number | undefined },
): Promise<void> {
  using limit = everyMs === undefined ? null : new TimeLimit(everyMs);
  try {
    await changes.next(limit === null ? signal : AbortSignal.any([signal, limit.signal]));
  } catch (error) {
    if (signal.aborted || limit?.signal.aborted !== true) throw error;
  }
}
