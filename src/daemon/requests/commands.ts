/** Who answers which request. What is more than a line is in a file of its name. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Command, Request, Result } from '../../control/messages.ts';
import type { RequestContext } from '../../control/server.ts';
import type { DestinationRow, GenerationReport } from '../../control/shapes.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { metricsText } from '../metrics/text.ts';
import { readSource, readTarget, textOf } from '../rules/specs.ts';
import type { Service } from '../service.ts';
import { mustBeAllowed, withUser } from './access.ts';
import { applyChanges } from './apply.ts';
import { acceptedBy, closeConnections, closeOwn, listConnections, selectionOf, tellOwn } from './connections.ts';
import { mustNotStop, whenSettled } from './handler.ts';
import type { Handler } from './handler.ts';
import { hold, release } from './hold.ts';
import { restart } from './restart.ts';
import { allRows, briefReportOf, fullReportOf, reportOf } from './rows.ts';
import { sayNotFollowed } from './rules-file.ts';
import { sayFollowed } from './rules-source.ts';
import { keyOfAny, sourceIn } from './source.ts';
import { start } from './start.ts';
import { status } from './status.ts';
import { stop, stopOwn } from './stop.ts';
import { switchRule } from './switch.ts';
import { wait } from './wait.ts';

/** Who answers which request. */
const handlers: { [C in Command]: Handler<C> } = {
  start: whenSettled(start),
  switch: whenSettled(switchRule),
  ls: whenSettled(ls),
  wait: whenSettled(wait),
  stop: whenSettled(stop),
  hold: whenSettled((service, request, context) => {
    mustNotStop(service);
    return hold(service, sourceIn(service, request.src), request, context);
  }),
  release: whenSettled((service, request, context) =>
    release(service, sourceIn(service, request.src), request, context),
  ),
  apply: whenSettled(applyChanges),
  restart: whenSettled(restart),
  status: whenSettled(status),
  export: whenSettled(({ forwarder }) => ({
    rules: forwarder.specs.map(({ src, dst }) => ({ src: textOf(src), dst: textOf(dst) })),
  })),
  metrics: whenSettled(async (service, _request, { progress }) => {
    for await (const text of metricsText(service)) progress({ text });
    return {};
  }),
  keeper: whenSettled((service, { path }, { peer }) => {
    service.supervisor.attach(path, peer?.pid ?? null);
    return {};
  }),
  'rules-file': whenSettled(sayNotFollowed),
  'rules-source': whenSettled(sayFollowed),
  'generation-report': (service, { isBrief }) => (isBrief ? briefReportOf(service) : fullReportOf(service)),
  connections: whenSettled(async (service, { src }, context) => {
    const keys = src ? { srcKey: keyOfAny(service, src) } : {};
    return await listConnections(service, keys, context);
  }),
  close: whenSettled(async (service, request) => {
    const keys = {
      ...(request.src && { srcKey: keyOfAny(service, request.src) }),
      ...(request.dst && { dstKey: readTarget(request.dst).key }),
    };
    return await closeConnections(service, selectionOf(request, keys));
  }),
  'generation-connections': (service, { selection }, context) => tellOwn(service, selection, context),
  'generation-drain': ({ forwarder }, { srcKey, keep, overMs }) => ({
    draining: forwarder.timedDrains.begin(srcKey, overMs, { keep }),
  }),
  'generation-close': (service, { selection }) => closeOwn(service, selection),
  'generation-follow': follow,
  'generation-stop': stopOwn,
  'generation-hold': ({ forwarder }, { src, srcKey, dst, isHeld }) => {
    const meant = src === undefined ? null : readSource(src);
    const isMeant = (each: SourceSpec) => each.listenKey === meant?.listenKey || each.key === srcKey;
    return { waiting: forwarder.holding.settle(isMeant, { dst: dst && readTarget(dst), isHeld }) };
  },
};

/** Answers requests of clients, and of the daemon that serves when this one has been replaced. */
export async function handleRequest<C extends Command>(
  service: Service,
  request: Request<C>,
  context: RequestContext<C>,
): Promise<Result<C>> {
  mustBeAllowed(request, context.peer, service);
  const handle: Handler<C> = handlers[request.command];
  try {
    return await handle(service, request, context);
  } catch (error) {
    throw withUser(error, context.peer);
  }
}

async function ls(service: Service, request: Request<'ls'>): Promise<Result<'ls'>> {
  await service.generations.refresh();
  service.counters.write(); // what somebody has seen does not go back at a crash
  return { rows: rowsOf(service, request), ...(request.withAccepted && { accepted: acceptedBy(service) }) };
}

/** All rows, or those of one rule. Throws GraceError when there is no such rule. */
function rowsOf(service: Service, { src }: Request<'ls'>): DestinationRow[] {
  const rows = allRows(service);
  if (src === undefined) return rows.map(({ row }) => row);
  const { key } = sourceIn(service, src);
  return rows.filter(({ srcKey }) => srcKey === key).map(({ row }) => row);
}

/** Between two reports to a follower passes so many times the time that one took to make. */
const restPerReport = 5;

async function follow(
  service: Service,
  _request: unknown,
  { signal, progress }: RequestContext<'generation-follow'>,
): Promise<GenerationReport> {
  using _follower = service.followers.add();
  for (;;) {
    const began = performance.now();
    progress(reportOf(service));
    if (service.phase === 'replaced' && !service.handover.isMoving && service.forwarder.connections === 0)
      return reportOf(service);
    const restMs = (performance.now() - began) * restPerReport;
    await service.changes.next(signal);
    // Of thousands of rules a report takes its time, here and where it is read.
    if (restMs > 1) await delay(restMs, undefined, { signal });
  }
}
