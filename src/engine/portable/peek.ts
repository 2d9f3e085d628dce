/** Looking at what a client sent without taking it from those who read it next. */
import type { Socket } from 'node:net';

/**
 * Wait until `isEnough` is true of what has come, of which it is given one part after the other, or it will not come:
 * the socket has ended, is closed, or the signal aborts. The socket, which is paused, has it still, its end included. Never rejects.
 */
export async function peek(socket: Socket, isEnough: (part: Buffer) => boolean, signal: AbortSignal): Promise<void> {
  const parts: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  /** At once: in the next turn the socket may tell of its end, behind which nothing can be put back. */
  const finish = () => {
    signal.removeEventListener('abort', finish);
    socket.off('readable', look).off('end', finish).off('close', finish);
    if (parts.length > 0 && !socket.destroyed && !socket.readableEnded) socket.unshift(Buffer.concat(parts));
    parts.length = 0;
    resolve();
  };
  const look = () => {
    let isOver = false;
    // Just as much as there is: to ask for more would tell of the end.
    while (socket.readableLength > 0 && !socket.destroyed) {
      const part = socket.read(socket.readableLength) as Buffer | null;
      if (part === null) break;
      parts.push(part);
      isOver ||= isEnough(part);
    }
    if (isOver || hasEnded(socket)) finish();
  };
  socket.on('readable', look).once('end', finish).once('close', finish);
  signal.addEventListener('abort', finish);
  if (signal.aborted || socket.destroyed || socket.readableEnded) finish();
  else look();
  await promise;
}

/** Whether nothing comes after what is there to be read, of which `readableEnded` says so only later. */
function hasEnded(socket: Socket): boolean {
  return (socket as Socket & { _readableState?: { ended?: boolean } })._readableState?.ended === true;
}
