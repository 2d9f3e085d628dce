/**
 * What TLS runs on: the socket itself, but on Deno, and where a peer's end is to be told from one that was cut off,
 * a stream in front of it.
 *
 * Deno 2.9 reads from the socket under a paused TLS socket without limit, may never deliver the rest
 * when it goes on, and takes a reset for an end. All three are mended by handing TLS what it gets: to
 * pause such a leg is to pause the socket under it, while the TLS socket flows.
 */
import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import type { Gate, Leg } from './leg.ts';

/** Whether TLS needs a stream of its own to run on, and thus has no addresses. */
export const HAS_GATES: boolean = 'Deno' in globalThis;

/**
 * The stream to run TLS on over a leg, and the gate of the TLS leg that this makes. `seesTruncation`: the gate tells
 * an end of TLS from one of the socket alone, which neither runtime does; bytes take a way round for it.
 */
export function openGate(
  leg: Leg,
  { seesTruncation = false }: { seesTruncation?: boolean } = {},
): { stream: Duplex; gate: Gate | null } {
  if (!HAS_GATES && !seesTruncation) return { stream: leg.socket, gate: null };
  const stream = new GatedStream(leg);
  const flow = { pause: () => pauseLeg(leg), resume: () => resumeLeg(leg) };
  if (!seesTruncation) return { stream, gate: flow };
  let isTruncated = false;
  return {
    stream,
    gate: {
      ...flow,
      carries(socket) {
        const look = () => void (isTruncated = !hasEnded(socket));
        // Before TLS hears of it, and after it has seen every byte before it: then it knows of the alert, if there was one.
        if (stream.readableEnded) look();
        else stream.prependOnceListener('end', look);
      },
      get isTruncated() {
        return isTruncated;
      },
    },
  };
}

/** Whether nothing comes after what is there to be read; `readableEnded` says so only when that has been read. */
function hasEnded(socket: Socket): boolean {
  return (socket as Socket & { _readableState?: { ended?: boolean } })._readableState?.ended === true;
}

/** Stop reading from a leg. */
export function pauseLeg({ socket, gate }: Leg): void {
  if (gate) gate.pause();
  else socket.pause();
}

/** Go on reading, also where it was never begun. */
export function resumeLeg({ socket, gate }: Leg): void {
  gate?.resume();
  socket.resume();
}

class GatedStream extends Duplex {
  readonly #leg: Leg;

  constructor(leg: Leg) {
    super({ allowHalfOpen: true });
    this.#leg = leg;
    leg.socket.on('data', (chunk: Buffer) => this.push(chunk));
    leg.socket.on('end', () => this.push(null));
    leg.socket.on('error', (error) => this.destroy(error));
    leg.socket.on('close', () => this.destroy());
    resumeLeg(leg);
  }

  override _read(): void {
    // The gate decides what is read, and TLS takes what there is.
  }

  override _write(chunk: Buffer, _: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#leg.socket.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#leg.socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#leg.socket.destroy();
    done(error);
  }
}
