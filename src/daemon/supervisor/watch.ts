import { setTimeout as delay } from 'node:timers/promises';
import { settleMs, unservedRules } from '../rules/unserved.ts';
import type { Service } from '../service.ts';
import { writePidFile } from '../state/pid-file.ts';

/** The pid file names whoever is to be watched: the keeper, or this process when that has died. */
export function watchKeeper(service: Service, stop: (times: number) => void): void {
  const { supervisor, paths, log } = service;
  supervisor.watch({
    keeperChanged(keeper) {
      if (!service.lifecycle.isServing) return;
      // Before the pid file says so, the log does: whoever sees the one finds the other.
      if (keeper) log.info({ keeper: keeper.pid, version: keeper.version }, 'kept');
      else
        log.warn(
          { pidFile: process.pid },
          'the keeper is gone; the daemon goes on without, and the next start or restart brings another',
        );
      service.troubles.attemptUntilDone('the pid file cannot be written', () =>
        writePidFile(paths.pid, keeper?.pid ?? process.pid),
      );
    },
    note: (text) => log.warn(text),
    stop,
  });
}

/** Tell the service manager, for people, what the daemon is doing. */
export async function reportStatus(service: Service): Promise<void> {
  let reported = '';
  while (service.lifecycle.isServing) {
    const { length: all } = service.forwarder.specs;
    const text = `Forwarding ${all - unservedRules(service).length} of ${all} rules`;
    if (text !== reported && service.phase === 'serving') service.supervisor.status((reported = text));
    await service.changes.next();
    await delay(settleMs, undefined, { ref: false });
  }
}
