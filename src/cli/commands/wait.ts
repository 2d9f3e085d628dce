import { call } from '../../control/client.ts';
import type { DestinationRow, EndpointText } from '../../control/shapes.ts';
import { GraceError } from '../../error.ts';
import { TimeLimit } from '../../waiting.ts';
import type { Context, Input } from '../context.ts';
import { formatExactly, parseDurationOption } from '../duration.ts';
import { readSource } from '../endpoint-text.ts';
import { PlainLines, StatusLine, printJson } from '../output.ts';
import { describeConnections } from '../rows.ts';

/** How long a daemon that has not answered by the time-out still gets to say what is left. */
const answerGraceMs = 1000;
/** How often what is shown is brought up to date. */
const showEveryMs = 1000;

/** `grace wait [SRC] [--timeout DURATION]` */
export async function run(context: Context, input: Input): Promise<number> {
  const [typed] = input.args;
  const timeout = input.value('timeout');
  await waitUntilDrained(context, {
    src: typed === undefined ? null : readSource(typed, context.cwd),
    timeoutMs: timeout === undefined ? null : parseDurationOption(timeout, '--timeout'),
  });
  if (input.has('json')) printJson(context, { ...(typed === undefined ? {} : { src: typed }), connections: 0 });
  return 0;
}

/**
 * Resolves when no earlier destination has a connection left; shows what it waits for: on a terminal a line that changes, elsewhere lines on stderr.
 * Rejects with GraceError: exit code 124 when `timeoutMs` passes, 3 when no daemon runs.
 */
export async function waitUntilDrained(
  context: Context,
  { src, timeoutMs }: { src: EndpointText | null; timeoutMs: number | null },
): Promise<void> {
  let waiting: readonly DestinationRow[] | null = null;
  const timedOut = () => {
    const left = waiting === null ? 'the daemon did not answer' : `still waiting for ${describeConnections(waiting)}`;
    return new GraceError(`gave up after ${formatExactly(timeoutMs ?? 0)}, ${left}`, { code: 'ERR_GRACE_TIMEOUT' });
  };
  using limit = timeoutMs === null ? null : new TimeLimit(timeoutMs);
  using expiry = timeoutMs === null ? null : new TimeLimit(timeoutMs + answerGraceMs, timedOut());
  // A time-out of 0 asks whether anything is left, so the first answer is always awaited.
  limit?.signal.addEventListener('abort', () => {
    if (waiting !== null) expiry?.abort(timedOut());
  });
  using line = new StatusLine(context);
  const plain = new PlainLines(context);
  let most = 0;
  const request = { command: 'wait', everyMs: showEveryMs, ...(src === null ? {} : { src }) } as const;
  await call<'wait'>(context.dir, request, {
    signal: expiry === null ? context.signal : AbortSignal.any([context.signal, expiry.signal]),
    onProgress(progress) {
      waiting = progress.waiting;
      if (limit?.signal.aborted && waiting.length > 0) return expiry?.abort(timedOut());
      const left = waiting.reduce((sum, { connections }) => sum + connections, 0);
      most = Math.max(most, left);
      const text = `waiting for ${describeConnections(waiting, { of: most, oldestMs: progress.oldestMs })}`;
      if (context.isTTY) line.show(text);
      else plain.show(String(left), text);
    },
  });
}
