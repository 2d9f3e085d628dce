/** A daemon that a client starts lives longer than the shell, the script or the cron job that ran that client. */
import { getPriority, setPriority } from 'node:os';
import { launchVariable } from '../control/launch.ts';
import { keepInheritedFds } from '../sys/descriptor.ts';
import { hasLinuxCalls, liftLimit } from '../sys/process.ts';

/**
 * Leave behind what whoever started this process has set for its own processes. In the foreground the
 * priority and the limits are those of an init system or of a person who means the daemon.
 */
export function standAlone(env: NodeJS.ProcessEnv): void {
  process.umask(0o077);
  keepInheritedFds();
  process.on('SIGXFSZ', () => {}); // a write beyond the limit fails, which is dealt with; it does not end the process
  if (env[launchVariable] === undefined) return;
  for (const set of [usualPriority, usualLimits]) {
    try {
      set();
    } catch {
      // Not allowed: it serves as it is.
    }
  }
}

function usualPriority(): void {
  if (getPriority() !== 0) setPriority(0);
}

/** CPU time and file sizes add up for as long as a daemon runs; memory and processes are limited as hard as the user is. */
function usualLimits(): void {
  if (!hasLinuxCalls) return;
  for (const name of ['cpu', 'fileSize', 'memory', 'data', 'processes'] as const) liftLimit(name);
}
