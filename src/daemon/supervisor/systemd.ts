import { asideVariable } from '../../control/step-aside.ts';
import { storeNames, parseInherited } from '../../keeper/messages.ts';
import type { Notifier } from '../../net/notify.ts';
import { unsupervised } from './unsupervised.ts';
import type { Supervisor } from './supervisor.ts';

/** Longest that the manager may take to have read what was sent, before the daemon goes on. */
const barrierTimeoutMs = 500;

/**
 * systemd as the supervisor (sd_notify(3), `Type=notify`): sockets go into its file descriptor store,
 * and come back in LISTEN_FDS under the same names. It follows the main process by MAINPID.
 */
export function superviseBySystemd(notifier: Notifier): Supervisor {
  let watchdog: NodeJS.Timeout | undefined;
  // The lock must end with the service; what a socket unit gave, the manager has anyhow.
  const isStored = (name: string) => name !== storeNames.lock && parseInherited(name) === null;
  const startWatchdog = () => {
    const { watchdogIntervalMs } = notifier;
    if (watchdogIntervalMs !== null) watchdog ??= setInterval(() => notifier.watchdog(), watchdogIntervalMs).unref();
  };
  const stopWatchdog = () => {
    clearInterval(watchdog);
    watchdog = undefined;
  };
  return {
    ...unsupervised,
    keepsOverStop: true,
    // Its main process is to be its own child. Deno, whose spawn does not pass descriptors on as they are, starts it as ours.
    prepareSuccessor: (options) => ({
      ...unsupervised.prepareSuccessor(options),
      env: 'Deno' in globalThis ? {} : { [asideVariable]: '1' },
    }),
    store(name, fd, { isStored: isAlreadyStored = false } = {}) {
      if (isAlreadyStored || !isStored(name)) return;
      notifier.removeFds({ name }); // the store holds any number of sockets under one name
      notifier.storeFds([fd], { name });
    },
    forget(name) {
      if (isStored(name)) notifier.removeFds({ name });
    },
    settled: () => notifier.barrier({ timeoutMs: barrierTimeoutMs }),
    serving() {
      notifier.ready({ mainPid: process.pid });
      startWatchdog();
    },
    status: (text) => notifier.status(text),
    restarting({ timeoutMs }) {
      notifier.reloading({ status: 'Restarting' });
      notifier.extendTimeout(timeoutMs);
    },
    rollback() {
      notifier.ready({ mainPid: process.pid });
      startWatchdog();
    },
    replaced(options) {
      // The successor has said so itself; where only the main process is listened to, this counts.
      notifier.ready({ mainPid: options.pid });
      stopWatchdog();
      unsupervised.replaced(options);
    },
    stopping({ timeoutMs }) {
      notifier.stopping({ status: 'Finishing open connections' });
      notifier.extendTimeout(timeoutMs + extraMs);
    },
  };
}

/** What the end itself may take after the last connection. */
const extraMs = 5000;
