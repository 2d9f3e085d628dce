import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DaemonMovedError, callOnce } from '../control/client.ts';
import { statePaths } from '../control/paths.ts';
import { GraceError } from '../error.ts';
import { isNoDaemon } from '../kinds.ts';
import { openListener } from '../net/open.ts';
import { removeSocketPath } from '../net/unix-path.ts';
import { closeFd } from '../sys/descriptor.ts';
import { lockFile } from '../sys/lock.ts';
import { receiveMessage } from '../sys/message.ts';
import { acceptSocket } from '../sys/socket.ts';
import type { ChannelEnd } from './channel.ts';

/**
 * Ask the daemon that serves a state dir to have this process as its keeper. It connects to a socket
 * of ours and sends one end of a channel. Null when no daemon runs.
 *
 * @throws GraceError when it has a keeper, or wants none.
 */
export async function attachToDaemon(dir: string): Promise<ChannelEnd | null> {
  const paths = statePaths(dir);
  if (!existsSync(paths.socket)) return null;
  const path = join(dir, `keeper-${process.pid}.sock`);
  const listener = await openListener({ kind: 'unix', path, mode: 0o600, backlog: 1 }, { name: 'keeper' });
  try {
    await callOnce(paths.socket, { command: 'keeper', path }, {}, dir);
    return receiveEnd(listener.fd);
  } catch (error) {
    if (isNoDaemon(error) || (isNoAnswer(error) && isUnlocked(paths.lock))) return null;
    throw error;
  } finally {
    removeSocketPath(listener);
    listener.close();
  }
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

/** It connected and sent before it answered. */
function receiveEnd(fd: number): ChannelEnd {
  const socket = acceptSocket(fd);
  if (socket === null) throw new GraceError('the daemon did not connect to its new keeper');
  try {
    const [stream, datagrams] = receiveMessage(socket, { size: 64, maxFds: 2 })?.fds ?? [];
    if (stream === undefined || datagrams === undefined)
      throw new GraceError('the daemon sent no channel to its new keeper');
    return { stream, datagrams };
  } finally {
    closeFd(socket);
  }
}
