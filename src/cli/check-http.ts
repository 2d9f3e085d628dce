import type { Check } from '../control/shapes.ts';
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';
import type { Input } from './context.ts';

/** Statuses that are good unless others are named: the application is there, if perhaps under another path. */
const goodStatus = { least: 200, most: 399 };

/** For the head of an HTTP answer, in milliseconds. */
export const answerTimeoutMs = 10_000;

/**
 * What a destination must do before new connections go there, by `--no-check` and `--check-http`.
 * `timeoutMs`: for the answer; `limitMs`: for all of it, also
 * until DST accepts. Throws GraceError (exit code 2).
 */
export function readCheck(
  input: Input,
  { timeoutMs = answerTimeoutMs, limitMs }: { timeoutMs?: number; limitMs?: number } = {},
): Check {
  const text = input.value('check-http');
  if (text === undefined) return !input.has('no-check');
  if (input.has('no-check'))
    throw new GraceError('--check-http checks DST, and --no-check does not: they exclude each other', {
      code: 'ERR_GRACE_USAGE',
    });
  return { http: { ...readQuestion(text), timeoutMs, ...(limitMs !== undefined && { limitMs }) } };
}

/** `/up`, `/up=204`, `/up=200-299`. After a `?` an `=` may be the query's, and what could be either is refused. */
function readQuestion(text: string): { path: string; least: number; most: number } {
  const at = text.lastIndexOf('=');
  const [before, after] = at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
  const range = /^([0-9]{3})(?:-([0-9]{3}))?$/.exec(after);
  const query = text.indexOf('?');
  if (at === -1 || (!range && query !== -1 && query < at)) return { path: readPath(text, text), ...goodStatus };
  if (!range) throw wrong(text, `STATUS is 200 to 599, or a range of these, not ${quoted(after)}`);
  const [least, most] = [Number(range[1]), Number(range[2] ?? range[1])];
  if (range[2] === undefined && query !== -1 && !/[?&][^&]*=[^&]*$/.test(before)) {
    throw wrong(
      text,
      `"=${after}" may be of the query or the status`,
      `for the status ${after}: --check-http '${before}=${after}-${after}'; else: --check-http '${text}=200-399'`,
    );
  }
  if (least < 200 || most > 599 || least > most)
    throw wrong(text, `STATUS is 200 to 599, or a range of these, not ${quoted(after)}`);
  return { path: readPath(before, text), least, most };
}

function readPath(path: string, text: string): string {
  if (!path.startsWith('/')) throw wrong(text, 'PATH begins with /');
  if (path.includes('#')) throw wrong(text, 'PATH has no "#": that part of an address is never sent');
  if (!/^[!-~]+$/.test(path))
    throw wrong(text, 'PATH is of printable ASCII without spaces', `--check-http '${encodeURI(path.toWellFormed())}'`);
  return path;
}

function wrong(
  text: string,
  why: string,
  hint = '--check-http /up for any status from 200 to 399, --check-http /up=204 for this one, /up=200-299 for these',
): GraceError {
  return new GraceError(`cannot read --check-http ${quoted(text)}: ${why}`, { hint, code: 'ERR_GRACE_USAGE' });
}
