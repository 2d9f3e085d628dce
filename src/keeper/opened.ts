/** Listening sockets that this process opened before it went on as another user, who could not: they come by their names. */
import { GraceError } from '../error.ts';
import { isOpenFd, setCloseOnExec } from '../sys/descriptor.ts';

/** Variable with those sockets: `NAME=FD`, with commas between. */
const openedVariable = 'GRACE_OPENED';

/** What {@link takeOpened} reads, for the environment of what this process becomes. */
export function openedEnvironment(sockets: readonly { name: string; fd: number }[]): Record<string, string> {
  return sockets.length === 0 ? {} : { [openedVariable]: sockets.map(({ name, fd }) => `${name}=${fd}`).join(',') };
}

/** Those sockets, which are the caller's. The variable is removed. Throws GraceError where it is none of ours. */
export function takeOpened(env: NodeJS.ProcessEnv): [name: string, fd: number][] {
  const text = env[openedVariable];
  delete env[openedVariable];
  if (!text) return [];
  return text.split(',').map((entry) => {
    const [, name = '', digits = ''] = /^([A-Za-z0-9_.-]+)=([0-9]{1,9})$/.exec(entry) ?? [];
    const fd = Number(digits);
    if (name === '' || fd < 3 || !isOpenFd(fd))
      throw new GraceError(`cannot take the sockets that ${openedVariable} names`, {
        hint: 'it is for processes of grace alone: unset it',
      });
    setCloseOnExec(fd, true);
    return [name, fd];
  });
}
