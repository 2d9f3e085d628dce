/** Connecting to a destination, as its endpoint says. The mirror image of accepting. */
import { hostPort } from '../../endpoint/address.ts';
import type { DirectClient, SrvClient, SslClient, TcpClient, TlsClient } from '../../endpoint/model.ts';
import { errorCode, GraceError } from '../../error.ts';
import { REFUSALS, SHORTAGE_PATIENCE_MS, SHORTAGES } from '../policy.ts';
import { TIMED_OUT } from '../closing-reason.ts';
import { drawOrder } from '../dial-order.ts';
import type { Names } from '../lookup.ts';
import { encodePrelude, planPrelude } from '../prelude.ts';
import type { PreludeSubject } from '../prelude.ts';
import { addressesOf, plansOf } from '../services.ts';
import type { Services } from '../services.ts';
import { describeFailure, describeLateLookup, namesNoAddress, placeOf } from '../words.ts';
import { AttemptsError, connectAny } from './addresses.ts';
import type { Candidate } from './addresses.ts';
import { plainLeg, tuneSocket } from './leg.ts';
import { limitSilence, mustTakeUserTimeout } from './user-timeout.ts';
import type { Leg } from './leg.ts';
import { openTlsClient } from './originate.ts';
import { TimeLimitError, withinTime, withRetries } from './retry.ts';
import { connectUnix } from './unix-connect.ts';
import type { UpstreamContexts } from './upstream-contexts.ts';

/**
 * Connect once, and say for whom where the endpoint wants to be told. The leg is the caller's. Rejects with
 * GraceError that names every address tried, or with the signal's reason.
 */
export type Dialer = (options: DialOptions) => Promise<Leg>;

/** For whom it is dialled. */
export type DialOptions = {
  signal: AbortSignal;
  subject: PreludeSubject;
  /** What names the connection; absent for a check. */
  id?: () => string;
};

/** Who knows addresses, and what TLS with destinations is begun with. */
export type Directory = { names: Names; services: Services; contexts: Pick<UpstreamContexts, 'open'> };

/** Prepare to connect to an endpoint: its certificates are read now. Throws GraceError when one is unusable. */
export function openDialer(endpoint: DirectClient, directory: Directory): Dialer {
  mustTakeUserTimeout(endpoint);
  const connect = openConnect(endpoint, directory);
  return async ({ signal, subject, id }) => {
    try {
      const { retry: forMs = 0, timeout } = endpoint;
      const attempt = () => withinTime(timeout * 1000, signal, (limit) => connect(limit, { subject, id }));
      return await withRetries({ forMs, signal, isWorthIt: isPassing }, () =>
        withRetries({ forMs: SHORTAGE_PATIENCE_MS, signal, isWorthIt: isShortage }, attempt),
      );
    } catch (error) {
      signal.throwIfAborted();
      throw dialError(endpoint, error);
    }
  };
}

/** For whom it is dialled, and which of its connections that is. */
type Client = { subject: PreludeSubject; id: (() => string) | undefined };
type Connect = (signal: AbortSignal, client: Client) => Promise<Leg>;

function openConnect(endpoint: DirectClient, directory: Directory): Connect {
  switch (endpoint.type) {
    case 'tcp':
      return openTcpConnect(endpoint, directory);
    case 'srv':
      return openSrvConnect(endpoint, directory);
    case 'unix':
      return async (signal, client) =>
        introduced(
          plainLeg(await connectUnix(endpoint.path, { lockfile: endpoint.lockfile, signal })),
          endpoint,
          client,
        );
    case 'ssl':
    case 'tls':
      return openTlsConnect(endpoint, directory);
  }
}

function openTlsConnect(endpoint: SslClient | TlsClient, directory: Directory): Connect {
  const originate = openTlsClient(endpoint, directory.contexts);
  const through = endpoint.type === 'tls' ? endpoint.endpoint : null;
  if (through !== null) {
    const dial = openDialer(through, directory);
    return async (signal, { subject, id }) => {
      const leg = await dial({ signal, subject, ...(id && { id }) });
      return originate(introduced(leg, endpoint, { subject, id }), signal);
    };
  }
  const connect = openTcpConnect(endpoint, directory);
  return async (signal, client) => originate(await connect(signal, client), signal);
}

