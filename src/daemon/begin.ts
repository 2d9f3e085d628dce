/** A daemon begins to serve: its rules, then the word of whoever started it or of its predecessor, then the places where clients look. */
import { readGivenRules } from '../control/given-rules.ts';
import type { GenerationReport } from '../control/shapes.ts';
import { storeNames } from '../keeper/messages.ts';
import { takeOverSocketPath } from '../net/unix-path.ts';
import { strayErrors } from '../stray-errors.ts';
import { storedRule } from './assemble.ts';
import { moveSocketName } from './handover/descriptors.ts';
import { reservePlaces, takeOverAlone } from './handover/take-over.ts';
import { settleStreams } from './log/output.ts';
import type { OpenedDaemon } from './open.ts';
import { adoptRules, restoreRules } from './rules/restore.ts';
import { writePidFile } from './state/pid-file.ts';
import { checkStateFormat } from './state/rules-file.ts';
import { watchKeeper } from './supervisor/watch.ts';

/** By which descriptor open connections come over; null: none do. */
export type MoveSocket = number | null;

/** Resolves when the daemon serves. Rejects when it cannot; then the predecessor, if there is one, serves on. */
export async function begin(opened: OpenedDaemon): Promise<{ moveSocket: MoveSocket }> {
  const { options, launcher, service, stopByKeeper } = opened;
  const { supervisor } = service;
  const found = await beginRules(opened);
  const moveSocket = service.listeners.net.extras.find(({ name }) => name === moveSocketName)?.fd ?? null;
  if (launcher.handover) {
    await supervisor.ready();
    // The predecessor's clients are to wait for nothing that could have been done before.
    await service.engine.settled?.();
  }
  watchKeeper(service, stopByKeeper);
  const older = await becomeReady(opened, { moveSocket, found });
  if (launcher.handover) service.forwarder.adoption.acceptAlone();
  service.takeOver = () => takePlaces(opened);
  service.takeOver();
  for (const { listener } of service.forwarder.rules) takeOverSocketPath(listener, launcher.handover?.pid);
  await service.generations.discover();
  for (const report of older) if (!service.generations.isFollowed(report.pid)) service.endedGenerations.ended(report);
  if (launcher.moving !== null && moveSocket !== null) service.handover.beginMoving();
  service.lifecycle.serves();
  options.onStrayError(
    strayErrors(({ message, stack }) =>
      service.log.error({ error: message, stack }, 'internal error; serving all the same'),
    ),
  );
  service.log.info(
    {
      version: service.version,
      ...(options.settings['log-format'] === 'json' ? {} : { generation: service.generation }),
      rules: service.forwarder.specs.length,
      engine: service.engine.name,
      keeper: supervisor.keeper?.pid,
    },
    'serving',
  );
  supervisor.serving(); // a signal that came meanwhile is passed on at this word
  launcher.serving({ settleStreams: () => settleStreams(service.logOutput) });
  service.counters.write();
  return { moveSocket };
}

/** Serve the rules of the predecessor, or those that are stored and given. Returns what older generations had said of themselves. */
async function beginRules({ options, launcher, service, warn }: OpenedDaemon): Promise<readonly GenerationReport[]> {
  const { paths, listeners, supervisor } = service;
  if (launcher.handover) checkStateFormat(paths.state);
  await service.admin?.open({ handed: launcher.handover?.admin ?? null, mayGoWithout: supervisor.reason !== null });
  service.endedGenerations.defer();
  let older: readonly GenerationReport[] = [];
  if (launcher.handover) adoptRules(service, launcher.handover);
  else older = await restoreRules(service, supervisor.reason ? [] : readGivenRules(options.env), warn);
  service.rulesCopy.remember([
    ...service.forwarder.stored.map((spec) => storedRule(spec, listeners)),
    ...service.unread,
  ]);
  service.tickets.remember();
  service.certificates.lookAtAll();
  listeners.dropUnused();
  return older;
}

/** Everything is open: resolves when this process may take over, which it does alone where its predecessor is gone. Returns what older generations have said of themselves. */
async function becomeReady(
  { launcher, service }: OpenedDaemon,
  { moveSocket, found }: { moveSocket: MoveSocket; found: readonly GenerationReport[] },
): Promise<readonly GenerationReport[]> {
  const { mover } = service.engine;
  let older = found;
  try {
    const go = await launcher.ready({
      version: service.version,
      canMove: moveSocket !== null && mover !== undefined,
      takesTls: (format) => mover?.canAdoptTls(format) ?? false,
    });
    if (launcher.handover) {
      reservePlaces(service, launcher.handover, go);
      service.handover.arrived({ moved: 0, movedTls: 0, staying: go.staying ?? [] });
      older = go.generations ?? [];
    }
    if (go.ended) service.book.inherit(go.ended);
  } catch (error) {
    await takeOverAlone(service, launcher, error);
  }
  return older;
}

/** From here on clients and supervisors find this process: control socket and pid file are its own. */
function takePlaces({ service, control }: OpenedDaemon): void {
  const { paths, supervisor, troubles } = service;
  // Before clients come there: the keeper must not hold the socket of a daemon that they no longer reach.
  supervisor.store(storeNames.control, control.fd);
  control.takeOver();
  troubles.attemptUntilDone('the pid file cannot be written', () =>
    writePidFile(paths.pid, supervisor.keeper?.pid ?? process.pid),
  );
  if (service.phase !== 'starting') supervisor.serving();
}
