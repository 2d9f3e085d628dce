/** A daemon process from its first to its last moment. */
import { setTimeout as delay } from 'node:timers/promises';
import { failureOf } from '../control/messages.ts';
import type { GenerationReport, Invocation } from '../control/messages.ts';
import { statePaths } from '../control/paths.ts';
import { makeStateDir } from '../control/state-dir.ts';
import { standardError } from '../control/log-place.ts';
import { redirectTo, redirectToLog } from '../control/standard-streams.ts';
import type { StatePaths } from '../control/paths.ts';
import type { RequestHandler } from '../control/server.ts';
import { Names } from '../engine/lookup.ts';
import { openEngine } from '../engine/open.ts';
import { GraceError, errorMessage } from '../error.ts';
import { keptNames } from '../keeper/messages.ts';
import { Changes } from '../forward/changes.ts';
import { Forwarder } from '../forward/forwarder.ts';
import type { RuleSpec } from '../forward/rule.ts';
import { takeOverSocketPath } from '../net/unix-path.ts';
import { closeFd, dupFd } from '../sys/descriptor.ts';
import { adoptLock, lockFile } from '../sys/lock.ts';
import type { Lock } from '../sys/lock.ts';
import { hasLinuxCalls, setThreadName } from '../sys/process.ts';
import { strayErrors } from '../stray-errors.ts';
import { limitHint } from '../sys/limit-hint.ts';
import { describeError } from '../sys/system-error.ts';
import { handleRequest } from './requests/commands.ts';
import { openControlSocket } from './requests/control-socket.ts';
import { EndedGenerations } from './generations/ended.ts';
import { Generations } from './generations/generations.ts';
import type { Handover } from './handover/messages.ts';
import { KeptCounters } from './state/counters-file.ts';
import { removeLeftovers } from './state/leftovers.ts';
import { mustNotLoop } from './rules/loops.ts';
import { HandoverState } from './handover/state.ts';
import { Lifecycle } from './lifecycle.ts';
import { consoleName, Listeners } from './listeners/listeners.ts';
import { openLog } from './log/log.ts';
import type { LogOutput, OpenedLog } from './log/log.ts';
import { logConnections } from './log/connections.ts';
import { KeptRules } from './state/rules-memory.ts';
import { moveIn, moveSocketName } from './handover/move.ts';
import { detectLauncher } from './launcher.ts';
import type { Launcher } from './launcher.ts';
import { followPlaces } from './rules/places.ts';
import { readPidFile, removePidFile, writePidFile } from './state/pid-file.ts';
import { mustTellPeers, shareStateDir } from './requests/access.ts';
import { Certificates } from './rules/certificates.ts';
import type { DaemonSettings } from '../control/daemon-options.ts';
import { readGivenRules } from '../control/given-rules.ts';
import { adoptRules, restoreRules, retryBroken } from './rules/restore.ts';
import { Troubles } from './troubles.ts';
import { watchForRest } from './trim-memory.ts';
import type { Service } from './service.ts';
import { listenToSignals } from './signals.ts';
import type { OnSignal } from './signals.ts';
import { detectSupervisor } from './supervisor/supervisor.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import { textOf } from './rules/specs.ts';
import { turnAwayUnused } from './listeners/unused-sockets.ts';
import { watchPaths } from './listeners/paths.ts';
import { checkStateFormat, saveState } from './state/rules-file.ts';
import type { KeptRule } from './state/rules-file.ts';

export type DaemonOptions = {
  dir: string;
  /** How this program was started, to start a successor at a signal. */
  self: Invocation;
  version: string;
  /** A file's absolute path, or `-` for standard error. */
  logPlace: string;
  settings: DaemonSettings;
  /** Arguments of `grace daemon` that a successor is to have too. */
  flags: readonly string[];
  /** Why there is no keeper although one was wanted; null otherwise. */
  noKeeperBecause: string | null;
  /** Where the environment is read; variables meant for this process alone are removed from it. */
  env: NodeJS.ProcessEnv;
  /** Calls the handler at each such signal, instead of the signal's default. */
  onSignal: OnSignal;
  /** Calls the handler with each error that nobody has caught, which then does not end the process. */
  onStrayError: (handler: (error: unknown) => void) => void;
};

/** Longest that a name is looked up to see whether a rule leads to itself, in milliseconds; one that is not found by then is taken for another machine's. */
const loopLookupMs = 2000;

/** Longest that a daemon which ends waits for its last answers to be taken. */
const answerTimeoutMs = 2000;

