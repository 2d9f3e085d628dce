import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DaemonMovedError, callOnce } from '../control/client.ts';
import { statePaths } from '../control/paths.ts';
import { GraceError } from '../error.ts';
import { isNoDaemon } from '../kinds.ts';
import type { Listener } from '../net/listener.ts';
import { openListener } from '../net/open.ts';
import { removeSocketPath } from '../net/unix-path.ts';
import { closeFd } from '../sys/descriptor.ts';
import { lockFile } from '../sys/lock.ts';
import { receiveMessage } from '../sys/message.ts';
import { hasLinuxCalls } from '../sys/process.ts';
import { acceptSocket, peerCredentials } from '../sys/socket.ts';
import { openChannel } from './channel.ts';
import type { ChannelEnd } from './channel.ts';

/** The keeper's end of a channel to a daemon that has just got it; `pid` is null where the system does not tell. */
export type Attached = { end: ChannelEnd; pid: number | null };

/** The daemon has a keeper, or wants none. */
export type Refused = { refusal: GraceError };

/**
 * Ask the daemon that serves a state dir to have this process as its keeper. It connects to a socket
 * of ours and sends one end of a channel. Null when no daemon runs. `signal` ends the wait.
 *
 * @throws GraceError when it does not answer as a daemon does; SystemError, also as a cause, when this process has
 * no descriptors for it, and then the daemon has not been asked.
 */
export async function attachToDaemon(dir: string, signal?: AbortSignal): Promise<Attached | Refused | null> {
  const paths = statePaths(dir);
  if (!existsSync(paths.socket)) return null;
  // What is received needs descriptors: they are had before the daemon takes the trouble.
  const spare = openChannel().flatMap(({ stream, datagrams }) => [stream, datagrams]);
  const path = join(dir, `keeper-${process.pid}.sock`);
  let listener: Listener | null = null;
  try {
    listener = await openListener({ kind: 'unix', path, mode: 0o600, backlog: 1 }, { name: 'keeper' });
    const failure = await callOnce(paths.socket, { command: 'keeper', path }, { signal }, dir).then(
      () => new Error('the daemon did not connect to its new keeper'),
      (error: unknown) => error,
    );
    for (const fd of spare.splice(0)) closeFd(fd);
    // It connected and sent before it answered, perhaps to an earlier request, whose answer was waited for in vain.
    const attached = receiveEnd(listener.fd);
    if (attached) return attached;
    if (isRefusal(failure)) return { refusal: failure };
    throw failure;
  } catch (error) {
    if (isNoDaemon(error) || (isNoAnswer(error) && isUnlocked(paths.lock))) return null;
    throw error;
  } finally {
    spare.forEach(closeFd);
    if (listener) {
      removeSocketPath(listener);
      listener.close();
    }
  }
}

/** The daemon was asked, and said itself that it does not want this keeper. */
function isRefusal(error: unknown): error is GraceError {
  return (
    error instanceof GraceError &&
    error.cause === undefined &&
    !(error instanceof DaemonMovedError) &&
    !isNoDaemon(error)
  );
}

/** What is at the socket did not say what a daemon says. */
function isNoAnswer(error: unknown): boolean {
  return error instanceof DaemonMovedError || (error instanceof GraceError && error.cause instanceof SyntaxError);
}

/** No daemon runs, whatever is at its socket: one holds the lock. */
function isUnlocked(path: string): boolean {
  try {
    const lock = lockFile(path);
    lock?.release();
    return lock !== null;
  } catch {
    return false; // the daemon that is started will say why
  }
}

/** Null when nobody has connected. */
function receiveEnd(fd: number): Attached | null {
  const socket = acceptSocket(fd);
  if (socket === null) return null;
  try {
    const pid = hasLinuxCalls ? peerCredentials(socket).pid || null : null;
    const fds = receiveMessage(socket, { size: 64, maxFds: 2 })?.fds ?? [];
    const [stream, datagrams] = fds;
    if (stream !== undefined && datagrams !== undefined) return { end: { stream, datagrams }, pid };
    fds.forEach(closeFd);
    throw new GraceError('the daemon sent no channel to its new keeper');
  } finally {
    closeFd(socket);
  }
}
