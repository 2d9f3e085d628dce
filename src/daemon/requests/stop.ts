import { setTimeout as delay } from 'node:timers/promises';
import type { Request, Result } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import type { EndpointText } from '../../control/shapes.ts';
import type { Service } from '../service.ts';
import { announceEnd } from '../state/ready-file.ts';
import { drain } from './drain.ts';
import { mustNotStop, mustServe, stoppingError } from './handler.ts';
import { drainingRows } from './rows.ts';
import { sourceIn } from './source.ts';

/** Stop a rule, or the daemon; what is still waited for is told meanwhile. */
export async function stop(
  service: Service,
  request: Request<'stop'>,
  context: RequestContext<'stop'>,
): Promise<Result<'stop'>> {
  if (request.src) return await stopRule(service, request.src, request, context);
  return await reportWhile(stopDaemon(service, request), { service, srcKey: null, progress: context.progress });
}

async function stopRule(
  service: Service,
  text: EndpointText,
  { timeoutMs }: Request<'stop'>,
  { progress }: RequestContext<'stop'>,
): Promise<Result<'stop'>> {
  // Its rules are not forwarded any more, and stored: none of them can be taken away now.
  mustNotStop(service);
  const src = sourceIn(service, text);
  const destinations = await service.forwarder.stop(src);
  await service.supervisor.settled();
  service.log.info({ src: src.typed }, 'rule stopped');
  const drained = Promise.all([
    drain(destinations, timeoutMs),
    service.generations.stop({ srcKey: src.key, timeoutMs }),
  ]);
  const [own, older] = await reportWhile(drained, { service, srcKey: src.key, progress });
  return { closed: own + older, pids: [] };
}

type ReportOptions = { service: Service; srcKey: string | null; progress: RequestContext<'stop'>['progress'] };

/** Say what is still waited for, at the start and at every change, until the work is done. */
async function reportWhile<T>(work: Promise<T>, { service, srcKey, progress }: ReportOptions): Promise<T> {
  const over = new AbortController();
  const report = async () => {
    for (;;) {
      const waiting = drainingRows(service, srcKey);
      if (waiting.length > 0) progress({ waiting });
      await service.changes.next(over.signal);
    }
  };
  void report().catch(() => {}); // the work is done
  try {
    return await work;
  } finally {
    over.abort(new Error('done'));
  }
}

/** Stop every rule and every generation; the process ends when this is answered. The rules stay stored. */
export async function stopDaemon(
  service: Service,
  { timeoutMs, announceMs = 0 }: { timeoutMs: number; announceMs?: number | undefined },
): Promise<Result<'stop'>> {
  announceEnd(service);
  // It serves on meanwhile, and may even be replaced.
  if (announceMs > 0) await delay(announceMs);
  service.handover.cancel('the daemon is to stop');
  while (service.phase === 'restarting') await service.changes.next();
  mustServe(service);
  const { keeper } = service.supervisor;
  const pids = [process.pid, ...(keeper ? [keeper.pid] : []), ...service.generations.reports.map(({ pid }) => pid)];
  service.supervisor.stopping({ timeoutMs });
  if (service.lifecycle.stops()) service.log.info({ timeoutMs }, 'stopping');
  service.counters.stopping();
  const destinations = await service.forwarder.stopAll(stoppingError());
  await service.supervisor.settled();
  const [own, older] = await Promise.all([drain(destinations, timeoutMs), service.generations.stop({ timeoutMs })]);
  service.lifecycle.ends();
  return { closed: own + older, pids };
}

/** Let go of the connections of one source, or all, of a process that may have been replaced. */
export async function stopOwn(
  { forwarder }: Service,
  { srcKey, timeoutMs }: { srcKey?: string | undefined; timeoutMs: number },
): Promise<{ closed: number }> {
  forwarder.holding.settle((src) => srcKey === undefined || src.key === srcKey, { isHeld: false });
  const destinations = forwarder
    .views()
    .filter(({ src, isCurrent }) => !isCurrent && (srcKey === undefined || src.key === srcKey));
  return {
    closed: await drain(
      destinations.map(({ destination }) => destination),
      timeoutMs,
    ),
  };
}
