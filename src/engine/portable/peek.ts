/** Looking at what a client sent without taking it from those who read it next. */
import type { Socket } from 'node:net';

/**
 * Wait until `isEnough` is true of what has come, or it will not come: the socket has ended, is closed, or the
 * signal aborts. Returns what there is; the socket, which is paused, has it still. Never rejects.
 */
export async function peek(socket: Socket, isEnough: (bytes: Buffer) => boolean, signal: AbortSignal): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0);
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = () => {
    for (let chunk: Buffer | null; (chunk = socket.read() as Buffer | null) !== null;)
      bytes = Buffer.concat([bytes, chunk]);
    if (isEnough(bytes)) resolve();
  };
  const end = () => resolve();
  socket.on('readable', look).once('end', end).once('close', end);
  signal.addEventListener('abort', end);
  if (signal.aborted || socket.destroyed || socket.readableEnded) resolve();
  else look();
  await promise;
  signal.removeEventListener('abort', end);
  socket.off('readable', look).off('end', end).off('close', end);
  if (bytes.length > 0 && !socket.destroyed && !socket.readableEnded) socket.unshift(bytes);
  return bytes;
}
