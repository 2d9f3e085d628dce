/** What a daemon has open before it looks at a rule: state dir, lock, log, control socket, signals. */
import { statePaths } from '../control/paths.ts';
import type { RequestHandler } from '../control/server.ts';
import { makeStateDir } from '../control/state-dir.ts';
import { errorMessage } from '../error.ts';
import { storeNames } from '../keeper/messages.ts';
import { hasLinuxCalls, setThreadName } from '../sys/process.ts';
import { Admin } from './admin/admin.ts';
import { Events } from './admin/events.ts';
import { assemble } from './assemble.ts';
import type { Launcher } from './launcher.ts';
import { Listeners } from './listeners/listeners.ts';
import { openLog } from './log/log.ts';
import type { OpenedLog } from './log/log.ts';
import { accessPlaceOf, outputOf } from './log/output.ts';
import type { DaemonOptions } from './options.ts';
import { mustTellPeers, shareStateDir } from './requests/access.ts';
import { handleRequest } from './requests/commands.ts';
import { openControlSocket } from './requests/control-socket.ts';
import type { ControlSocket } from './requests/control-socket.ts';
import type { Service } from './service.ts';
import { listenToSignals } from './signals.ts';
import { removeLeftovers } from './state/leftovers.ts';
import { findLock } from './state/lock.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import { watchMemory } from './trim-memory.ts';
import type { MemoryTrimmer } from './trim-memory.ts';
import { attempt } from './troubles.ts';

/** A daemon that answers commands and signals, and serves nobody yet. */
export type OpenedDaemon = {
  readonly options: DaemonOptions;
  readonly launcher: Launcher;
  readonly service: Service;
  readonly control: ControlSocket;
  readonly trimmer: MemoryTrimmer;
  /** What the page over HTTP shows of the log; null without `--admin`. */
  readonly events: Events | null;
  /** The keeper, which is gone, wants it stopped: so many signals have come. */
  stopByKeeper(times: number): void;
  /** Log what must not have happened. */
  logError(error: unknown): void;
  /** Tell whoever started this process, and the log. */
  warn(note: string): void;
};

/** Throws GraceError where another daemon has the state dir, or something cannot be had. */
export async function openDaemon(
  options: DaemonOptions,
  launcher: Launcher,
  supervisor: Supervisor,
): Promise<OpenedDaemon> {
  nameProcess();
  const { service, logFile, events } = await openService(options, launcher, supervisor);
  const { log, paths, listeners } = service;
  const logError = (error: unknown) =>
    log.error(
      { error: errorMessage(error), stack: error instanceof Error ? error.stack : undefined },
      'internal error',
    );
  const warn = (note: string) => {
    log.warn(note);
    // Where the log is what the one who started it reads, once is enough, and in its form.
    if (launcher.kind !== 'foreground' || service.logOutput.kind === 'file') launcher.note(note);
  };
  if (logFile.problem !== null) {
    log.warn({ log: logFile.problem }, 'the log goes to standard error, since its file cannot be opened');
    // There it is read by nobody any more, once the client has ended.
    if (launcher.kind === 'client')
      launcher.note(`nobody has the log, since its file cannot be opened: ${logFile.problem}`);
  }
  if (options.noKeeperBecause !== null)
    warn(`no keeper, so that the pid changes with a restart and a crash is not repaired: ${options.noKeeperBecause}`);
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
    group: options.settings['socket-group'],
    stored: listeners.stored.takeControl(),
    handle,
    onError: logError,
  });
  const { stopByKeeper } = listenToSignals(service, { onSignal: options.onSignal, logFile, logError });
  return { options, launcher, service, control, trimmer, events, stopByKeeper, logError, warn };
}

async function openService(
  options: DaemonOptions,
  launcher: Launcher,
  supervisor: Supervisor,
): Promise<{ service: Service; logFile: OpenedLog; events: Events | null }> {
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
  return { service, logFile, events };
}

/** As pgrep, ss and systemctl show it; the runtime calls it after its main thread. */
function nameProcess(): void {
  if (hasLinuxCalls) setThreadName('grace');
}
