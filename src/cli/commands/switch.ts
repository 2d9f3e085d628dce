import { call } from '../../control/client.ts';
import { quoted } from '../../endpoint/error.ts';
import { GraceError } from '../../error.ts';
import { answerTimeoutMs, readCheck } from '../check-http.ts';
import { argument } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { formatExactly, parseDurationOption } from '../duration.ts';
import { readPair } from '../endpoint-text.ts';
import { counted, printJson, printLine, printNote } from '../output.ts';
import { waitUntilDrained } from './wait.ts';

/** `grace switch SRC DST [--no-check | --check-http PATH[=STATUS]] [--percent N] [--rollback-if-fails DURATION] [--drain DURATION] [--wait [--timeout DURATION]]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, cwd, stdout } = context;
  const { src, dst } = readPair({ command: 'switch', src: argument(input, 0), dst: argument(input, 1), cwd });
  const timeout = input.value('timeout');
  const isForAnswer = input.value('check-http') !== undefined;
  if (timeout !== undefined && !input.has('wait') && !isForAnswer) {
    throw new GraceError('--timeout limits --wait and --check-http, and there is neither', {
      hint: 'to wait until earlier destinations have no connection left, add --wait',
      code: 'ERR_GRACE_USAGE',
    });
  }
  const timeoutMs = timeout === undefined ? null : parseDurationOption(timeout, '--timeout');
  // With both, the time is the wait's, which may be long; the answer to a check is not waited for longer because of it.
  const answerMs =
    timeoutMs === null ? answerTimeoutMs : input.has('wait') ? Math.min(timeoutMs, answerTimeoutMs) : timeoutMs;
  const percent = readPercent(input);
  const drain = input.value('drain');
  const drainMs = drain === undefined ? undefined : parseDurationOption(drain, '--drain');
  const rollback = input.value('rollback-if-fails');
  const rollbackMs = rollback === undefined ? undefined : parseDurationOption(rollback, '--rollback-if-fails');
  const check = readCheck(input, {
    timeoutMs: answerMs,
    ...(timeoutMs !== null && !input.has('wait') && { limitMs: timeoutMs }),
  });
  const { changed, notes, draining } = await call(
    dir,
    {
      command: 'switch',
      src,
      dst,
      check,
      ...(rollbackMs !== undefined && { rollbackMs }),
      ...(percent !== undefined && { percent }),
      ...(drainMs !== undefined && { drainMs }),
    },
    { signal },
  );
  for (const note of notes) printNote(context, note);
  if (!input.has('json')) printLine(stdout, 'Switched');
  if (!input.has('json') && draining !== undefined && draining > 0)
    printLine(stdout, `Closing ${counted(draining, 'connection')} over ${formatExactly(drainMs ?? 0)}`);
  if (input.has('wait')) await waitUntilDrained(context, { src, timeoutMs });
  if (input.has('json'))
    printJson(context, {
      src: src.typed,
      dst: dst.typed,
      changed,
      ...(percent !== undefined && { percent }),
      ...(draining !== undefined && { draining }),
      notes,
    });
  return 0;
}

/** The share of --percent; undefined without one. Throws GraceError (exit code 2) when it is none. */
function readPercent(input: Input): number | undefined {
  const text = input.value('percent');
  if (text === undefined) return undefined;
  const percent = /^[0-9]+(\.[0-9]{1,4})?%?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (percent >= 0 && percent <= 100) return percent;
  throw new GraceError(`cannot read --percent ${quoted(text)}: expected a number from 0 to 100`, {
    code: 'ERR_GRACE_USAGE',
  });
}
