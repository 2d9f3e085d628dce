/** A daemon process from its first to its last moment. */
import { readGivenRules } from '../control/given-rules.ts';
import { failureOf } from '../control/messages.ts';
import type { GenerationReport } from '../control/shapes.ts';
import { statePaths } from '../control/paths.ts';
import type { RequestHandler } from '../control/server.ts';
import { makeStateDir } from '../control/state-dir.ts';
import { Admin } from './admin/admin.ts';
import { Events } from './admin/events.ts';
import { assemble, storedRule } from './assemble.ts';
import { moveSocketName } from './handover/descriptors.ts';
import { takeOverAlone, reservePlaces, receiveConnections } from './handover/take-over.ts';
import { detectLauncher } from './detect-launcher.ts';
import type { Launcher } from './launcher.ts';
import { Listeners } from './listeners/listeners.ts';
import { watchPaths } from './listeners/paths.ts';
import { turnAwayUnused } from './listeners/turn-away.ts';
import { openLog } from './log/log.ts';
import { accessPlaceOf, outputOf, settleStreams } from './log/output.ts';
import type { DaemonOptions } from './options.ts';
import { mustTellPeers, shareStateDir } from './requests/access.ts';
import { handleRequest } from './requests/commands.ts';
import { openControlSocket } from './requests/control-socket.ts';
import { followNetworks } from './rules/networks.ts';
import { followPlaces } from './rules/places.ts';
import { adoptRules, restoreRules, retryBroken } from './rules/restore.ts';
import type { Service } from './service.ts';
import { listenToSignals } from './signals.ts';
import { removeLeftovers } from './state/leftovers.ts';
import { findLock } from './state/lock.ts';
import { removePidFile, writePidFile } from './state/pid-file.ts';
import { followReadiness, removeReadiness } from './state/ready-file.ts';
import { checkStateFormat } from './state/rules-file.ts';
import { detectSupervisor } from './supervisor/detect.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import { watchKeeper, reportStatus } from './supervisor/watch.ts';
import { watchMemory } from './trim-memory.ts';
import { GraceError, errorMessage } from '../error.ts';
import { storeNames } from '../keeper/messages.ts';
import { takeOverSocketPath } from '../net/unix-path.ts';
import { strayErrors } from '../stray-errors.ts';
import { hasLinuxCalls, setThreadName } from '../sys/process.ts';
import { within } from '../waiting.ts';

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
  nameProcess();
  const paths = statePaths(options.dir);
  process.umask(0o077);
  const group = options.settings['socket-group'];
  mustTellPeers(group);
  if (!launcher.handover) makeStateDir(paths.dir);
  shareStateDir(paths.dir, group);
  const listeners = new Listeners({ env: options.env, handover: launcher.handover, supervisor });
  const lock = await findLock({ paths, launcher, listeners });
  supervisor.store(storeNames.lock, lock.fd);
  attempt(() => removeLeftovers(paths));
  const generation = (launcher.handover?.generation ?? 0) + 1;
  const output = outputOf(options.logPlace, { paths, launcher, listeners });
  const { admin: adminEndpoint, ...settings } = options.settings;
  const events = adminEndpoint === null ? null : new Events();
  const logFile = openLog({
    output,
    format: settings['log-format'],
    generation,
    env: options.env,
    ...(events && { onLine: (json: string) => events.hear(json) }),
  });
  const admin =
    adminEndpoint === null || events === null
      ? null
      : new Admin({ settings: { ...settings, admin: adminEndpoint }, listeners, log: logFile.log, events });
  const accessPlace = accessPlaceOf(settings['access-log'], { launcher, listeners });
  const service = assemble({
    options,
    launcher,
    paths,
    listeners,
    lock,
    logFile,
    accessPlace,
    supervisor,
    admin,
    generation,
  });
  const { log, troubles } = service;
  if (logFile.problem !== null)
    log.warn({ log: logFile.problem }, 'the log goes to standard error, since its file cannot be opened');
  const logError = (error: unknown) =>
    log.error(
      { error: errorMessage(error), stack: error instanceof Error ? error.stack : undefined },
      'internal error',
    );

  if (options.noKeeperBecause !== null)
    warn(
      service,
      launcher,
      `no keeper, so that the pid changes with a restart and a crash is not repaired: ${options.noKeeperBecause}`,
    );
  if (process.pid === 1 && supervisor.keeper === null)
    log.warn('process 1 of a container is the daemon itself (--no-keeper): the container ends with the first restart');
  if (supervisor.reason) log.error({ reason: supervisor.reason }, 'started again after a crash');
  const trimmer = watchMemory(service);
  const handle: RequestHandler = (request, context) => {
    trimmer.disturb();
    return handleRequest(service, request, context);
  };
  const control = await openControlSocket({
    paths,
    group,
    stored: listeners.stored.takeControl(),
    handle,
    onError: logError,
  });
  const { stopByKeeper } = listenToSignals(service, { onSignal: options.onSignal, logFile, logError });
  let hasFailed = false;
  try {
    if (launcher.handover) checkStateFormat(paths.state);
    await admin?.open({ handed: launcher.handover?.admin ?? null, mayGoWithout: supervisor.reason !== null });
    service.endedGenerations.defer();
    let older: readonly GenerationReport[] = [];
    if (launcher.handover) adoptRules(service, launcher.handover);
    else
      older = await restoreRules(service, supervisor.reason ? [] : readGivenRules(options.env), (note) =>
        warn(service, launcher, note),
      );
    service.rulesCopy.remember([
      ...service.forwarder.stored.map((spec) => storedRule(spec, listeners)),
      ...service.unread,
    ]);
    service.tickets.remember();
    service.certificates.lookAtAll();
    listeners.dropUnused();
    const moveSocket = listeners.net.extras.find(({ name }) => name === moveSocketName)?.fd ?? null;
    if (launcher.handover) {
      await supervisor.ready();
      // The predecessor's clients are to wait for nothing that could have been done before.
      await service.engine.settled?.();
    }
    watchKeeper(service, stopByKeeper);
    try {
      const go = await launcher.ready({
        version: service.version,
        canMove: moveSocket !== null && service.engine.mover !== undefined,
        takesTls: (format) => service.engine.mover?.canAdoptTls(format) ?? false,
      });
      if (launcher.handover) {
        reservePlaces(service, launcher.handover, go);
        service.handover.arrived({ moved: 0, movedTls: 0, staying: go.staying ?? [] });
      }
      older = launcher.handover ? (go.generations ?? []) : older;
      if (go.ended) service.book.inherit(go.ended);
    } catch (error) {
      await takeOverAlone(service, launcher, error);
    }
    if (launcher.handover) service.forwarder.adoption.acceptAlone();
    service.takeOver = () => {
      // Before clients come there: the keeper must not hold the socket of a daemon that they no longer reach.
      supervisor.store(storeNames.control, control.fd);
      control.takeOver();
      troubles.attemptUntilDone('the pid file cannot be written', () =>
        writePidFile(paths.pid, supervisor.keeper?.pid ?? process.pid),
      );
      if (service.phase !== 'starting') supervisor.serving();
    };
    service.takeOver();
    for (const { listener } of service.forwarder.rules) takeOverSocketPath(listener, launcher.handover?.pid);
    await service.generations.discover();
    for (const report of older) if (!service.generations.isFollowed(report.pid)) service.endedGenerations.ended(report);
    if (launcher.moving !== null && moveSocket !== null) service.handover.beginMoving();
    service.lifecycle.serves();
    options.onStrayError(
      strayErrors(({ message, stack }) => log.error({ error: message, stack }, 'internal error; serving all the same')),
    );
    log.info(
      {
        version: service.version,
        ...(options.settings['log-format'] === 'json' ? {} : { generation }),
        rules: service.forwarder.specs.length,
        engine: service.engine.name,
        keeper: supervisor.keeper?.pid,
      },
      'serving',
    );
    supervisor.serving(); // a signal that came meanwhile is passed on at this word
    launcher.serving({ settleStreams: () => settleStreams(output) });
    service.counters.write();
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
    await ended(service);
    stopRetrying();
    end.abort(new Error('the daemon ends'));
    trimmer.stop();
  } catch (error) {
    hasFailed = true;
    log.error({ error: errorMessage(error) }, 'cannot serve');
    // A successor that fails must leave the predecessor what is its own: paths, and what its supervisor has stored.
    if (launcher.handover) listeners.abandon();
    await service.forwarder.stopAll(new GraceError('the daemon could not start'));
    throw error;
  } finally {
    if (admin) await within(admin.close(), answerTimeoutMs, { ref: false });
    control.close();
    await within(control.idle(), answerTimeoutMs, { ref: false });
    attempt(() => control.removeNames());
    service.rulesCopy.forget();
    // systemd keeps them, as it does the sockets, for the next start of the service.
    if (!supervisor.keepsOverStop) service.tickets.forget();
    service.counters.close();
    service.certificates.close();
    service.generations.close();
    if (service.phase !== 'replaced' && !(hasFailed && launcher.handover)) {
      supervisor.forget(storeNames.control);
      attempt(() => {
        removeReadiness(paths);
        for (const pid of [process.pid, supervisor.keeper?.pid]) if (pid !== undefined) removePidFile(paths.pid, pid);
      });
    }
    log.info({ phase: service.phase }, 'ended');
    lock.release();
    await service.engine.close();
    await service.accessLog?.close();
  }
}

/** Something that nobody is hurt by when it fails: the state dir is read-only, or gone. */
function attempt(act: () => void): void {
  try {
    act();
  } catch {
    // What matters of it is told where it matters.
  }
}

/** As pgrep, ss and systemctl show it; the runtime calls it after its main thread. */
function nameProcess(): void {
  if (hasLinuxCalls) setThreadName('grace');
}

function warn(service: Service, launcher: Launcher, note: string): void {
  service.log.warn(note);
  // Where the log is what the one who started it reads, once is enough, and in its form.
  if (launcher.kind !== 'foreground' || service.logOutput.kind === 'file') launcher.note(note);
}

/** Resolves when this process has nothing left to do. */
async function ended(service: Service): Promise<void> {
  const isDone = () =>
    service.phase === 'ended' ||
    (service.phase === 'replaced' && !service.handover.isMoving && service.forwarder.connections === 0);
  while (!isDone()) await service.changes.next();
}
