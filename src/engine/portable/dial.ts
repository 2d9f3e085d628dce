/** Connecting to a destination, as its endpoint says. The mirror image of accepting. */
import { isIP } from 'node:net';
import type { ClientEndpoint, SslClient, TcpClient, TlsClient } from '../../endpoint/model.ts';
import { errorCode, errorMessage, GraceError } from '../../error.ts';
import { describeCode } from '../../sys/system-error.ts';
import { AttemptsError, connectAny, resolveHost } from './addresses.ts';
import { plainLeg, tuneSocket } from './leg.ts';
import type { Leg } from './leg.ts';
import { openTlsClient } from './originate.ts';
import { withinTime, withRetries } from './retry.ts';
import { connectUnix } from './unix-connect.ts';

/**
 * Connect once. The leg is the caller's. Rejects with GraceError that names every address tried, or
 * with the signal's reason.
 */
export type Dialer = (options: { signal: AbortSignal }) => Promise<Leg>;

/** Prepare to connect to an endpoint: its certificates are read now. Throws GraceError when one is unusable. */
export function openDialer(endpoint: ClientEndpoint): Dialer {
  const connect = openConnect(endpoint);
  return async ({ signal }) => {
    try {
      const { retry: forMs = 0, timeout } = endpoint;
      const attempt = () => withinTime(timeout * 1000, signal, connect);
      return await withRetries({ forMs, signal, isWorthIt: isRefusal }, () => withRetries({ forMs: shortageMs, signal, isWorthIt: isShortage }, attempt));
    } catch (error) {
      signal.throwIfAborted();
      throw dialError(endpoint, error);
    }
  };
}

type Connect = (signal: AbortSignal) => Promise<Leg>;

function openConnect(endpoint: ClientEndpoint): Connect {
  switch (endpoint.type) {
    case 'tcp':
      return (signal) => connectTcp(endpoint, signal);
    case 'unix':
      return async (signal) => plainLeg(await connectUnix(endpoint.path, { lockfile: endpoint.lockfile, signal }));
    case 'ssl':
    case 'tls':
      return openTlsConnect(endpoint);
  }
}

function openTlsConnect(endpoint: SslClient | TlsClient): Connect {
  const originate = openTlsClient(endpoint);
  const through = endpoint.type === 'tls' ? endpoint.endpoint : null;
  if (through === null) return async (signal) => originate(await connectTcp(endpoint, signal), signal);
  const dial = openDialer(through);
  return async (signal) => originate(await dial({ signal }), signal);
}

async function connectTcp({ host, port, bindAddress, keepalive }: TcpClient | SslClient | TlsClient, signal: AbortSignal): Promise<Leg> {
  const addresses = await resolveHost(host, { bindAddress, signal });
  const socket = await connectAny(addresses, { port, bindAddress, signal });
  tuneSocket(socket, keepalive === undefined ? undefined : { idleMs: keepalive });
  return plainLeg(socket);
}

/** How long a dial waits for others to give descriptors back, in milliseconds. */
const shortageMs = 100;

/** Whether nobody listens there, which a server that is being restarted mends; of several addresses, at any. */
function isRefusal(error: unknown): boolean {
  return hasCode(error, ['ECONNREFUSED', 'ENOENT']);
}

/** Whether this process, or the system, has no descriptors or memory left. */
function isShortage(error: unknown): boolean {
  return hasCode(error, ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  if (error instanceof AttemptsError) return error.attempts.some((attempt) => hasCode(attempt.error, codes));
  if (error instanceof GraceError && error.cause !== undefined) return hasCode(error.cause, codes);
  return codes.includes(errorCode(error) ?? '');
}

function dialError(endpoint: ClientEndpoint, error: unknown): GraceError {
  const hint = error instanceof GraceError ? error.hint : undefined;
  return new GraceError(`cannot connect to ${placeOf(endpoint)}: ${causeOf(endpoint, error)}`, { hint, cause: error });
}

/** Where an endpoint leads, without how: `tcp:HOST:PORT`, `unix:PATH`. */
function placeOf(endpoint: ClientEndpoint): string {
  if (endpoint.type === 'unix') return `unix:${endpoint.path.replace(/^\0/, '@')}`;
  const { type, host, port } = endpoint;
  return `${type}:${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function causeOf(endpoint: ClientEndpoint, error: unknown): string {
  if (!(error instanceof AttemptsError)) return describe(error);
  // An address that the endpoint itself names need not be said again.
  const isNamed = endpoint.type !== 'unix' && isIP(endpoint.host) === 0;
  return error.attempts.map((attempt) => (isNamed ? `${attempt.address}: ` : '') + describe(attempt.error)).join('; ');
}

function describe(error: unknown): string {
  const code = errorCode(error);
  if (error instanceof GraceError || code === undefined) return errorMessage(error);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name cannot be resolved (${code})`;
  return `${describeCode(code)} (${code})`;
}
