import type { Request, Result } from '../../control/messages.ts';
import type { Staying } from '../../control/shapes.ts';
import { MovedError } from '../../control/server.ts';
import { GraceError, errorMessage } from '../../error.ts';
import type { Standstill } from '../../forward/standstill.ts';
import type { DestinationView } from '../../forward/table.ts';
import { takeOverSocketPath } from '../../net/unix-path.ts';
import { describeError } from '../../sys/system-error.ts';
import { checkExecutable } from '../executable.ts';
import { daemonLimitHint } from '../listeners/limits.ts';
import { reportOf } from '../requests/rows.ts';
import type { Service } from '../service.ts';
import { Deadline } from './deadline.ts';
import type { GoMessage, ReadyMessage } from './messages.ts';
import { moveFormat } from './move.ts';
import type { MovedCount } from './move.ts';
import { moveOut } from './move-out.ts';
import { takeSnapshot } from './snapshot.ts';
import type { HandedCounters } from './state.ts';
import { describeStaying, stayingOf } from './staying.ts';
import { Successor } from './successor.ts';

/**
 * Replace this daemon by a new process of `exec`. Any failure before the new one serves leaves this
 * one as it was; the error says why.
 */
export async function replaceDaemon(
  service: Service,
  { exec, timeoutMs }: Pick<Request<'restart'>, 'exec' | 'timeoutMs'>,
): Promise<Result<'restart'>> {
  const { forwarder, log, supervisor, handover: state } = service;
  if (service.phase === 'serving' && state.isMoving) throw new GraceError('a restart is already under way');
  if (service.phase === 'serving') checkExecutable(exec);
  state.begin((why) => deadline.cancel(why));
  log.info({ exec: exec.file }, 'restarting');
  const deadline = new Deadline(timeoutMs);
  let standstill: Standstill | null = null;
  let isPaused = false;
  const beganMs = performance.now();
  let successor: Successor | null = null;
  let ready: ReadyMessage['ready'];
  try {
    supervisor.restarting({ timeoutMs });
    standstill = await deadline.bound(
      forwarder.standStill(deadline),
      'a change of the rules that is under way did not end',
    );
    const { handover, listeners, told } = takeSnapshot(service);
    successor = await Successor.start(exec, service, listeners);
    successor.send({ handover });
    ({ ready } = await deadline.bound(successor.receive('ready'), 'the new process did not come up'));
    state.endCancelling();
    isPaused = true;
    await deadline.bound(standstill.pause(), 'accepting did not stop');
    handOver(service, told);
    supervisor.handOver({ pid: ready.pid });
    successor.send(goMessage(service, ready));
    await deadline.bound(successor.receive('serving'), 'the new process did not take over');
  } catch (error) {
    await successor?.end();
    rollback(service, standstill, { isPaused });
    service.book.count('restart failures');
    log.error(
      { error: errorMessage(error), hint: error instanceof GraceError ? error.hint : undefined },
      'restart failed; going on as before',
    );
    throw error instanceof GraceError
      ? error
      : new GraceError(`cannot restart: ${describeError(error)}`, { hint: daemonLimitHint(error), cause: error });
  } finally {
    state.endCancelling();
    deadline.clear();
  }
  service.book.countRestart(performance.now() - beganMs);
  return await release(service, { standstill, successor, ready });
}

/** The restart came to nothing: everything as it was. */
function rollback(service: Service, standstill: Standstill | null, { isPaused }: { isPaused: boolean }): void {
  const { forwarder, supervisor, log, endedGenerations } = service;
  for (const { destination, ...bytes } of service.handover.rollback()) destination.add(bytes);
  endedGenerations.resume();
  try {
    if (standstill && isPaused) {
      standstill.resume();
      for (const { listener } of forwarder.rules) takeOverSocketPath(listener);
      service.takeOver();
    } else standstill?.release();
  } catch (error) {
    log.error({ error: errorMessage(error) }, 'not everything is as it was before the restart');
  }
  supervisor.rollback();
}

