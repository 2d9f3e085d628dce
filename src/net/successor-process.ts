import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { GraceError } from '../error.ts';
import { isRunning } from '../sys/process.ts';
import type { Net } from './net.ts';
import type { ServingNotice } from './serving-notice.ts';

/** The process of a successor, as its predecessor sees it. */
export type SuccessorProcess = {
  readonly pid: number;
  isRunning(): boolean;
  /** Resolves with how it ended, empty where that is not known. It does not keep this process alive. Rejects when aborted. */
  ended(signal: AbortSignal): Promise<string>;
  /** At once, as its sockets keep clients waiting as long as it lives; it has not served anybody yet. Resolves at its end. */
  kill(): Promise<void>;
};

/** Start it as a child of this process. Throws GraceError. */
export async function startChild(net: Net, notice: ServingNotice): Promise<SuccessorProcess> {
  const child = await net.startProcess({ notice });
  // It must not keep this process alive, which ends when its requests have.
  child.unref();
  const isAlive = (): boolean => child.exitCode === null && child.signalCode === null;
  return {
    pid: child.pid ?? 0,
    isRunning: isAlive,
    async ended(signal) {
      const [code, by] = (await once(child, 'exit', { signal })) as [number | null, string | null];
      return by ?? `exit code ${code}`;
    },
    async kill() {
      if (!isAlive()) return;
      child.ref();
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

/** How often one that is no child of ours is looked after, in milliseconds. */
const LOOK_MS = 20;

/**
 * Start it as a child of the service manager. systemd is not told of the end of any other process: told to stop such
 * a service it kills it at once, since there is nothing to wait for, and a crash of it is a clean end.
 *
 * @throws GraceError
 */
export async function startAside(net: Net, notice: ServingNotice): Promise<SuccessorProcess> {
  const shell = await net.startProcess({ notice, isAside: true });
  if (shell.exitCode === null && shell.signalCode === null) await once(shell, 'exit');
  const pid = notice.startedAs();
  if (pid === null)
    throw new GraceError('the shell that starts the successor did not say which process it is', {
      code: 'ERR_GRACE_SUCCESSOR',
    });
  return {
    pid,
    isRunning: () => isRunning(pid),
    async ended(signal) {
      while (isRunning(pid)) await delay(LOOK_MS, undefined, { ref: false, signal });
      return '';
    },
    async kill() {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended already.
      }
      while (isRunning(pid)) await delay(LOOK_MS);
    },
  };
}
