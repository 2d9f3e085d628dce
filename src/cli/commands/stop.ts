import { call } from '../../control/client.ts';
import { GraceError } from '../../error.ts';
import { goneWithin } from '../../waiting.ts';
import type { Context, Input } from '../context.ts';
import { formatExactly, parseDurationOption } from '../duration.ts';
import { readSource } from '../endpoint-text.ts';
import { StatusLine, counted, printJson, printLine } from '../output.ts';
import { describeConnections } from '../rows.ts';

/** How long a process may take to be gone after it said that it ends. */
const goneTimeoutMs = 10_000;

/** `grace stop [SRC] [--timeout DURATION] [--now] [--announce DURATION]` */
export async function run(context: Context, input: Input): Promise<number> {
  const { dir, signal, stdout, cwd } = context;
  const [typed] = input.args;
  const timeoutMs = parseDurationOption(input.value('timeout') ?? '30s', '--timeout');
  const announce = input.value('announce');
  if (announce !== undefined && typed !== undefined)
    throw new GraceError('--announce is for the whole daemon, and SRC names a rule', { code: 'ERR_GRACE_USAGE' });
  const announceMs = announce === undefined ? {} : { announceMs: parseDurationOption(announce, '--announce') };
  const request = { command: 'stop', timeoutMs: input.has('now') ? 0 : timeoutMs, ...announceMs } as const;
  const { closed, pids } = await callWithStatusLine(
    context,
    typed === undefined ? request : { ...request, src: readSource(typed, cwd) },
  );
  if (typed === undefined) await waitUntilGone(pids, { dir, signal });
  if (input.has('json')) {
    printJson(context, { ...(typed === undefined ? {} : { src: typed }), closed, pids });
    return 0;
  }
  printLine(stdout, 'Stopped');
  if (closed > 0) {
    printLine(
      stdout,
      `${counted(closed, 'connection')} closed${request.timeoutMs > 0 ? ` after ${formatExactly(request.timeoutMs)}` : ''}`,
    );
  }
  return 0;
}

async function callWithStatusLine(
  context: Context,
  request: Parameters<typeof call<'stop'>>[1],
): ReturnType<typeof call<'stop'>> {
  using line = new StatusLine(context);
  return await call<'stop'>(context.dir, request, {
    signal: context.signal,
    onProgress: ({ waiting }) => line.show(`waiting for ${describeConnections(waiting)}`),
  });
}

/** A daemon answers just before its process ends; who starts the next one at once must not meet the old one. */
async function waitUntilGone(
  pids: readonly number[],
  { dir, signal }: { dir: string; signal: AbortSignal },
): Promise<void> {
  const deadline = performance.now() + goneTimeoutMs;
  for (const pid of pids) {
    if (await goneWithin(pid, deadline - performance.now(), { signal })) continue;
    throw new GraceError(`the daemon in ${dir} said that it stops, but its process ${pid} still runs`, {
      hint: 'see: grace logs',
    });
  }
}
