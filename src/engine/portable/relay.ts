/** Bytes both ways, until both directions have ended. */
import type { Socket } from 'node:net';
import { errorCode, GraceError } from '../../error.ts';
import { pauseLeg, resumeLeg } from './gate.ts';
import { closedLeg, closeLeg, resetLeg } from './leg.ts';
import type { Leg } from './leg.ts';
import type { Vigil } from './vigil.ts';

export type RelayOptions = {
  /** Hears of bytes from the client, from the upstream. */
  movedIn: (bytes: number) => void;
  movedOut: (bytes: number) => void;
  /** Close when no byte moved for so long; null: never. */
  idleMs: number | null;
  /** Closes both sides when it comes. */
  signal: AbortSignal;
  vigil: Vigil;
};

/**
 * Relay until both sides are closed, which it sees to. Each direction ends on its own: an end of one
 * peer is passed on to the other, whose bytes go on. What is not orderly becomes a reset. A reader
 * that stalls stops the reading of its peer: what is kept for it is bounded by the high-water marks of
 * the two sockets, 64 KiB each, and one read.
 *
 * Returns why it ended, null for an orderly end, a reset by a peer, and the signal.
 *
 * An end of TLS without its closing alert counts as an end, as nearly every peer of TLS has it.
 */
export async function relay(near: Leg, far: Leg, { movedIn, movedOut, idleMs, signal, vigil }: RelayOptions): Promise<Error | null> {
  let trouble: Error | null = null;
  let bytesMoved = 0;
  let isClosing = false;

  const close = (reason: Error | null) => {
    if (isClosing) return;
    isClosing = true;
    trouble ??= reason;
    closeLeg(near);
    closeLeg(far);
  };
  const watch = (leg: Leg, other: Leg) => {
    leg.socket.on('error', (error) => {
      if (!isClosing) trouble ??= isPeersEnding(error) ? null : relayError(error);
    });
    leg.socket.on('close', () => {
      if (!isClosing && !isOrderly(leg.socket)) resetLeg(other);
    });
  };

  const abort = () => close(null);
  const stopIdle = idleMs === null ? null : whenIdle({ idleMs, bytesMoved: () => bytesMoved, idle: () => close(new GraceError(`idle for ${idleMs / 1000} s`)) });
  watch(near, far);
  watch(far, near);
  signal.addEventListener('abort', abort);
  if (isGone(near)) resetLeg(far);
  else if (isGone(far)) resetLeg(near);
  else if (signal.aborted) abort();
  else {
    pump(near, far, {
      vigil,
      moved(bytes) {
        bytesMoved += bytes;
        movedIn(bytes);
      },
    });
    pump(far, near, {
      vigil,
      moved(bytes) {
        bytesMoved += bytes;
        movedOut(bytes);
      },
    });
  }
  await Promise.all([closedLeg(near), closedLeg(far)]);
  stopIdle?.();
  signal.removeEventListener('abort', abort);
  return trouble;
}

function pump(from: Leg, to: Leg, { moved, vigil }: { moved: (bytes: number) => void; vigil: Vigil }): void {
  const source = from.socket;
  const sink = to.socket;
  let forget: (() => void) | null = null;
  const endWatch = () => {
    forget?.();
    forget = null;
  };
  source.on('data', (chunk: Buffer) => {
    moved(chunk.length);
    if (sink.write(chunk)) return;
    pauseLeg(from);
    // While it is not read, its reset would go unnoticed.
    forget ??= vigil.watch(from, 'reset', () => resetLeg(from));
  });
  sink.on('drain', () => {
    endWatch();
    resumeLeg(from);
  });
  // A TLS socket says that it has ended even if nobody has begun to read.
  if (source.readableEnded) sink.end();
  else source.on('end', () => sink.end());
  source.on('close', endWatch);
  // A client that was accepted paused stays so until it is told otherwise.
  resumeLeg(from);
}

function isGone({ socket, carrier }: Leg): boolean {
  return socket.destroyed || carrier.destroyed;
}

/** Whether a socket that is closed had ended in both directions. */
function isOrderly(socket: Socket): boolean {
  return socket.readableEnded && socket.writableFinished;
}

/** Resets and broken pipes are endings, not errors. */
function isPeersEnding(error: Error): boolean {
  return ['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_DESTROYED'].includes(errorCode(error) ?? '');
}

function relayError(error: Error): GraceError {
  const code = errorCode(error);
  if (code === 'ETIMEDOUT') return new GraceError('the peer does not answer any more (ETIMEDOUT)', { cause: error });
  return new GraceError(error.message, { cause: error });
}

type IdleOptions = { idleMs: number; bytesMoved: () => number; idle: () => void };

/** How many looks an idle time takes: it is found out at most one look late. */
const looksPerIdle = 4;

/** Calls back once no byte moved for so long. A look now and then costs less than a clock at every byte. */
function whenIdle({ idleMs, bytesMoved, idle }: IdleOptions): () => void {
  let last = -1;
  let quietLooks = 0;
  const timer = setInterval(() => {
    const moved = bytesMoved();
    quietLooks = moved === last ? quietLooks + 1 : 0;
    last = moved;
    if (quietLooks >= looksPerIdle) idle();
  }, Math.max(1, idleMs / looksPerIdle));
  return () => clearInterval(timer);
}
