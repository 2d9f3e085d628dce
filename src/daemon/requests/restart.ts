import type { Request, Result } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import { errorMessage } from '../../error.ts';
import { replaceDaemon } from '../handover/restart.ts';
import type { Service } from '../service.ts';
import { executableFor } from './access.ts';

/** Have a successor take over. */
export async function restart(
  service: Service,
  request: Request<'restart'>,
  { peer }: RequestContext<'restart'>,
): Promise<Result<'restart'>> {
  await restoreKeeper(service);
  return await replaceDaemon(service, { ...request, exec: executableFor(request, peer, service) });
}

/** A keeper that died is missed at the next crash, not now: without it the daemon goes on all the same. */
export async function restoreKeeper({ supervisor, log }: Service): Promise<void> {
  try {
    await supervisor.restore();
  } catch (error) {
    log.warn({ error: errorMessage(error) }, 'no new keeper');
  }
}
