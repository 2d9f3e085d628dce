/** Why connections ended, in words. */
import type { ClientEndpoint } from '../../endpoint/model.ts';
import { GraceError } from '../../error.ts';
import { codeOfErrno, SystemError } from '../../sys/system-error.ts';
import {
  describeFailureCode,
  describeLateAnswer,
  describeNoPorts,
  namesNoAddress,
  placeOf,
  relayFailure,
} from '../words.ts';
import { OUT_OF_PORTS, OUT_OF_TIME } from './messages.ts';
import type { EndReason, EndReport } from './messages.ts';

/** @param addresses those that the endpoint's host had when it was last looked up */
export function endError(
  { stage, reason }: Pick<EndReport, 'stage' | 'reason'>,
  endpoint: ClientEndpoint,
  addresses: readonly string[],
): GraceError | null {
  if (reason === null) return null;
  if (stage !== 'dial') return relayError(reason);
  const attempt = `cannot connect to ${placeOf(endpoint)}`;
  if ('text' in reason) return new GraceError(`${attempt}: ${reason.text}`, { hint: reason.hint });
  // An address that the endpoint itself names need not be said again.
  const isNamed = endpoint.type !== 'sni' && namesNoAddress(endpoint);
  const causes = reason.failures.map(({ address, errno }) => {
    const where = isNamed && addresses[address] !== undefined ? `${addresses[address]}: ` : '';
    return where + describeErrno(errno, endpoint);
  });
  const [first] = reason.failures;
  const cause = first && first.errno > OUT_OF_TIME ? new SystemError(first.errno, 'connect') : undefined;
  return new GraceError(`${attempt}: ${causes.join('; ')}`, { cause });
}

function describeErrno(errno: number, endpoint: ClientEndpoint): string {
  const timeout = endpoint.type === 'sni' ? 0 : endpoint.timeout;
  if (errno === OUT_OF_TIME) return describeLateAnswer(timeout);
  return errno === OUT_OF_PORTS ? describeNoPorts(timeout) : describeFailureCode(codeOfErrno(errno));
}

function relayError(reason: NonNullable<EndReason>): GraceError {
  if ('text' in reason) return new GraceError(reason.text);
  return relayFailure(new SystemError(reason.failures[0]?.errno ?? 0, 'recv'));
}
