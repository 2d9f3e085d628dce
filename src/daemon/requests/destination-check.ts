/** Whether a destination is fit to be a rule's, found out before it is. */
import type { Check } from '../../control/shapes.ts';
import { directOf, innermost } from '../../endpoint/inner.ts';
import type { ClientEndpoint } from '../../endpoint/model.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { exitCodeOf } from '../../kinds.ts';
import type { DestinationSpec } from '../../forward/destination.ts';
import type { RuleSpec } from '../../forward/rule.ts';
import type { Service } from '../service.ts';

/** Longest that a connect to a new destination may take when a switch checks it, whatever its own time-out is. */
const checkTimeoutMs = 30_000;

/** So much later than the answer's own time is up all of it is, in milliseconds. */
const tellLateMs = 100;

/** Longest that `start` waits for a destination to refuse, in milliseconds. */
const noteTimeoutMs = 300;

/** What the check is of, and what happens when it is passed. */
export type PassOptions = { check: Check; verb: 'start' | 'switch'; signal: AbortSignal };

/** Rejects with GraceError (exit code 5) unless the destination accepts a connection, and answers over it where that is asked for. */
export async function mustPass(
  { engine, version }: Service,
  { src, dst }: RuleSpec,
  { check, verb, signal }: PassOptions,
): Promise<void> {
  if (check === false) return;
  const http = check === true ? undefined : { ...check.http, userAgent: `grace/${version}` };
  const limitMs = http?.limitMs ?? checkTimeoutMs + (http?.timeoutMs ?? 0);
  try {
    // An answer that is late by itself is told of as that.
    await engine.probe(dst.endpoint, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(limitMs + tellLateMs)]),
      http,
    });
  } catch (error) {
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    const why = isLate ? `no answer within ${limitMs / 1000} s` : errorMessage(error);
    const { hint, code } = error instanceof GraceError ? error : { hint: undefined, code: undefined };
    const isUnfit = exitCodeOf(error) === 2; // its files for example, without which it cannot be a rule's at all
    const otherwise =
      http || isUnfit || verb === 'start'
        ? `nothing was ${verb === 'start' ? 'started' : 'changed'}`
        : 'nothing was changed; --no-check switches all the same';
    throw new GraceError(`cannot ${verb} ${src.typed} to ${dst.typed}: ${why}`, {
      hint: [...(hint ? [hint] : []), otherwise].join('; '),
      code: isUnfit ? code : 'ERR_GRACE_NOT_ACCEPTED',
      cause: error,
    });
  }
}

/** What is worth knowing of a destination that has just become a rule's: that it does not accept. One that is slow to say so is not waited for. */
export async function notesOn({ engine }: Service, dst: DestinationSpec, signal: AbortSignal): Promise<string[]> {
  try {
    await engine.probe(dst.endpoint, { signal: AbortSignal.any([signal, AbortSignal.timeout(noteTimeoutMs)]) });
    return [];
  } catch (error) {
    const isLate = error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError');
    if (isLate) return [];
    const why = `${errorMessage(error)}${hintForService(dst.endpoint, error)}`;
    return [
      /\((?:ECONNREFUSED|ENOENT)\)/.test(why)
        ? `nobody serves ${dst.typed} yet: ${why}`
        : `connections to ${dst.typed} fail at the moment: ${why}`,
    ];
  }
}

/** Whether one of these notes says that there is no such name. */
export function isOfAbsentName(note: string): boolean {
  return note.includes('(ENOTFOUND)');
}

/** Some registries have SRV records at other names (Consul), so that these are no mistake by themselves. */
function hintForService(endpoint: ClientEndpoint, error: unknown): string {
  if (!errorMessage(error).includes('(ENOTFOUND)')) return '';
  const inner = directOf(endpoint).map(innermost);
  return inner.some((each) => each.type === 'srv' && !/^_[^.]+\._[^.]+\../.test(each.name))
    ? '; SRV records mostly are at _SERVICE._tcp.DOMAIN'
    : '';
}
