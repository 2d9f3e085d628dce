/** From addresses to a connected TCP socket: try every one, keep the first that answers. */
import net from 'node:net';
import { constants } from 'node:os';
import type { Socket } from 'node:net';
import { errorCode } from '../../error.ts';
import { HEAD_START_MS } from '../policy.ts';
import { SystemError } from '../../sys/system-error.ts';
import { ignoreError } from './leg.ts';
import { TimeLimitError } from './retry.ts';

/** An address that was tried, and what became of it. */
export type FailedAttempt = { address: string; error: Error };

/** No address of a host could be connected. */
export class AttemptsError extends Error {
  readonly attempts: readonly FailedAttempt[];

  constructor(attempts: readonly FailedAttempt[]) {
    super('no address could be connected');
    this.attempts = attempts;
  }
}

/** An address to try, and what messages call it. */
export type Candidate = {
  readonly host: string;
  readonly port: number;
  readonly name: string;
  /** How long before the next is tried beside it, in milliseconds. Default: that of any address. */
  readonly headStartMs?: number;
};

/** The address to connect from (null: whatever the system takes), and what ends the attempt. */
export type ConnectOptions = { bindAddress: string | null; signal: AbortSignal };

/**
 * Connect to one of the addresses: each gets a head start over the next, one that fails makes room at
 * once. The socket is the caller's, paused, with both directions ending on their own.
 *
 * @throws AttemptsError when all failed or the time was up; the signal's reason.
 */
export function connectAny(
  candidates: readonly Candidate[],
  { bindAddress, signal }: ConnectOptions,
): Promise<{ socket: Socket; candidate: Candidate }> {
  return new Promise((resolve, reject) => {
    const waiting = [...candidates];
    const trying = new Map<Socket, Candidate>();
    const failed: FailedAttempt[] = [];
    let timer: NodeJS.Timeout | undefined;

    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
      for (const socket of trying.keys()) socket.destroy();
    };
    const abort = () => {
      settle();
      const { reason } = signal;
      const pending = Array.from(trying.values(), ({ name }) => ({ address: name, error: reason }));
      reject(reason instanceof TimeLimitError ? new AttemptsError([...failed, ...pending]) : reason);
    };
    const tryNext = () => {
      clearTimeout(timer);
      const candidate = waiting.shift();
      if (candidate === undefined) return;
      const { host, port, name, headStartMs = HEAD_START_MS } = candidate;
      const socket = net.connect({
        host,
        port,
        allowHalfOpen: true,
        autoSelectFamily: false,
        ...(bindAddress === null ? {} : { localAddress: bindAddress }),
      });
      trying.set(socket, candidate);
      // Whatever becomes of the socket, an error must never be without a listener.
      socket.on('error', ignoreError);
      const fail = (error: Error) => {
        trying.delete(socket);
        failed.push({
          address: name,
          error: isAddressAway(error) ? new SystemError(constants.errno.EADDRNOTAVAIL, 'bind') : error,
        });
        if (waiting.length > 0) tryNext();
        else if (trying.size === 0) {
          settle();
          reject(new AttemptsError(failed));
        }
      };
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.removeListener('error', fail);
        if (isConnectedToItself(socket)) {
          socket.resetAndDestroy();
          return fail(new SystemError(constants.errno.ECONNREFUSED, 'connect'));
        }
        trying.delete(socket);
        settle();
        resolve({ socket, candidate });
      });
      if (waiting.length > 0) timer = setTimeout(tryNext, headStartMs);
    };

    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener('abort', abort);
    tryNext();
  });
}

/** Deno 2.9 has no name for EADDRNOTAVAIL, and says EINVAL. Of a socket that is new, bind(2) says so for no other reason. */
function isAddressAway(error: Error): boolean {
  return 'Deno' in globalThis && errorCode(error) === 'EINVAL' && 'syscall' in error && error.syscall === 'bind';
}

/**
 * With nobody listening on a port that the system also gives out to those who connect, a socket may be
 * given that very port and be connected to itself (RFC 9293, section 3.5, simultaneous open).
 */
function isConnectedToItself({ localPort, remotePort, localAddress, remoteAddress }: Socket): boolean {
  return localPort === remotePort && localAddress === remoteAddress;
}
