/** Why connections ended, in words. */
import { isIP } from 'node:net';
import type { ClientEndpoint } from '../../endpoint/model.ts';
import { errorCode, GraceError } from '../../error.ts';
import { describeCode, SystemError } from '../../sys/system-error.ts';
import { OUT_OF_TIME } from './messages.ts';
import type { EndReason, EndReport } from './messages.ts';

/** @param addresses those that the endpoint's host had when it was last looked up */
export function endError({ stage, reason }: Pick<EndReport, 'stage' | 'reason'>, endpoint: ClientEndpoint, addresses: readonly string[]): GraceError | null {
  if (reason === null) return null;
  if (stage === 'relay') return relayError(reason);
  const attempt = `cannot connect to ${placeOf(endpoint)}`;
  if ('text' in reason) return new GraceError(`${attempt}: ${reason.text}`);
  // An address that the endpoint itself names need not be said again.
  const isNamed = endpoint.type !== 'unix' && isIP(endpoint.host) === 0;
  const causes = reason.failures.map(({ address, errno }) => {
    const where = isNamed && addresses[address] !== undefined ? `${addresses[address]}: ` : '';
    return where + (errno === OUT_OF_TIME ? `timed out, no answer within ${endpoint.timeout} s` : describeErrno(errno));
  });
  const [first] = reason.failures;
  const cause = first && first.errno !== OUT_OF_TIME ? new SystemError(first.errno, 'connect') : undefined;
  return new GraceError(`${attempt}: ${causes.join('; ')}`, { cause });
}

/** Where an endpoint leads, without how, as the portable engine says it. */
function placeOf(endpoint: ClientEndpoint): string {
  if (endpoint.type === 'unix') return `unix:${endpoint.path.replace(/^\0/, '@')}`;
  const { type, host, port } = endpoint;
  return `${type}:${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function relayError(reason: NonNullable<EndReason>): GraceError {
  if ('text' in reason) return new GraceError(reason.text);
  const cause = new SystemError(reason.failures[0]?.errno ?? 0, 'recv');
  if (cause.code === 'ETIMEDOUT') return new GraceError('the peer does not answer any more (ETIMEDOUT)', { cause });
  return new GraceError(cause.message, { cause });
}

function describeErrno(errno: number): string {
  const { code } = new SystemError(errno, 'connect');
  return `${describeCode(code)} (${code})`;
}

/** Why a name has no addresses, for the text of a reason. */
export function describeLookup(error: unknown): string {
  const code = errorCode(error);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the name cannot be resolved (${code})`;
  return code === undefined ? String(error) : `${describeCode(code)} (${code})`;
}
