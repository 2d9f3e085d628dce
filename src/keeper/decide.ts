/** Whether the process that is asked to be the daemon runs a keeper, which runs the daemon. */
import { closeFd } from '../sys/descriptor.ts';
import { holdSignals } from '../sys/exec.ts';
import { receiveMessage, sendMessage } from '../sys/message.ts';
import { hasLinuxCalls, peekEndedChild, setChildSubreaper } from '../sys/process.ts';
import { errorMessage } from '../error.ts';
import { handoverVariable } from '../control/launch.ts';
import { closeChannelEnd, openChannel } from './channel.ts';
import { channelVariable } from './messages.ts';

/**
 * Whether the process that is asked to be the daemon is to be its keeper instead: not if it was started
 * by one, or by the daemon that it succeeds, or by systemd, which does a keeper's work.
 */
export function isKeeperWanted(env: NodeJS.ProcessEnv): boolean {
  return [channelVariable, handoverVariable, 'NOTIFY_SOCKET'].every((name) => !env[name]);
}

/**
 * Why this process cannot be a keeper, or null: a sandbox may refuse what it needs of the system. A
 * daemon needs less. To be asked before the process has become anything.
 */
export function whyNotKeeper(): string | null {
  try {
    if (hasLinuxCalls) setChildSubreaper(true);
    peekEndedChild();
    holdSignals([], false);
    passDescriptor();
    return null;
  } catch (error) {
    return errorMessage(error);
  }
}

function passDescriptor(): void {
  const [ours, theirs] = openChannel();
  try {
    sendMessage(ours.datagrams, new Uint8Array(1), { fds: [ours.stream] });
    receiveMessage(theirs.datagrams, { size: 1, maxFds: 1 })?.fds.forEach(closeFd);
  } finally {
    closeChannelEnd(ours);
    closeChannelEnd(theirs);
  }
}
