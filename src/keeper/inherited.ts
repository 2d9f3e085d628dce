import { LISTEN_FDS_START, takeInherited } from '../net/inherit.ts';
import { isListener } from '../sys/socket.ts';
import { storeNames } from './messages.ts';
import { takeOpened } from './opened.ts';

/** How far bare descriptors are looked for; a shell's redirections are single digits. */
const lastBareFd = 32;

/**
 * The listening sockets that whoever started this process gave to it, by the names under which a
 * keeper holds them: those of systemd's protocol, and bare descriptors, which endpoints like `fd:5`
 * speak of, and those that it opened as root. To be called before anything is opened. Throws GraceError, see `takeInherited`.
 */
export function takeInheritedSockets(env: NodeJS.ProcessEnv): [name: string, fd: number][] {
  const protocol = takeInherited(env).listeners.map(({ fd, name }): [string, number] => [
    storeNames.inherited({ fd, index: fd - LISTEN_FDS_START, name }),
    fd,
  ]);
  const opened = takeOpened(env);
  const taken = new Set([...protocol, ...opened].map(([, fd]) => fd));
  const bare: [string, number][] = [];
  for (let fd = LISTEN_FDS_START; fd <= lastBareFd; fd++) {
    if (!taken.has(fd) && isListener(fd)) bare.push([storeNames.inherited({ fd, index: null, name: `fd-${fd}` }), fd]);
  }
  return [...protocol, ...opened, ...bare];
}
