import { statSync } from 'node:fs';
import { errorMessage } from '../error.ts';
import { inodeOf } from '../sys/descriptor.ts';
import { holdSignals } from '../sys/exec.ts';
import { stopDaemon, stopOwn } from './requests/stop.ts';
import type { OpenedLog } from './log/log.ts';
import { redirectToLog } from '../control/standard-streams.ts';
import { reloadNetworks } from './rules/networks.ts';
import { replaceDaemon } from './handover/restart.ts';
import type { Service } from './service.ts';

/** Calls the handler at each such signal, instead of the signal's default. */
export type OnSignal = (signal: 'SIGTERM' | 'SIGINT' | 'SIGUSR1' | 'SIGUSR2' | 'SIGHUP', handler: () => void) => void;

/** What signals are listened to with. */
export type SignalOptions = { onSignal: OnSignal; logFile: OpenedLog; logError: (error: unknown) => void };

/** How long connections get to finish when a signal ends the daemon. */
const stopTimeoutMs = 30_000;
const restartTimeoutMs = 10_000;

async function stopBySignal(service: Service, { timeoutMs }: { timeoutMs: number }): Promise<void> {
  const wasRestarting = service.phase === 'restarting';
  if (wasRestarting) service.handover.wantStop();
  service.handover.cancel('the daemon is to stop');
  while (service.phase === 'starting' || service.phase === 'restarting') await service.changes.next();
  if (service.phase !== 'replaced') {
    if (service.supervisor.keepsOverStop) service.listeners.leaveToSupervisor();
    await stopDaemon(service, { timeoutMs });
  } else if (!wasRestarting) await stopOwn(service, { timeoutMs });
  // Else the successor is stopped, and sees to this process too.
}

/** Opens the log again, also as the standard streams where they go into it. */
function logReopener({ generations, accessLog }: Service, { output, reopen }: OpenedLog): () => void {
  let inode = output.kind === 'file' ? inodeOfPath(output.path) : undefined;
  return () => {
    const isOnStderr = inodeOf(2) === inode;
    reopen();
    accessLog?.reopen();
    if (output.kind === 'file') {
      inode = inodeOfPath(output.path);
      if (isOnStderr) redirectIfOpen(output.path);
    }
    // The older generations write into the same file; nobody else knows of them.
    for (const { pid } of generations.reports) {
      try {
        process.kill(pid, 'SIGUSR1');
      } catch {
        // It has just ended.
      }
    }
  };
}

function redirectIfOpen(path: string): void {
  try {
    redirectToLog(path);
  } catch {
    // The log itself has told why it cannot be opened; the streams stay where they were.
  }
}

function inodeOfPath(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

/**
 * Do at each signal what it is for. What goes wrong is logged, and never ends the daemon. Returns what to
 * call when the keeper was told to stop: one signal to all processes, as init systems send it, comes to
 * both, and asks once. The second time on either way ends the daemon at once.
 */
export function listenToSignals(
  service: Service,
  { onSignal, logFile, logError }: SignalOptions,
): { stopByKeeper: (times: number) => void } {
  const { log, forwarder, certificates } = service;
  const reopen = logReopener(service, logFile);
  const on = (signal: Parameters<OnSignal>[0], handle: () => void | Promise<void>) =>
    onSignal(signal, () => {
      Promise.try(handle).catch(logError);
    });
  let stops = 0;
  let direct = 0;
  const stop = async (times: number) => {
    if (times <= stops) return;
    stops = times;
    await stopBySignal(service, { timeoutMs: times > 1 ? 0 : stopTimeoutMs });
  };
  on('SIGTERM', () => stop(++direct));
  on('SIGINT', () => stop(++direct));
  on('SIGUSR1', reopen);
  on('SIGUSR2', async () => {
    while (service.phase === 'starting' || service.handover.isMoving) await service.changes.next();
    if (service.phase === 'replaced') return;
    await replaceDaemon(service, { exec: service.self, timeoutMs: restartTimeoutMs }).catch((error: unknown) =>
      log.error({ error: errorMessage(error) }, 'restart failed'),
    );
  });
  on('SIGHUP', () => {
    reopen();
    let failures = 0;
    for (const rule of forwarder.rules) {
      if (!certificates.reload(rule)) failures++;
      if (!reloadNetworks(rule, service)) failures++;
    }
    service.admin?.reload();
    for (const { spec } of forwarder.broken) certificates.lookAgain(spec);
    log.info(failures === 0 ? 'log reopened, certificates reloaded' : 'log reopened');
  });
  // The executable's Node holds it back (--disable-sigusr1), and whoever has handlers lets it come.
  holdSignals(['SIGUSR1'], false);
  return { stopByKeeper: (times) => void stop(times).catch(logError) };
}
