/** Who serves a state dir, as the system knows it: asked before a daemon is started in place of one that this keeper has lost. */
import { closeFd } from '../sys/descriptor.ts';
import { hasLinuxCalls, isRunning } from '../sys/process.ts';
import { connectSocket, openSocket, peerCredentials } from '../sys/socket.ts';

/**
 * The pid of the process that listens on a control socket, and lives: the kernel says who called listen(2) last
 * (SO_PEERCRED, unix(7)). Null when there is none, and where that cannot be told. A connect succeeds also where
 * nobody but this process holds a copy of that socket: then it is the one who ended.
 *
 * @throws SystemError when this process has no descriptor left to look with.
 */
export function findServing(socket: string): number | null {
  if (!hasLinuxCalls) return null;
  const fd = openSocket('unix');
  try {
    connectSocket(fd, { family: 'unix', path: socket });
    const { pid } = peerCredentials(fd);
    return pid > 0 && isRunning(pid) ? pid : null;
  } catch {
    return null; // nobody listens there, or its queue is full
  } finally {
    closeFd(fd);
  }
}
