/** Looking at what a client sent without taking it from those who read it next. */
import type { Socket } from 'node:net';

/**
 * Wait until `isEnough` is true of what has come, of which it is given one part after the other, or it will not come:
 * the socket has ended, is closed, or the signal aborts. The socket, which is paused, has it still. Never rejects.
 */
export async function peek(socket: Socket, isEnough: (part: Buffer) => boolean, signal: AbortSignal): Promise<void> {
  const parts: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = () => {
    let isOver = false;
    for (let part: Buffer | null; (part = socket.read() as Buffer | null) !== null;) {
      parts.push(part);
      isOver ||= isEnough(part);
    }
    if (isOver) resolve();
  };
  const end = () => resolve();
  socket.on('readable', look).once('end', end).once('close', end);
  signal.addEventListener('abort', end);
  if (signal.aborted || socket.destroyed || socket.readableEnded) resolve();
  else look();
  await promise;
  signal.removeEventListener('abort', end);
  socket.off('readable', look).off('end', end).off('close', end);
  if (parts.length > 0 && !socket.destroyed && !socket.readableEnded) socket.unshift(Buffer.concat(parts));
}
