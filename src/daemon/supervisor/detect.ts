/** Finds out who watches this daemon. */
import type { ChannelEnd } from '../../keeper/channel.ts';
import { channelVariable } from '../../keeper/messages.ts';
import { openNotifier } from '../../net/notify.ts';
import { KeeperSupervisor } from './keeper.ts';
import { unsupervised } from './unsupervised.ts';
import { superviseBySystemd } from './systemd.ts';
import type { Supervisor, SupervisorOptions } from './supervisor.ts';

/** Find out who watches this process; variables that tell and are not for its children are removed. */
export async function detectSupervisor(options: SupervisorOptions): Promise<Supervisor> {
  const { env } = options;
  const channel = env[channelVariable];
  delete env[channelVariable];
  if (channel !== undefined) return await KeeperSupervisor.join(options, parseEnd(channel));
  const notifier = openNotifier(env);
  return notifier ? superviseBySystemd(notifier) : unsupervised;
}

/** `3,4`; anything else means that the keeper of the predecessor is gone. */
function parseEnd(text: string): ChannelEnd | null {
  const match = /^([0-9]+),([0-9]+)$/.exec(text);
  return match ? { stream: Number(match[1]), datagrams: Number(match[2]) } : null;
}
