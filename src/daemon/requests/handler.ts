/** How requests are answered, and who may answer: only a daemon that serves, and once it has settled. */
import type { Command, Request, Result } from '../../control/messages.ts';
import { MovedError } from '../../control/server.ts';
import type { RequestContext } from '../../control/server.ts';
import { GraceError } from '../../error.ts';
import type { Service } from '../service.ts';

/** Answers one kind of request: resolves with its result, rejects with GraceError. */
export type Handler<C extends Command> = (
  service: Service,
  request: Request<C>,
  context: RequestContext<C>,
) => Result<C> | Promise<Result<C>>;

/** One of a client, which a daemon answers that serves. */
export function whenSettled<C extends Command>(handle: Handler<C>): Handler<C> {
  return async (service, request, context) => {
    await settled(service, context.signal);
    return await handle(service, request, context);
  };
}

/** A request that reached a daemon which has been replaced is one for its successor. */
export function mustServe({ phase }: Service): void {
  if (phase === 'replaced') throw new MovedError('this daemon was replaced by a newer one');
}

/**
 * A daemon that has just taken over answers when the connections of the one before have come: until
 * then they are neither here nor there, and nobody must be told that there are none.
 */
async function settled(service: Service, signal: AbortSignal): Promise<void> {
  mustServe(service);
  while (
    service.phase === 'starting' ||
    service.handover.isMoving ||
    (service.phase === 'restarting' && service.handover.handedOver !== null)
  ) {
    await service.changes.next(signal);
    mustServe(service);
  }
}

/** A request that holds for as long as this daemon serves. Rejects when it stops, is replaced, or with the signal's reason. */
export async function whileServing(service: Service, signal: AbortSignal): Promise<never> {
  for (;;) {
    await service.changes.next(signal);
    mustServe(service);
    mustNotStop(service);
  }
}

/** Throws GraceError when the daemon is on its way out: what is changed now would be gone. */
export function mustNotStop({ lifecycle }: Service): void {
  if (lifecycle.isStopping) throw stoppingError();
}

/** Why nothing is changed any more. */
export function stoppingError(): GraceError {
  return new GraceError('the daemon is stopping', { hint: 'wait for its end, or: grace stop --now' });
}
