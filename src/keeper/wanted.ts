import { handoverVariable } from '../control/launch.ts';
import { channelVariable } from './messages.ts';

/**
 * Whether the process that is asked to be the daemon is to be its keeper instead: not if it was started
 * by one, or by the daemon that it succeeds, or by systemd, which does a keeper's work.
 */
export function isKeeperWanted(env: NodeJS.ProcessEnv): boolean {
  return [channelVariable, handoverVariable, 'NOTIFY_SOCKET'].every((name) => !env[name]);
}