/** Run the daemon until it has ended. Rejects with GraceError when it cannot start. */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  // First of all: it is what the keeper waits for, and says which descriptors are taken.
  const supervisor = await detectSupervisor(options);
  let launcher: Launcher | null = null;
  try {
    launcher = await detectLauncher(options.env);
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
  mustTellPeers(options.settings['socket-group']);
  if (!launcher.handover) makeStateDir(paths.dir);
  shareStateDir(paths.dir, options.settings['socket-group']);
  const listeners = new Listeners({ env: options.env, handover: launcher.handover, supervisor });
  const lock = findLock({ paths, launcher, listeners });
  supervisor.keep(keptNames.lock, lock.fd);
  attempt(() => removeLeftovers(paths));
  const generation = (launcher.handover?.generation ?? 0) + 1;
  const output = outputOf(options.logPlace, { paths, launcher, listeners });
  const logFile = openLog({ output, format: options.settings['log-format'], generation, env: options.env });
  const service = assemble({ options, launcher, paths, listeners, lock, logFile, supervisor, generation });
  const { log, troubles } = service;
  if (logFile.problem !== null) log.warn({ log: logFile.problem }, 'the log goes to standard error, since its file cannot be opened');
  const logError = (error: unknown) => log.error({ error: errorMessage(error), stack: error instanceof Error ? error.stack : undefined }, 'internal error');

  if (options.noKeeperBecause !== null) tell(service, launcher, `no keeper, so that the pid changes with a restart and a crash is not repaired: ${options.noKeeperBecause}`);
  if (supervisor.reason) log.error({ reason: supervisor.reason }, 'started again after a crash');
  const rest = watchForRest(service);
  const handle: RequestHandler = (request, context) => {
    rest.disturb();
    return handleRequest(service, request, context);
  };
  const control = await openControlSocket({ paths, group: options.settings['socket-group'], kept: listeners.takeControl(), handle, onError: logError });
  const { stopByKeeper } = listenToSignals(service, { onSignal: options.onSignal, logFile, logError });
  let hasFailed = false;
  try {
    if (launcher.handover) checkStateFormat(paths.state);
    service.endedGenerations.hold();
    let older: readonly GenerationReport[] = [];
    if (launcher.handover) adoptRules(service, launcher.handover);
    else older = await restoreRules(service, supervisor.reason ? [] : readGivenRules(options.env), (note) => tell(service, launcher, note));
    service.keptRules.remember([...service.forwarder.specs.map((spec) => keep(spec, listeners)), ...service.unread]);
    service.certificates.lookAtAll();
    listeners.dropUnused();
    const moveSocket = listeners.net.extras.find(({ name }) => name === moveSocketName)?.fd ?? null;
    if (launcher.handover) await supervisor.ready();
    watchKeeper(service, stopByKeeper);
    try {
      const { connections = [], generations = [] } = await launcher.ready({ version: service.version, canMove: moveSocket !== null && service.engine.mover !== undefined });
      if (launcher.handover) reservePlaces(service, launcher.handover, connections);
      older = launcher.handover ? generations : older;
    } catch (error) {
      await takeOverAlone(service, launcher, error);
    }
    service.takeOver = () => {
      // Before clients come there: the keeper must not hold the socket of a daemon that they no longer reach.
      supervisor.keep(keptNames.control, control.fd);
      control.takeOver();
      troubles.attempt('the pid file cannot be written', () => writePidFile(paths.pid, supervisor.keeper?.pid ?? process.pid));
      if (service.phase !== 'starting') supervisor.serving();
    };
    service.takeOver();
    for (const { listener } of service.forwarder.rules) takeOverSocketPath(listener);
    await service.generations.discover();
    for (const report of older) if (!service.generations.isFollowed(report.pid)) service.endedGenerations.ended(report);
    if (launcher.moving !== null && moveSocket !== null) service.handover.beginMoving();
    service.lifecycle.serves();
    options.onStrayError(strayErrors(({ message, stack }) => log.error({ error: message, stack }, 'internal error; serving all the same')));
    log.info({ version: service.version, generation, rules: service.forwarder.specs.length, engine: service.engine.name, keeper: supervisor.keeper?.pid }, 'serving');
    supervisor.serving(); // a signal that came meanwhile is passed on at this word
    launcher.serving({ settleStreams: () => settleStreams(output) });
    const end = new AbortController();
    const received = moveSocket === null ? Promise.resolve() : receiveConnections(service, launcher, moveSocket);
    void received.then(() => {
      service.endedGenerations.resume();
      return followPlaces(service, end.signal);
    }).catch(() => {}); // it serves no more
    void reportStatus(service);
    void turnAwayUnused(service);
    watchPaths(service);
    rest.disturb();
    const stopRetrying = retryBroken(service);
    await ended(service);
    stopRetrying();
    end.abort(new Error('the daemon ends'));
    rest.stop();
  } catch (error) {
    hasFailed = true;
    log.error({ error: errorMessage(error) }, 'cannot serve');
    // A successor that fails must leave the predecessor what is its own: paths, and what its supervisor keeps.
    if (launcher.handover) listeners.abandon();
    await service.forwarder.stopAll(new GraceError('the daemon could not start'));
    throw error;
  } finally {
    control.close();
    await Promise.race([control.idle(), delay(answerTimeoutMs, undefined, { ref: false })]);
    attempt(() => control.removeNames());
    service.keptRules.forget();
    service.counters.close();
    service.certificates.close();
    service.generations.close();
    if (service.phase !== 'replaced' && !(hasFailed && launcher.handover)) {
      supervisor.forget(keptNames.control);
      attempt(() => {
        for (const pid of [process.pid, supervisor.keeper?.pid]) if (pid !== undefined) removePidFile(paths.pid, pid);
      });
    }
    log.info({ phase: service.phase }, 'ended');
    lock.release();
    await service.engine.close();
  }
}

