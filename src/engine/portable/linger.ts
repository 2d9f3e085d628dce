/** The last moments of a leg whose other side is gone. */
import type { Leg } from './leg.ts';
import { resumeLeg } from './gate.ts';

/** How a leg comes to its end. */
export type LingerOptions = {
  /** The other side had ended before: wait for this one to end, too, since a close would throw away what it has not fetched. */
  hasEnded: boolean;
  /** Called once, also when the leg was closed in the meantime. */
  done: () => void;
};

/** How often a leg is looked at. */
const lookMs = 50;
/** Looks in a row without a byte either way that end its time: one that sends gets to the end of it, then it is told of a reset. */
const quietLooks = { afterReset: 2, afterEnd: 20, stalled: 20 };
const maxMs = 30_000;
/** Most bytes that a peer sends on to nobody, once it was sent all. */
const maxBytes = 16 << 20;

/**
 * Let a leg take what was sent to it, and let its peer send on, to nobody: a reset now would take the
 * last bytes from it, and one in the middle of its sending would keep it from reading them. Ends when
 * all is written and the peer has ended or is quiet, or sends without an end.
 */
export function lingerOn(leg: Leg, { hasEnded, done }: LingerOptions): void {
  const { socket } = leg;
  const startMs = performance.now();
  const readBefore = socket.bytesRead;
  let last = -1;
  let quiet = 0;
  const finish = () => {
    clearInterval(timer);
    socket.off('close', finish);
    done();
  };
  const look = () => {
    const isWritten = socket.writableLength === 0 && (!hasEnded || socket.writableFinished);
    if (isWritten && socket.readableEnded) return finish();
    const moved = socket.bytesRead + socket.bytesWritten - socket.writableLength;
    quiet = moved === last ? quiet + 1 : 0;
    last = moved;
    const enough = !isWritten ? quietLooks.stalled : hasEnded ? quietLooks.afterEnd : quietLooks.afterReset;
    const isOver = performance.now() - startMs > maxMs || (isWritten && socket.bytesRead - readBefore > maxBytes);
    if (quiet >= enough || isOver) finish();
  };
  const timer = setInterval(look, lookMs);
  socket.once('close', finish);
  resumeLeg(leg);
  // Nothing to lose.
  if (!hasEnded && (socket.bytesWritten === 0 || socket.readableEnded) && socket.writableLength === 0) finish();
}
