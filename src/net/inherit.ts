import { GraceError } from '../error.ts';
import { dropRuntimeCopy, isOpenFd, setCloseOnExec } from '../sys/descriptor.ts';
import { isListener } from '../sys/socket.ts';
import { adoptFd } from './listener.ts';
import type { Listener } from './listener.ts';

/** First inherited descriptor (SD_LISTEN_FDS_START). */
export const LISTEN_FDS_START = 3;

/** As `process.env`. */
export type Environment = Record<string, string | undefined>;

/** Everything that came by systemd's protocol (sd_listen_fds(3)). */
export type Inherited = {
  /** In the order of their descriptors; a listener's index is `fd - 3`. The caller closes those it does not use. */
  listeners: Listener[];
  /** What was passed by the same protocol and is not a listening stream socket: a lock, a channel, a stored file. */
  others: { fd: number; name: string }[];
};

/**
 * Take the sockets that an init system or a predecessor left for this process: LISTEN_FDS descriptors
 * from 3 on, with their names in LISTEN_FDNAMES (sd_listen_fds_with_names(3)). LISTEN_PID, when set,
 * must be this process's; a predecessor that cannot know our pid leaves it out. The variables are
 * removed and every descriptor is made close-on-exec, so that no child takes them for its own. A
 * variable that is empty counts as one that is not set: a script often cannot unset it.
 *
 * @throws GraceError when the variables contradict themselves or a descriptor is not open. Opening the
 * addresses anew instead would hide that the sockets, and the clients in their queues, are lost.
 */
export function takeInherited(env: Environment = process.env): Inherited {
  const { LISTEN_FDS: count, LISTEN_PID: pid, LISTEN_FDNAMES: names } = env;
  delete env['LISTEN_FDS'];
  delete env['LISTEN_PID'];
  delete env['LISTEN_FDNAMES'];
  if (!count || (pid && pid !== String(process.pid))) return { listeners: [], others: [] };
  if (!/^[0-9]{1,5}$/.test(count))
    throw new GraceError(`cannot take inherited sockets: LISTEN_FDS is "${count}"`, { code: 'ERR_GRACE_INHERITED' });

  const fds = Array.from({ length: Number(count) }, (_, index) => LISTEN_FDS_START + index);
  const fdNames = parseNames(names, fds.length);
  const missing = fds.find((fd) => !isOpenFd(fd));
  if (missing !== undefined) {
    throw new GraceError(
      `cannot take inherited sockets: LISTEN_FDS is ${count}, but descriptor ${missing} is not open`,
      { code: 'ERR_GRACE_INHERITED' },
    );
  }
  const inherited: Inherited = { listeners: [], others: [] };
  for (const [index, fd] of fds.entries()) {
    const name = fdNames[index] ?? '';
    dropRuntimeCopy(fd);
    setCloseOnExec(fd, true);
    if (isListener(fd)) inherited.listeners.push(adoptFd(fd, { name }));
    else inherited.others.push({ fd, name });
  }
  return inherited;
}

/** Without LISTEN_FDNAMES each is "unknown", as systemd's library has it. */
function parseNames(names: string | undefined, count: number): string[] {
  if (names === undefined || (names === '' && count !== 1)) return Array<string>(count).fill('unknown');
  const list = names.split(':');
  if (list.length === count) return list;
  throw new GraceError(
    `cannot take inherited sockets: LISTEN_FDS is ${count}, but LISTEN_FDNAMES has ${list.length} names`,
    { code: 'ERR_GRACE_INHERITED' },
  );
}