/**
 * The predecessor went away before it said that the state dir is ours. If it lives, it goes on. If it
 * died, a supervisor starts the next daemon, on the sockets that it keeps; without one there is only us.
 */
async function takeOverAlone({ supervisor, log }: Service, launcher: Launcher, error: unknown): Promise<void> {
  if (supervisor.keeper !== null || supervisor.keepsOverStop || !(await launcher.isDead())) throw error;
  launcher.moving = null;
  log.warn({ predecessor: launcher.handover?.pid }, 'the daemon that was to be replaced died; serving in its place');
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

/** A descriptor of its own for what is standard error now: a successor's leads to its predecessor until it serves. */
function outputOf(place: string, { paths, launcher, listeners }: Pick<Parts, 'paths' | 'launcher' | 'listeners'>): LogOutput {
  const passed = launcher.handover ? listeners.net.extras.find(({ name }) => name === consoleName)?.fd : undefined;
  const fd = passed ?? dupFd(2);
  if (place !== standardError) return { kind: 'file', path: place, spare: fd };
  // A predecessor of before this was passed had its log in the file.
  return launcher.handover && passed === undefined ? { kind: 'file', path: paths.log, spare: fd } : { kind: 'console', fd };
}

/** What this process prints from now on, in a crash for example, goes where its log goes. */
function settleStreams(output: LogOutput): void {
  if (output.kind === 'console') return redirectTo(output.fd);
  try {
    redirectToLog(output.path);
  } catch {
    redirectTo(output.spare); // the log itself has told why
  }
}

/** At most one daemon serves a state dir: it holds the lock, which a successor inherits, and which the keeper holds between two. */
function findLock({ paths, launcher, listeners }: Pick<Parts, 'paths' | 'launcher' | 'listeners'>): Lock {
  const { lockFd } = listeners;
  if (lockFd !== null) return adoptLock(lockFd);
  if (launcher.handover) throw new GraceError('the daemon that is to be replaced did not pass its lock');
  return takeLock(paths);
}

function takeLock(paths: StatePaths): Lock {
  let lock: Lock | null;
  try {
    lock = lockFile(paths.lock);
  } catch (error) {
    throw new GraceError(`cannot write in the state dir ${paths.dir}: ${paths.lock}: ${describeError(error)}`, { hint: limitHint(error) ?? 'choose another with -d DIR', cause: error });
  }
  if (lock) return lock;
  const pid = readPidFile(paths.pid);
  throw new GraceError(`a daemon already runs in ${paths.dir}${pid === null ? '' : ` (pid ${pid})`}`, { hint: 'replace it with: grace restart, or end it with: grace stop' });
}

type Parts = { options: DaemonOptions; launcher: Launcher; paths: StatePaths; listeners: Listeners; lock: Lock; logFile: OpenedLog; supervisor: Supervisor; generation: number };

function assemble({ options, launcher, paths, listeners, lock, logFile, supervisor, generation }: Parts): Service {
  const { log, output } = logFile;
  const now = new Date().toISOString();
  const began = performance.now();
  const { handover } = launcher;
  // A predecessor of an earlier version says only at which time of the clock it began, which may have been set since.
  const earlierMs = handover ? Math.max(0, handover.uptimeMs ?? Date.now() - Date.parse(handover.startedAt)) : 0;
  const changes = new Changes();
  const lifecycle = new Lifecycle(changes);
  const onFailure = (error: Error) => log.error({ error: errorMessage(error) }, 'the native engine failed; its connections are lost, and the portable engine goes on');
  const names = new Names();
  const opened = openEngine({ wanted: options.settings.engine, threads: options.settings.threads, names, onFailure });
  const resolve = (host: string) => names.resolve(host, { bindAddress: null, signal: AbortSignal.timeout(loopLookupMs) }).catch(() => []);
  const { engine } = opened;
  const unread: KeptRule[] = [];
  const keptRules = new KeptRules(supervisor);
  const forwarder = new Forwarder({
    engine,
    changes,
    openListener: (src) => listeners.open(src),
    check: ({ src, dst, listener: { address } }, served) =>
      mustNotLoop({ src, dst, address }, served.map((rule) => ({ src: rule.src, dst: rule.current.spec, address: rule.listener.address })), resolve),
    closeListener: (src, listener) => listeners.close(src, listener),
    describeListener: (listener, change) => listeners.describe(listener, change),
    isLost: (listener) => listeners.whyLost(listener) !== null,
    replaceListener: (before) => listeners.discard(before),
    save: async (rules) => {
      const kept = [...rules.map((rule) => keep(rule, listeners)), ...unread];
      await saveState(paths.state, kept);
      keptRules.remember(kept);
    },
    observe: (src) => logConnections(log, src),
  });
  const endedGenerations = new EndedGenerations(forwarder);
  const generations = new Generations({ paths, changes, onEnded: (report) => endedGenerations.ended(report) });
  return {
    paths,
    log,
    logOutput: output,
    logProblem: () => logFile.problem,
    troubles: new Troubles((text) => log.warn({ trouble: text }, 'serving all the same')),
    keptRules,
    lock,
    changes,
    listeners,
    engine,
    get engineReason() {
      return opened.reason();
    },
    forwarder,
    generations,
    endedGenerations,
    counters: new KeptCounters({ path: paths.counters, forwarder, generations, mayWrite: () => lifecycle.isServing || lifecycle.isStopping }),
    certificates: new Certificates({ log, specs: () => forwarder.specs }),
    version: options.version,
    self: options.self,
    startedAt: handover?.startedAt ?? now,
    uptimeMs: () => earlierMs + Math.round(performance.now() - began),
    processStartedAt: now,
    supervisor,
    flags: options.flags,
    generation,
    lifecycle,
    get phase() {
      return lifecycle.phase;
    },
    handover: new HandoverState(lifecycle, changes),
    unread,
    takeOver() {},
  };
}

/** Until the connections have come: what the predecessor had counts for the limits of its rules. */
function reservePlaces({ forwarder }: Service, { rules }: Handover, connections: readonly number[]): void {
  const counts = new Map(rules.map((rule, index) => [rule.src.absolute, connections[index]]));
  for (const { src, seats } of forwarder.rules) seats?.reserve(counts.get(src.absolute) ?? seats.limit);
}

/** The pid file names whoever is to be watched: the keeper, or this process when that has died. */
function watchKeeper(service: Service, stop: (times: number) => void): void {
  const { supervisor, paths, log } = service;
  supervisor.watch({
    keeperChanged(keeper) {
      if (!service.lifecycle.isServing) return;
      // Before the pid file says so, the log does: whoever sees the one finds the other.
      if (keeper) log.info({ keeper: keeper.pid, version: keeper.version }, 'kept');
      else log.warn({ pidFile: process.pid }, 'the keeper is gone; the daemon goes on without, and the next start or restart brings another');
      service.troubles.attempt('the pid file cannot be written', () => writePidFile(paths.pid, keeper?.pid ?? process.pid));
    },
    note: (text) => log.warn(text),
    stop,
  });
}

/** Tell the service manager, for people, what the daemon is doing. */
async function reportStatus(service: Service): Promise<void> {
  let reported = '';
  while (service.lifecycle.isServing) {
    const { specs, broken } = service.forwarder;
    const text = `Forwarding ${specs.length - broken.length} of ${specs.length} rules`;
    if (text !== reported && service.phase === 'serving') service.supervisor.status((reported = text));
    await service.changes.next();
  }
}

function keep({ src, dst }: RuleSpec, listeners: Listeners): KeptRule {
  return { src: textOf(src), dst: textOf(dst), port: listeners.chosenPort(src) };
}

function tell(service: Service, launcher: Launcher, note: string): void {
  service.log.warn(note);
  launcher.note(note);
}

/** Take over the open connections of the process that this one succeeds. Its socket is closed in any case. */
async function receiveConnections(service: Service, { moving, isDead }: Launcher, socket: number): Promise<void> {
  const { log } = service;
  try {
    if (!moving) return;
    const connections = await moveIn(service, { channel: moving, socket, isDead });
    settleStreams(service.logOutput);
    if (connections > 0) log.info({ connections }, 'open connections taken over');
  } catch (error) {
    log.error({ error: errorMessage(error) }, 'open connections could not be taken over');
  } finally {
    closeFd(socket);
    service.handover.endMoving();
  }
}

/** Resolves when this process has nothing left to do. */
async function ended(service: Service): Promise<void> {
  const isDone = () => service.phase === 'ended' || (service.phase === 'replaced' && !service.handover.isMoving && service.forwarder.connections === 0);
  while (!isDone()) await service.changes.next();
}
