/** Bytes both ways, until both directions have ended. */
import { errorCode, GraceError } from '../../error.ts';
import { LOOKS_PER_IDLE } from '../policy.ts';
import type { ClosingReason } from '../closing-reason.ts';
import { describeIdle, describeTruncation, relayFailure } from '../words.ts';
import { pauseLeg, resumeLeg } from './gate.ts';
import { closedLeg, closeLeg, destroyLeg, endLeg, resetLeg } from './leg.ts';
import type { Leg } from './leg.ts';
import { lingerOn } from './linger.ts';
import { promptAcks } from './prompt-acks.ts';
import type { PeerMonitor } from './peer-monitor.ts';
import { EndedHere } from './connection.ts';
import { catchWriteFailure, isPeersEnding } from './write-failure.ts';

/** Deno 2.9 may show a reset as an end, and only the next write as failed, with EPIPE. */
const takesResetsForEnds = 'Deno' in globalThis;

/** Why a relay ended: as an error, where it was none of the ways in which peers end a connection; and as a word. */
export type RelayEnd = { error: Error | null; why: ClosingReason };

/** Who hears of the bytes of a connection, and what ends it. */
export type RelayOptions = {
  /** Hears of bytes from the client, from the upstream. */
  movedIn: (bytes: number) => void;
  movedOut: (bytes: number) => void;
  /** Close when no byte moved for so long; null: never. */
  idleMs: number | null;
  /** Close after so long whatever moves; null: never. */
  leftMs: number | null;
  /** Most bytes that wait each way to be written; a read comes on top. Null: the high-water mark of a socket. */
  bufferBytes: number | null;
  /** Closes both sides when it comes. */
  signal: AbortSignal;
  peerMonitor: PeerMonitor;
};

/**
 * Relay until both sides are closed, which it sees to. Each direction ends on its own: an end of one
 * peer is passed on to the other, whose bytes go on. What is not orderly becomes a reset, after the bytes
 * that came before it; a peer that had ended its direction and takes no more is an end. A reader
 * that stalls stops the reading of its peer: what is kept for it is bounded by the high-water marks of
 * the two sockets, 64 KiB each, and one read.
 *
 * Returns why it ended, without an error for an orderly end, a reset by a peer, and the signal.
 *
 * An end of TLS without its closing alert counts as an end, as nearly every peer of TLS has it, unless the endpoint
 * says that it is none (`truncation=reset`).
 */
export async function relay(
  near: Leg,
  far: Leg,
  { movedIn, movedOut, idleMs, leftMs, bufferBytes, signal, peerMonitor }: RelayOptions,
): Promise<RelayEnd> {
  let trouble: Error | null = null;
  let why: ClosingReason | null = null;
  let bytesMoved = 0;
  let isClosing = false;
  /** Legs that take no more bytes, and those of them whose end is no end but a reset. */
  const failed = new Set<Leg>();
  const cutOff = new Set<Leg>();
  /** Whether a leg that is closed had ended in both directions. */
  const isOrderly = (leg: Leg) => leg.socket.readableEnded && leg.socket.writableFinished && !failed.has(leg);

  const close = (reason: Error | null, asWhat: ClosingReason) => {
    if (isClosing) return;
    isClosing = true;
    trouble ??= reason;
    why ??= asWhat;
    closeLeg(near);
    closeLeg(far);
  };
  /** A leg is gone: the other one gets what it sent, and then what it is to see of that. */
  const pass = (leg: Leg, other: Leg) => {
    if (isClosing || isGone(other)) return;
    const hasEnded = leg.socket.readableEnded && !cutOff.has(leg);
    // What it sent while the other one was busy.
    for (let chunk: Buffer | null; (chunk = leg.socket.read() as Buffer | null) !== null;) other.socket.write(chunk);
    lingerOn(other, { hasEnded, done: () => (hasEnded ? destroyLeg(other) : resetLeg(other)) });
  };
  const watch = (leg: Leg, other: Leg, reset: ClosingReason) => {
    leg.socket.on('error', (error) => {
      if (isClosing) return;
      why ??= isPeersEnding(error) ? reset : 'error';
      trouble ??= isPeersEnding(error) ? null : relayFailure(error);
    });
    leg.socket.on('close', () => {
      if (isClosing || isOrderly(leg)) return;
      why ??= reset;
      pass(leg, other);
    });
    catchWriteFailure(leg, (error) => {
      // A system tells of a reset once: reading then shows an end that was none, unless the peer had ended before.
      if (!leg.socket.readableEnded && (errorCode(error) !== 'EPIPE' || takesResetsForEnds)) cutOff.add(leg);
      failed.add(leg);
      why ??= reset;
      if (leg.socket.readableEnded) destroyLeg(leg);
      else leg.socket.once('end', () => destroyLeg(leg));
    });
    // Before the pump hears of the end, which it is not to pass on.
    leg.socket.once('end', () => {
      if (!leg.gate?.isTruncated || isClosing) return;
      trouble ??= new GraceError(describeTruncation(leg === near));
      why ??= reset;
      cutOff.add(leg);
      failed.add(leg);
      destroyLeg(leg);
    });
  };
  const abort = () => close(null, signal.reason instanceof EndedHere ? signal.reason.why : 'client-gone');
  const stopIdle =
    idleMs === null
      ? null
      : whenIdle({
          idleMs,
          bytesMoved: () => bytesMoved,
          idle: () => close(new GraceError(describeIdle(idleMs)), 'idle'),
        });
  const lifetime = leftMs === null ? null : setTimeout(() => close(null, 'lifetime'), Math.max(0, leftMs));
  watch(near, far, 'client-reset');
  watch(far, near, 'upstream-reset');
  signal.addEventListener('abort', abort);
  if (isGone(near)) {
    why = 'client-reset';
    resetLeg(far);
  } else if (isGone(far)) {
    why = 'upstream-reset';
    resetLeg(near);
  } else if (signal.aborted) abort();
  else {
    let acknowledge = promptAcks(far);
    // The last flight of the handshake is written in this turn.
    setImmediate(() => acknowledge?.());
    pump(near, far, {
      peerMonitor,
      bufferBytes,
      hasSent: () => acknowledge?.(),
      isCutOff: () => cutOff.has(near),
      moved(bytes) {
        bytesMoved += bytes;
        movedIn(bytes);
      },
    });
    pump(far, near, {
      peerMonitor,
      bufferBytes,
      isCutOff: () => cutOff.has(far),
      moved(bytes) {
        acknowledge = null;
        bytesMoved += bytes;
        movedOut(bytes);
      },
    });
  }
  await Promise.all([closedLeg(near), closedLeg(far)]);
  stopIdle?.();
  if (lifetime !== null) clearTimeout(lifetime);
  signal.removeEventListener('abort', abort);
  return { error: trouble, why: why ?? 'finished' };
}