/** A prelude goes before everything, TLS included. */
function introduced(leg: Leg, endpoint: DirectClient, { subject, id }: Client): Leg {
  const prelude = planPrelude(endpoint);
  if (prelude !== null) leg.socket.write(encodePrelude(prelude, subject, id));
  return leg;
}

function openTcpConnect(endpoint: TcpClient | SslClient | TlsClient, { names }: Directory): Connect {
  const { host, port, bindAddress } = endpoint;
  let answeredLast: string | undefined;
  return async (signal, client) => {
    const addresses = await names.resolve(host, { bindAddress, signal }).catch(lateLookup);
    const inOrder =
      answeredLast !== undefined && addresses.includes(answeredLast)
        ? [answeredLast, ...addresses.filter((each) => each !== answeredLast)]
        : addresses;
    const candidates = inOrder.map((address) => ({ host: address, port, name: address }));
    const { leg, candidate } = await connectTo(candidates, endpoint, { signal, client });
    answeredLast = candidate.host;
    return leg;
  };
}

function openSrvConnect(endpoint: SrvClient, { services }: Directory): Connect {
  return async (signal, client) => {
    const { targets } = await services.resolve(endpoint, signal).catch(lateLookup);
    const each = addressesOf(targets);
    const candidates = drawOrder(plansOf(targets)).map(({ address, headStartMs }) => {
      const place = each[address]!;
      return { ...place, name: hostPort(place), headStartMs };
    });
    return (await connectTo(candidates, endpoint, { signal, client })).leg;
  };
}

async function connectTo(
  candidates: readonly Candidate[],
  endpoint: TcpClient | SrvClient | SslClient | TlsClient,
  { signal, client }: { signal: AbortSignal; client: Client },
): Promise<{ leg: Leg; candidate: Candidate }> {
  const { bindAddress, keepalive, userTimeout } = endpoint;
  const { socket, candidate } = await connectAny(candidates, { bindAddress, signal });
  tuneSocket(socket, keepalive === undefined ? undefined : { idleMs: keepalive });
  if (userTimeout !== undefined) limitSilence(socket, userTimeout);
  return { leg: introduced(plainLeg(socket), endpoint, client), candidate };
}

/** The time of a dial was up before its name was resolved. */
function lateLookup(error: unknown): never {
  throw error instanceof TimeLimitError
    ? new GraceError(describeLateLookup(error.limitMs / 1000), { code: 'EAI_AGAIN' })
    : error;
}

/** Whether `retry` waits for it; of several addresses, at any. */
function isPassing(error: unknown): boolean {
  return hasCode(error, REFUSALS);
}

/** Whether this process, or the system, has no descriptors or memory left. */
function isShortage(error: unknown): boolean {
  return hasCode(error, SHORTAGES);
}

function hasCode(error: unknown, codes: readonly string[]): boolean {
  if (error instanceof AttemptsError) return error.attempts.some((attempt) => hasCode(attempt.error, codes));
  if (error instanceof GraceError && error.cause !== undefined) return hasCode(error.cause, codes);
  return codes.includes(errorCode(error) ?? '');
}

/** The codes of what failed in a dial, one for each address that was tried. */
export function codesOf(error: unknown): string[] {
  if (error instanceof AttemptsError) return error.attempts.flatMap((attempt) => codesOf(attempt.error));
  if (error instanceof TimeLimitError) return [TIMED_OUT];
  const code = errorCode(error);
  if (code === undefined && error instanceof GraceError && error.cause !== undefined) return codesOf(error.cause);
  return [code ?? ''];
}

function dialError(endpoint: DirectClient, error: unknown): GraceError {
  const hint = error instanceof GraceError ? error.hint : undefined;
  return new GraceError(`cannot connect to ${placeOf(endpoint)}: ${causeOf(endpoint, error)}`, { hint, cause: error });
}

function causeOf(endpoint: DirectClient, error: unknown): string {
  if (!(error instanceof AttemptsError)) return describeFailure(error);
  // An address that the endpoint itself names need not be said again.
  const isNamed = namesNoAddress(endpoint);
  return error.attempts
    .map((attempt) => (isNamed ? `${attempt.address}: ` : '') + describeFailure(attempt.error))
    .join('; ');
}
