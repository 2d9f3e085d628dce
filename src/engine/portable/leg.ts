import type { Socket } from 'node:net';
import { hostPort } from '../../endpoint/address.ts';
import { unmapIPv4 } from '../../sys/sockaddr.ts';
import { KEEP_ALIVE } from '../policy.ts';
import type { ProxyTls } from '../proxy-fields.ts';

/** Stops and goes on with the reading of a leg, in place of its socket; see gate.ts. */
export type Gate = {
  pause(): void;
  resume(): void;
  /** The TLS socket that runs on it, whose end is compared with that of the socket under it. */
  carries?(socket: Socket): void;
  /** Whether the peer ended without the closing alert of TLS; known when the TLS socket has ended. */
  readonly isTruncated?: boolean;
};

/** One side of a connection: the client's or the upstream's. */
export type Leg = {
  /** What is read and written: the TLS socket where there is TLS. */
  readonly socket: Socket;
  /** The TCP or Unix socket that carries it; the same one without TLS. */
  readonly carrier: Socket;
  readonly isTcp: boolean;
  /** Pauses the reading in place of the socket, where there is one. */
  readonly gate: Gate | null;
  /** Of a client that speaks TLS and was asked for a certificate. */
  readonly tls?: ShownTls;
};

/** What a client that was asked for a certificate has shown of itself. */
export type ShownTls = Pick<ProxyTls, 'version' | 'clientName' | 'isResumed'>;

/** Keep-alive of a TCP socket; what is not said here is as in policy.ts. */
export type KeepAliveOptions = {
  /** Idle milliseconds before the first probe; 0 turns it off. */
  idleMs: number;
};

/** What listens for an 'error' whose 'close' says all there is to know. */
export function ignoreError(): void {}

/** The leg of a connected TCP or Unix socket. */
export function plainLeg(socket: Socket): Leg {
  // A Unix socket has no family.
  return { socket, carrier: socket, isTcp: socket.remoteFamily !== undefined, gate: null };
}

/** TCP_NODELAY and keep-alive; a Unix socket takes neither and does not mind. */
export function tuneSocket(socket: Socket, { idleMs }: KeepAliveOptions = KEEP_ALIVE): void {
  socket.setNoDelay(true);
  // Deno knows the first two arguments and leaves the others to the system.
  if (idleMs > 0) socket.setKeepAlive(true, idleMs, KEEP_ALIVE.intervalMs, KEEP_ALIVE.probes);
}

/** The peer of a socket as `host:port`, `[host]:port` or `unix`. Valid while the socket is connected. */
export function peerOf({ remoteAddress, remotePort }: Socket): string {
  return remoteAddress === undefined ? 'unix' : addressText({ host: remoteAddress, port: remotePort ?? 0 });
}

/** `host:port`, or `[host]:port`; an IPv4 address in IPv6's form is one. */
export function addressText({ host, port }: { host: string; port: number }): string {
  return hostPort({ host: unmapIPv4(host), port });
}

/** Resolves when the sockets of a leg are closed. */
export async function closedLeg({ socket, carrier }: Leg): Promise<void> {
  await Promise.all([closed(socket), closed(carrier)]);
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

/**
 * Make the peer see a reset, the data that it has not got yet lost. A Unix socket has no reset: its
 * peer sees an end, or a reset if it sent something that was not read.
 */
export function resetLeg(leg: Leg): void {
  const { socket } = leg;
  if (socket.destroyed) leg.carrier.destroy();
  // Closing with a reset fails while shutdown(2) is under way, and the socket would be lost.
  else if (socket.writableEnded && !socket.writableFinished && socket.writableLength === 0) {
    socket.once('finish', () => forceReset(leg));
  } else forceReset(leg);
}

function forceReset({ carrier, isTcp }: Leg): void {
  // By itself it waits until everything is written, which a peer that does not read prevents; it has
  // chosen the reset by then, and destroy() carries that out. A TLS socket on it follows, see destroyLeg.
  if (isTcp && !carrier.destroyed) carrier.resetAndDestroy();
  carrier.destroy();
}

/**
 * Let go of a leg now. A TLS socket goes first or is left to follow: destroyed in the turn in which the
 * socket under it was, it makes Node 26.10 read freed memory and crash.
 */
export function destroyLeg({ socket, carrier }: Leg): void {
  if (!carrier.destroyed) socket.destroy();
  carrier.destroy();
}

/**
 * End what is sent on a leg. Of TLS one turn later: while Node writes what TLS says by itself (the last flight of a
 * handshake), it would send the end at once, and the alert that announces it behind that, which is never.
 */
export function endLeg({ socket, carrier }: Leg): void {
  if (socket === carrier) socket.end();
  else setImmediate(() => socket.end());
}

/** Close a leg now: the peer sees an end; what was not sent yet is lost. */
export function closeLeg(leg: Leg): void {
  // Of TLS, an end is announced; that takes until the next turn.
  leg.socket.end();
  setImmediate(() => destroyLeg(leg));
}