type PumpOptions = {
  moved: (bytes: number) => void;
  hasSent?: () => void;
  isCutOff: () => boolean;
  bufferBytes: number | null;
  peerMonitor: PeerMonitor;
};

function pump(from: Leg, to: Leg, { moved, hasSent, isCutOff, bufferBytes, peerMonitor }: PumpOptions): void {
  const source = from.socket;
  const sink = to.socket;
  let forget: (() => void) | null = null;
  const endWatch = () => {
    forget?.();
    forget = null;
  };
  source.on('data', (chunk: Buffer) => {
    moved(chunk.length);
    // Who is gone takes everything: its peer may be about to read its answer when all is sent.
    const isTaken = bufferBytes === null ? sink.write(chunk) : write(chunk, bufferBytes);
    hasSent?.();
    if (isTaken || sink.destroyed) return;
    isPaused = true;
    pauseLeg(from);
    // While it is not read, its reset would go unnoticed.
    forget ??= peerMonitor.watch(from, 'reset', () => resetLeg(from));
  });
  let isPaused = false;
  const goOn = () => {
    isPaused = false;
    endWatch();
    resumeLeg(from);
  };
  sink.on('drain', () => {
    if (bufferBytes === null) goOn();
  });
  /** As the socket's own write, with another high-water mark. */
  const write = (chunk: Buffer, most: number): boolean => {
    sink.write(chunk, () => {
      if (isPaused && sink.writableLength < most && !sink.destroyed) goOn();
    });
    return sink.writableLength < most;
  };
  // A TLS socket says that it has ended even if nobody has begun to read.
  if (source.readableEnded) endLeg(to);
  else {
    source.on('end', () => {
      if (!isCutOff()) endLeg(to);
    });
  }
  source.on('close', endWatch);
  // A client that was accepted paused stays so until it is told otherwise.
  resumeLeg(from);
}

function isGone({ socket, carrier }: Leg): boolean {
  return socket.destroyed || carrier.destroyed;
}

type IdleOptions = { idleMs: number; bytesMoved: () => number; idle: () => void };

/** Calls back once no byte moved for so long. A look now and then costs less than a clock at every byte. */
function whenIdle({ idleMs, bytesMoved, idle }: IdleOptions): () => void {
  let last = -1;
  let quietLooks = 0;
  const timer = setInterval(
    () => {
      const moved = bytesMoved();
      quietLooks = moved === last ? quietLooks + 1 : 0;
      last = moved;
      if (quietLooks >= LOOKS_PER_IDLE) idle();
    },
    Math.max(1, idleMs / LOOKS_PER_IDLE),
  );
  return () => clearInterval(timer);
}
