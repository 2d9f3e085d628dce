/** A daemon process from its first to its last moment. */
import { failureOf } from '../control/messages.ts';
import { GraceError, errorMessage } from '../error.ts';
import { storeNames } from '../keeper/messages.ts';
import { within } from '../waiting.ts';
import { begin } from './begin.ts';
import type { MoveSocket } from './begin.ts';
import { detectLauncher } from './detect-launcher.ts';
import { receiveConnections } from './handover/take-over.ts';
import type { Launcher } from './launcher.ts';
import { watchPaths } from './listeners/paths.ts';
import { turnAwayUnused } from './listeners/turn-away.ts';
import { openDaemon } from './open.ts';
import type { OpenedDaemon } from './open.ts';
import type { DaemonOptions } from './options.ts';
import { followNetworks } from './rules/networks.ts';
import { followPlaces } from './rules/places.ts';
import { retryBroken } from './rules/restore.ts';
import type { Service } from './service.ts';
import { removePidFile } from './state/pid-file.ts';
import { followReadiness, removeReadiness } from './state/ready-file.ts';
import { detectSupervisor } from './supervisor/detect.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import { reportStatus } from './supervisor/watch.ts';
import { attempt } from './troubles.ts';

/** Longest that a daemon which ends waits for its last answers to be taken. */
const answerTimeoutMs = 2000;

/** Run the daemon until it has ended. Rejects with GraceError when it cannot start. */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  // First of all: it is what the keeper waits for, and says which descriptors are taken.
  const supervisor = await detectSupervisor(options);
  let launcher: Launcher | null = null;
  try {
    launcher = await detectLauncher(options.env);
    supervisor.succeed(launcher.handover?.keeper ?? null);
    await serve(options, launcher, supervisor);
    supervisor.ended(0);
    return 0;
  } catch (error) {
    const failure = failureOf(error);
    launcher?.failed(failure);
    supervisor.ended(failure.exitCode);
    if (launcher !== null && launcher.kind !== 'foreground') return failure.exitCode;
    throw error;
  }
}

async function serve(options: DaemonOptions, launcher: Launcher, supervisor: Supervisor): Promise<void> {
  const opened = await openDaemon(options, launcher, supervisor);
  const { service } = opened;
  let hasFailed = false;
  try {
    const stop = follow(opened, await begin(opened));
    await ended(service);
    stop();
  } catch (error) {
    hasFailed = true;
    service.log.error({ error: errorMessage(error) }, 'cannot serve');
    // A successor that fails must leave the predecessor what is its own: paths, and what its supervisor has stored.
    if (launcher.handover) service.listeners.abandon();
    await service.forwarder.stopAll(new GraceError('the daemon could not start'));
    throw error;
  } finally {
    await close(opened, { isPredecessors: hasFailed && launcher.handover !== null });
  }
}

/** What goes on beside the connections, until the function is called that is returned. */
function follow(
  { launcher, service, trimmer, events, logError }: OpenedDaemon,
  { moveSocket }: { moveSocket: MoveSocket },
): () => void {
  const { admin, troubles } = service;
  const end = new AbortController();
  const logUnlessOver = (error: unknown) => void (end.signal.aborted || logError(error));
  const received = moveSocket === null ? Promise.resolve() : receiveConnections(service, launcher, moveSocket);
  void received
    .then(() => {
      service.endedGenerations.resume();
      return followPlaces(service, end.signal);
    })
    .catch(logUnlessOver);
  const loadRoutes = async () => (await import('./admin/routes.ts')).makeRoutes(service, events!);
  void admin?.serve({ loadRoutes, troubles }).catch(logUnlessOver);
  void service.holds.follow(end.signal).catch(logUnlessOver);
  void reportStatus(service);
  void followReadiness(service);
  void turnAwayUnused(service);
  watchPaths(service);
  service.certificates.watch(() => (service.phase === 'serving' ? service.forwarder.rules : null));
  trimmer.disturb();
  void followNetworks(service, end.signal).catch(logError);
  const stopRetrying = retryBroken(service);
  return () => {
    stopRetrying();
    end.abort(new Error('the daemon ends'));
    trimmer.stop();
  };
}

/** Leave nothing behind that is this process's; `isPredecessors`: the names in the state dir are. */
async function close(
  { service, control }: OpenedDaemon,
  { isPredecessors }: { isPredecessors: boolean },
): Promise<void> {
  const { paths, log, supervisor } = service;
  if (service.admin) await within(service.admin.close(), answerTimeoutMs, { ref: false });
  control.close();
  await within(control.idle(), answerTimeoutMs, { ref: false });
  attempt(() => control.removeNames());
  service.rulesCopy.forget();
  // systemd keeps them, as it does the sockets, for the next start of the service.
  if (!supervisor.keepsOverStop) service.tickets.forget();
  service.counters.close();
  service.certificates.close();
  service.generations.close();
  if (service.phase !== 'replaced' && !isPredecessors) {
    supervisor.forget(storeNames.control);
    attempt(() => {
      removeReadiness(paths);
      for (const pid of [process.pid, supervisor.keeper?.pid]) if (pid !== undefined) removePidFile(paths.pid, pid);
    });
  }
  log.info({ phase: service.phase }, 'ended');
  service.lock.release();
  await service.engine.close();
  await service.accessLog?.close();
}

/** Resolves when this process has nothing left to do. */
async function ended(service: Service): Promise<void> {
  const isDone = () =>
    service.phase === 'ended' ||
    (service.phase === 'replaced' && !service.handover.isMoving && service.forwarder.connections === 0);
  while (!isDone()) await service.changes.next();
}
