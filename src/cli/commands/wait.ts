import { call } from '../../control/client.ts';
import type { DestinationRow, EndpointText } from '../../control/shapes.ts';
import { GraceError } from '../../error.ts';
import type { Context, Input } from '../context.ts';
import { formatExactly, parseDuration } from '../duration.ts';
import { readSource } from '../endpoint-text.ts';
import { StatusLine, printJson } from '../output.ts';
import { describeConnections } from '../rows.ts';

/** How long a daemon that has not answered by the time-out still gets to say what is left. */
const answerGraceMs = 1000;

/** `grace wait [SRC] [--timeout DURATION]` */
export async function run(context: Context, input: Input): Promise<number> {
  const [typed] = input.args;
  const timeout = input.value('timeout');
  await waitUntilDrained(context, {
    src: typed === undefined ? null : readSource(typed, context.cwd),
    timeoutMs: timeout === undefined ? null : parseDuration(timeout, '--timeout'),
  });
  if (input.has('json')) printJson(context, { ...(typed === undefined ? {} : { src: typed }), connections: 0 });
  return 0;
}

/**
 * Resolves when no earlier destination has a connection left; shows on a terminal what it waits for.
 * Rejects with GraceError: exit code 124 when `timeoutMs` passes, 3 when no daemon runs.
 */
export async function waitUntilDrained(
  context: Context,
  { src, timeoutMs }: { src: EndpointText | null; timeoutMs: number | null },
): Promise<void> {
  let waiting: readonly DestinationRow[] | null = null;
  const expiry = new AbortController();
  const timedOut = () => {
    const left = waiting === null ? 'the daemon did not answer' : `still waiting for ${describeConnections(waiting)}`;
    return new GraceError(`gave up after ${formatExactly(timeoutMs ?? 0)}, ${left}`, { code: 'ERR_GRACE_TIMEOUT' });
  };
  let isExpired = false;
  const timers: NodeJS.Timeout[] = [];
  if (timeoutMs !== null) {
    // A time-out of 0 asks whether anything is left, so the first answer is always awaited.
    timers.push(
      setTimeout(() => (waiting === null ? (isExpired = true) : expiry.abort(timedOut())), timeoutMs),
      setTimeout(() => expiry.abort(timedOut()), timeoutMs + answerGraceMs),
    );
  }
  using line = new StatusLine(context);
  try {
    await call(context.dir, src === null ? { command: 'wait' } : { command: 'wait', src }, {
      signal: AbortSignal.any([context.signal, expiry.signal]),
      onProgress(progress) {
        waiting = progress.waiting;
        if (isExpired && waiting.length > 0) expiry.abort(timedOut());
        else line.show(`waiting for ${describeConnections(waiting)}`);
      },
    });
  } finally {
    timers.forEach(clearTimeout);
  }
}
