import type { Request, Result } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import { checkPath } from '../../endpoint/check.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { drainEarlier } from '../rules/drain.ts';
import { readTarget } from '../rules/specs.ts';
import { logTrial, mustPassTrial } from '../rules/trial.ts';
import type { Service } from '../service.ts';
import { mustPass } from './destination-check.ts';
import { mustNotStop, mustServe } from './handler.ts';
import { sourceIn } from './source.ts';

/** Send new connections elsewhere: checked first, on trial after where that is asked for, and drained. */
export async function switchRule(
  service: Service,
  request: Request<'switch'>,
  context: RequestContext<'switch'>,
): Promise<Result<'switch'>> {
  mustNotStop(service);
  const src = sourceIn(service, request.src);
  const result = await switchTo(service, { ...request, src }, context);
  // Also of a switch that was one before: the question may be asked again after a restart.
  return request.drainMs === undefined
    ? result
    : { ...result, draining: await drainEarlier(service, src, request.drainMs) };
}

async function switchTo(
  service: Service,
  { src, ...request }: Omit<Request<'switch'>, 'src'> & { src: SourceSpec },
  { signal }: Pick<RequestContext<'switch'>, 'signal'>,
): Promise<Result<'switch'>> {
  const dst = readTarget(request.dst);
  const { rollbackMs: trialMs, percent } = request;
  const { forwarder } = service;
  const underWay = forwarder.trialOf(src);
  const isCurrent = forwarder.isCurrent(src, dst, { percent });
  if (isCurrent && underWay !== null && trialMs !== undefined) {
    // Asked again after a restart, or by somebody else.
    await mustPassTrial(underWay, { src, dst, signal });
    return { changed: true, notes: [] };
  }
  // Whoever asks over HTTP wants to know, also of the destination that there is.
  if (isCurrent && underWay === null && typeof request.check === 'boolean') return { changed: false, notes: [] };
  checkPath(dst.endpoint);
  // A share that is undone does not depend on whether its destination still accepts.
  const check = percent === 0 ? false : request.check;
  await mustPass(service, { src, dst }, { check, verb: 'switch', signal });
  mustServe(service);
  const changed = await forwarder.switch(src, dst, { trialMs, percent });
  if (changed) service.log.info({ src: src.typed, dst: dst.typed, percent, trialMs }, 'rule switched');
  if (changed) await service.holds.switched(src);
  const notes = changed ? [...service.certificates.lookAgain({ src, ...forwarder.routing(src) })] : [];
  const trial = trialMs === undefined ? null : forwarder.trialOf(src);
  if (trial !== null) {
    logTrial(service, src);
    await mustPassTrial(trial, { src, dst, signal });
  }
  return { changed, notes };
}