/** From here on nothing that is counted here is counted by the successor too. */
function handOver(service: Service, told: HandedCounters): void {
  service.endedGenerations.defer();
  service.handover.handOver({
    told,
    admissions: service.forwarder.rules.map(({ src, admission }) => ({ srcKey: src.key, admission })),
    views: service.forwarder.views().filter(({ listener }) => listener !== null),
  });
  for (const { destination, ...bytes } of told) destination.handOver(bytes);
}

/** What the successor must know once this process accepts nobody any more. */
function goMessage(service: Service, ready: ReadyMessage['ready']): GoMessage {
  const { forwarder, generations, book } = service;
  return {
    go: true,
    connections: forwarder.rules.map(({ slots }) => slots?.taken ?? 0),
    addresses: forwarder.rules.map(({ admission }) => admission?.addresses({ isOwn: false }) ?? []),
    // This process among them, should it die before anybody has asked it.
    generations: [reportOf(service), ...generations.reports],
    ended: book.ended,
    ...(!doesMove(service.engine, ready) && {
      staying: stayingHere(service, { ready, views: forwarder.views() }),
    }),
  };
}

type Replaced = { standstill: Standstill; successor: Successor; ready: ReadyMessage['ready'] };

/** The successor serves, and there is no way back: whatever goes wrong here must not touch what is its own now. */
async function release(service: Service, { standstill, successor, ready }: Replaced): Promise<Result<'restart'>> {
  const { forwarder, log, supervisor } = service;
  service.handover.replaced();
  service.rulesCopy.forget(); // the successor has left its own
  service.tickets.forget();
  const views = forwarder.views();
  void service.admin?.release();
  standstill.handOver(new MovedError('this daemon was replaced by a newer one'));
  service.lock.release();
  try {
    supervisor.replaced({ pid: ready.pid, isStopping: service.handover.isStopWanted });
  } catch (error) {
    log.error({ error: errorMessage(error) }, 'the supervisor was not told of the successor');
  }
  const { moved, movedTls } = doesMove(service.engine, ready)
    ? await moveConnections(service, successor, { views, ready })
    : { moved: 0, movedTls: 0 };
  service.book.count('moved with TLS', movedTls);
  successor.release();
  log.info(
    { successor: ready.pid, version: ready.version, moved, movedTls, connections: forwarder.connections },
    'replaced',
  );
  const staying = stayingHere(service, { ready, views });
  const draining = staying.reduce((sum, { connections }) => sum + connections, 0);
  return {
    oldPid: process.pid,
    newPid: ready.pid,
    oldVersion: service.version,
    newVersion: ready.version,
    moved,
    movedTls,
    draining,
    ...(draining > 0 && { why: describeStaying(staying), staying }),
  };
}

/** Whether the two mean the same by a connection with TLS that moves. */
function takesTls(engine: Service['engine'], { moveTls }: Replaced['ready']): boolean {
  return moveTls !== undefined && moveTls === engine.mover?.tlsFormat;
}

/** Whether any connection moves. */
function doesMove(engine: Service['engine'], { move }: Replaced['ready']): boolean {
  return engine.mover !== undefined && move === moveFormat;
}

/** What stays with this process, and why. */
function stayingHere(
  { engine, generations }: Service,
  { ready, views }: { ready: Replaced['ready']; views: readonly DestinationView[] },
): Staying[] {
  const rows = generations.reports.flatMap((report) => report.rows);
  return stayingOf({
    engine,
    views,
    takes: { any: doesMove(engine, ready), tls: takesTls(engine, ready) },
    ofEarlier: rows.reduce((sum, { row }) => sum + row.connections, 0),
  });
}

/** The open connections go to the successor. Returns how many did. */
async function moveConnections(
  service: Service,
  successor: Successor,
  { views, ready }: { views: readonly DestinationView[]; ready: Replaced['ready'] },
): Promise<MovedCount> {
  service.handover.beginMoving();
  try {
    return await moveOut(service, {
      channel: successor.moving,
      socket: successor.moveSocket,
      movable: views.filter(({ listener }) => listener !== null),
      tls: takesTls(service.engine, ready),
      staying: () => stayingHere(service, { ready, views }),
      told: service.handover.handedOver?.told ?? [],
    });
  } finally {
    service.handover.endMoving();
  }
}
