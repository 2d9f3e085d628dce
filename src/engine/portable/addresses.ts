/** From a host to a connected TCP socket: look up, try every address, keep the first that answers. */
import { lookup } from 'node:dns/promises';
import net from 'node:net';
import type { Socket } from 'node:net';
import { unlessAborted } from '../../abort.ts';
import { ignoreError } from './leg.ts';
import { TimeLimitError } from './retry.ts';

/** Head start of one address before the next is tried beside it (RFC 8305, section 5: 250 ms). */
const headStartMs = 300;

export type FailedAttempt = { address: string; error: Error };

/** No address of a host could be connected. */
export class AttemptsError extends Error {
  readonly attempts: readonly FailedAttempt[];

  constructor(attempts: readonly FailedAttempt[]) {
    super('no address could be connected');
    this.attempts = attempts;
  }
}

/** The addresses of a host, both families in turn, those of the family of `bindAddress` if one is given. */
export async function resolveHost(host: string, { bindAddress, signal }: { bindAddress: string | null; signal: AbortSignal }): Promise<string[]> {
  if (net.isIP(host) !== 0) return [host];
  const family = bindAddress === null ? 0 : net.isIP(bindAddress);
  const found = await unlessAborted(lookup(host, { all: true, order: 'verbatim', family }), signal);
  return inTurn(found.map(({ address }) => address));
}

/** The first address's family starts, then the families alternate (RFC 8305, section 4). */
function inTurn(addresses: readonly string[]): string[] {
  const firstFamily = net.isIP(addresses[0] ?? '');
  const first = addresses.filter((address) => net.isIP(address) === firstFamily);
  const second = addresses.filter((address) => net.isIP(address) !== firstFamily);
  return first.length >= second.length
    ? first.flatMap((address, index) => [address, ...second.slice(index, index + 1)])
    : second.flatMap((address, index) => [...first.slice(index, index + 1), address]);
}

export type ConnectOptions = { port: number; bindAddress: string | null; signal: AbortSignal };

/**
 * Connect to one of the addresses: each gets a head start over the next, one that fails makes room at
 * once. The socket is the caller's, paused, with both directions ending on their own.
 *
 * @throws AttemptsError when all failed or the time was up; the signal's reason.
 */
export function connectAny(addresses: readonly string[], { port, bindAddress, signal }: ConnectOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const waiting = [...addresses];
    const trying = new Map<Socket, string>();
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
      const pending = Array.from(trying.values(), (address) => ({ address, error: reason }));
      reject(reason instanceof TimeLimitError ? new AttemptsError([...failed, ...pending]) : reason);
    };
    const tryNext = () => {
      clearTimeout(timer);
      const address = waiting.shift();
      if (address === undefined) return;
      const socket = net.connect({
        host: address, port, allowHalfOpen: true, autoSelectFamily: false,
        ...(bindAddress === null ? {} : { localAddress: bindAddress }),
      });
      trying.set(socket, address);
      // Whatever becomes of the socket, an error must never be without a listener.
      socket.on('error', ignoreError);
      const fail = (error: Error) => {
        trying.delete(socket);
        failed.push({ address, error });
        if (waiting.length > 0) tryNext();
        else if (trying.size === 0) {
          settle();
          reject(new AttemptsError(failed));
        }
      };
      socket.once('error', fail);
      socket.once('connect', () => {
        socket.removeListener('error', fail);
        trying.delete(socket);
        settle();
        resolve(socket);
      });
      if (waiting.length > 0) timer = setTimeout(tryNext, headStartMs);
    };

    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener('abort', abort);
    tryNext();
  });
}
