import net from 'node:net';
import type { Socket } from 'node:net';
import { connectDenoUnix } from './deno-unix.ts';

/**
 * Connect to a Unix socket, once. The connection is the caller's; each direction of it ends on its own, and an
 * error of it that nobody listens to ends no process.
 *
 * @throws the system's error: ENOENT, ECONNREFUSED, EACCES, EAGAIN when its queue is full; of a path that is too long
 * EINVAL, on Deno RangeError; the signal's reason.
 */
export async function openUnixConnection(path: string, signal?: AbortSignal): Promise<Socket> {
  signal?.throwIfAborted();
  const isDeno = 'Deno' in globalThis;
  const socket = isDeno ? connectDenoUnix(path) : net.connect({ path, allowHalfOpen: true });
  socket.on('error', () => {});
  if (!isDeno) await connected(socket, signal);
  return socket;
}

function connected(socket: Socket, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => {
      signal?.removeEventListener('abort', abort);
      socket.removeListener('error', fail).removeListener('connect', succeed);
      act();
    };
    const succeed = () => settle(resolve);
    const fail = (error: Error) => settle(() => reject(error));
    const abort = () => {
      socket.destroy();
      settle(() => reject(signal?.reason));
    };
    signal?.addEventListener('abort', abort);
    socket.once('error', fail).once('connect', succeed);
  });
}
