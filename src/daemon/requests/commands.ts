import { setTimeout as delay } from 'node:timers/promises';
import { announceEnd } from '../state/ready-file.ts';
import { standardError } from '../../control/log-place.ts';
import type { Command, Request, Result } from '../../control/messages.ts';
import type { DestinationRow, EndpointText, GenerationReport } from '../../control/shapes.ts';
import { MovedError } from '../../control/server.ts';
import type { RequestContext } from '../../control/server.ts';
import { isRuleName } from '../../control/rule-name.ts';
import type { SourceSpec } from '../../forward/rule.ts';
import { checkPath, checkServer } from '../../endpoint/check.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { executableFor, mustBeAllowed, withUser } from './access.ts';
import { mustPass, notesOn } from './destination-check.ts';
import {
  acceptedBy,
  closeConnections,
  closeOwn,
  listConnections,
  oldestOf,
  selectionOf,
  tellOwn,
} from './connections.ts';
import { drain } from './drain.ts';
import { hold, release } from './hold.ts';
import { problemOfExecutable } from '../executable.ts';
import { metricsText, piecesOf } from '../metrics/text.ts';
import { replaceDaemon } from '../handover/restart.ts';
import { allRows, drainingRows, fullReportOf, ownRows, reportOf } from './rows.ts';
import type { Service } from '../service.ts';
import { TimeLimit } from '../../waiting.ts';
import { drainEarlier } from '../rules/drain.ts';
import { readRule, readSource, readTarget, textOf } from '../rules/specs.ts';
import { logTrial, mustPassTrial } from '../rules/trial.ts';

/** Answers one kind of request: resolves with its result, rejects with GraceError. */
type Handler<C extends Command> = (
  service: Service,
  request: Request<C>,
  context: RequestContext<C>,
) => Result<C> | Promise<Result<C>>;

/** Who answers which request. */
const handlers: { [C in Command]: Handler<C> } = {
  start: whenSettled(start),
  switch: whenSettled(switchRule),
  ls: whenSettled(ls),
  wait: whenSettled(wait),
  stop: whenSettled((service, request, context) =>
    request.src
      ? stopRule(service, request.src, request, context)
      : reportWhile(stopDaemon(service, request), { service, srcKey: null, progress: context.progress }),
  ),
  hold: whenSettled((service, request, context) => {
    mustNotStop(service);
    return hold(service, sourceIn(service, request.src), request, context);
  }),
  release: whenSettled((service, request, context) =>
    release(service, sourceIn(service, request.src), request, context),
  ),
  restart: whenSettled(restart),
  status: whenSettled(status),
  export: whenSettled(({ forwarder }) => ({
    rules: forwarder.specs.map(({ src, dst }) => ({ src: textOf(src), dst: textOf(dst) })),
  })),
  metrics: whenSettled(async (service, _request, { progress }) => {
    for (const text of piecesOf(await metricsText(service))) progress({ text });
    return {};
  }),
  keeper: whenSettled((service, { path }) => {
    service.supervisor.attach(path);
    return {};
  }),
  'rules-file': whenSettled(sayNotFollowed),
  'generation-report': fullReportOf,
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
    draining: forwarder.drain(srcKey, overMs, { keep }),
  }),
  'generation-close': (service, { selection }) => closeOwn(service, selection),
  'generation-follow': follow,
  'generation-stop': stopOwn,
  'generation-hold': ({ forwarder }, { src, srcKey, dst, isHeld }) => {
    const meant = src === undefined ? null : readSource(src);
    const isMeant = (each: SourceSpec) => each.listenKey === meant?.listenKey || each.key === srcKey;
    return { waiting: forwarder.settleHeld(isMeant, { dst: dst && readTarget(dst), isHeld }) };
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

/** One of a client, which a daemon answers that serves. */
function whenSettled<C extends Command>(handle: Handler<C>): Handler<C> {
  return async (service, request, context) => {
    await settled(service, context.signal);
    return await handle(service, request, context);
  };
}

/** A request that reached a daemon which has been replaced is one for its successor. */
function mustServe({ phase }: Service): void {
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

function mustNotStop({ lifecycle }: Service): void {
  if (lifecycle.isStopping) throw stoppingError();
}

function stoppingError(): GraceError {
  return new GraceError('the daemon is stopping', { hint: 'wait for its end, or: grace stop --now' });
}

async function ls(service: Service, request: Request<'ls'>): Promise<Result<'ls'>> {
  await service.generations.refresh();
  service.counters.write(); // what somebody has seen does not go back at a crash
  return { rows: rowsOf(service, request), ...(request.withAccepted && { accepted: acceptedBy(service) }) };
}

async function restart(
  service: Service,
  request: Request<'restart'>,
  { peer }: RequestContext<'restart'>,
): Promise<Result<'restart'>> {
  await restoreKeeper(service);
  return await replaceDaemon(service, { ...request, exec: executableFor(request, peer, service) });
}

/** All rows, or those of one rule. Throws GraceError when there is no such rule. */
function rowsOf(service: Service, { src }: Request<'ls'>): DestinationRow[] {
  const rows = allRows(service);
  if (src === undefined) return rows.map(({ row }) => row);
  const { key } = sourceIn(service, src);
  return rows.filter(({ srcKey }) => srcKey === key).map(({ row }) => row);
}

/** The source that is meant, by its endpoint or by the name of its rule. Throws GraceError (exit code 4) when there is no such rule. */
function sourceIn({ forwarder }: Service, text: EndpointText): SourceSpec {
  return isRuleName(text.absolute) ? forwarder.named(text.absolute) : forwarder.find(readSource(text));
}

async function start(
  service: Service,
  request: Request<'start'>,
  { signal }: RequestContext<'start'>,
): Promise<Result<'start'>> {
  mustNotStop(service);
  const rule = readRule(request);
  checkPath(rule.dst.endpoint);
  const isUpsert = request.switch === true;
  const before = isUpsert ? service.forwarder.rules.find(({ src }) => src.listenKey === rule.src.listenKey) : undefined;
  if (before && before.src.key !== rule.src.key) checkServer(rule.src.endpoint);
  // Whoever asks over HTTP wants to know, also of a rule that is new, or there already.
  const isChecked =
    typeof request.check === 'object' || (before !== undefined && before.current.spec.key !== rule.dst.key);
  try {
    if (isChecked)
      await mustPass(service, rule, { check: request.check ?? false, verb: before ? 'switch' : 'start', signal });
    mustServe(service);
    await restoreKeeper(service);
    const changed = await service.forwarder.start(rule, { isUpsert });
    if (changed && before) await service.holds.switched(rule.src);
    if (changed) service.log.info({ src: rule.src.typed, dst: rule.dst.typed }, 'rule started');
    const notes = changed ? [...service.certificates.look(rule)] : [];
    const ofDestination = changed && !before ? await notesOn(service, rule.dst, signal) : [];
    return { changed, notes, ofDestination };
  } catch (error) {
    service.log.warn({ src: rule.src.typed, dst: rule.dst.typed, error: errorMessage(error) }, 'rule not started');
    const isUnused =
      service.phase === 'serving' &&
      !service.forwarder.hasRules &&
      !service.forwarder.isChanging &&
      service.unread.length === 0;
    if (request.startedForIt && isUnused && service.generations.reports.length === 0) {
      service.lifecycle.ends();
    }
    throw error;
  }
}

/** A keeper that died is missed at the next crash, not now: without it the daemon goes on all the same. */
async function restoreKeeper({ supervisor, log }: Service): Promise<void> {
  try {
    await supervisor.restore();
  } catch (error) {
    log.warn({ error: errorMessage(error) }, 'no new keeper');
  }
}

async function switchRule(
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
  const notes = changed ? [...service.certificates.lookAgain({ src, dst })] : [];
  const trial = trialMs === undefined ? null : forwarder.trialOf(src);
  if (trial !== null) {
    logTrial(service, src);
    await mustPassTrial(trial, { src, dst, signal });
  }
  return { changed, notes };
}

async function wait(
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
    else progress({ waiting, ...(await oldestOf(service, srcKey)) });
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

/** A rule that has just been stopped can be waited for too, while connections of it are left. */
function keyOfAny(service: Service, text: EndpointText): string {
  if (isRuleName(text.absolute)) return service.forwarder.named(text.absolute).key;
  const src = readSource(text);
  if (allRows(service).some(({ srcKey }) => srcKey === src.key)) return src.key;
  return service.forwarder.find(src).key;
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
  forwarder.settleHeld((src) => srcKey === undefined || src.key === srcKey, { isHeld: false });
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

async function follow(
  service: Service,
  _request: unknown,
  { signal, progress }: RequestContext<'generation-follow'>,
): Promise<GenerationReport> {
  using _follower = service.followers.add();
  for (;;) {
    progress(reportOf(service));
    if (service.phase === 'replaced' && !service.handover.isMoving && service.forwarder.connections === 0)
      return reportOf(service);
    await service.changes.next(signal);
  }
}

/** Who follows a file of rules cannot do so at the moment: `status` and the log tell for as long as that is so. */
async function sayNotFollowed(
  service: Service,
  { file, problem }: Request<'rules-file'>,
  { signal }: RequestContext<'rules-file'>,
): Promise<never> {
  const what = `rules of ${file}`;
  service.troubles.add(what, `the rules are those from before ${file} was changed, which cannot be used: ${problem}`);
  try {
    for (;;) {
      await service.changes.next(signal);
      mustServe(service);
      mustNotStop(service);
    }
  } finally {
    service.troubles.remove(what);
  }
}

/** What the daemon goes on without, a sentence each. */
function problemsOf({ troubles, logProblem, self }: Service): string[] {
  const log = logProblem();
  const executable = problemOfExecutable(self);
  return [
    ...(log === null ? [] : [`the log goes to standard error: ${log}`]),
    ...troubles.texts,
    ...(executable === null ? [] : [executable]),
  ];
}

/** Where the access log goes, if there is one. */
function accessLogOf({ accessLog }: Service): { accessLog?: string } {
  if (accessLog === null) return {};
  return { accessLog: accessLog.place.kind === 'file' ? accessLog.place.path : '-' };
}

async function status(service: Service): Promise<Result<'status'>> {
  await service.generations.refresh();
  const { forwarder, generations, paths, version, logOutput, admin } = service;
  const own = { pid: process.pid, version, connections: forwarder.connections, since: service.processStartedAt };
  const older = generations.reports.map((report) => ({
    pid: report.pid,
    version: report.version,
    connections: report.rows.reduce((sum, { row }) => sum + row.connections, 0),
    since: report.since,
  }));
  return {
    pid: process.pid,
    version,
    uptimeMs: service.uptimeMs(),
    engine: service.engine.name,
    engineReason: service.engineReason,
    threads: service.engine.threads ?? 0,
    memoryBytes: process.memoryUsage.rss(),
    restarts: service.generation - 1,
    dir: paths.dir,
    log: logOutput.kind === 'file' ? logOutput.path : standardError,
    ...accessLogOf(service),
    keeper: service.supervisor.keeper,
    ...(admin?.address === undefined ? {} : { admin: admin.address }),
    problems: problemsOf(service),
    warnings: ownRows(service).flatMap(({ row }) => (row.warnings ?? []).map((warning) => `${row.src}: ${warning}`)),
    rules: forwarder.specs.length,
    held: forwarder.rules
      .filter((rule) => rule.hold.isOn)
      .map(({ src }) => ({
        src: src.typed,
        since: service.holds.since(src) ?? '',
        waiting: allRows(service).reduce((sum, { row }) => sum + (row.src === src.typed ? (row.waiting ?? 0) : 0), 0),
      })),
    failed: forwarder.broken.length,
    connections: [own, ...older].reduce((sum, { connections }) => sum + connections, 0),
    generations: [own, ...older],
  };
}
