import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { call } from '../../control/client.ts';
import type { Request } from '../../control/messages.ts';
import { quoted } from '../../endpoint/error.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { argument } from '../context.ts';
import type { Context, Input } from '../context.ts';
import { parseDurationOption } from '../duration.ts';
import { readSource } from '../endpoint-text.ts';
import { counted, printJson, printLine, printNote } from '../output.ts';
import { runCommand } from '../run-command.ts';

/** Clients that wait, unless it is said otherwise. */
const defaultMaxWaiting = 10_000;
/** Times in milliseconds: for DST to accept again, and for open connections to end. */
const defaults = { timeoutMs: 30_000, drainMs: 2000 };
/** Before a daemon is asked again that did not answer while the command runs, in milliseconds. */
const askAgainMs = 500;
const interruptedExitCode = 130;

/** `grace hold SRC [--timeout DURATION] [--drain DURATION] [--max-time DURATION] [--max-waiting N] [-- CMD ...]` */
export async function run(context: Context, input: Input): Promise<number> {
  const src = argument(input, 0);
  const command = input.args.slice(1).map((word) => word ?? '');
  const request = { command: 'hold' as const, src: readSource(src, context.cwd), ...readOptions(input) };
  if (command.length > 0) return await holdWhile(context, { request, command, isJson: input.has('json') });
  if (input.value('timeout') !== undefined)
    throw new GraceError('--timeout is for what comes after CMD, and there is no CMD', {
      hint: 'without one the hold lasts until: grace release SRC; --max-time bounds it',
      code: 'ERR_GRACE_USAGE',
    });
  const { changed, maxWaiting, open } = await call(context.dir, request, { signal: context.signal });
  if (input.has('json')) printJson(context, { src, held: true, changed, maxWaiting, open });
  else printLine(context.stdout, 'Held');
  if (open > 0) noteOpen(context, src, open);
  return 0;
}

function readOptions(input: Input): Pick<Request<'hold'>, 'maxWaiting' | 'maxTimeMs' | 'drainMs' | 'timeoutMs'> {
  const duration = (name: string, otherwise: number) => {
    const value = input.value(name);
    return value === undefined ? otherwise : parseDurationOption(value, `--${name}`);
  };
  const maxTime = input.value('max-time');
  return {
    maxWaiting: readCount(input.value('max-waiting')),
    drainMs: duration('drain', defaults.drainMs),
    timeoutMs: duration('timeout', defaults.timeoutMs),
    ...(maxTime === undefined ? {} : { maxTimeMs: parseDurationOption(maxTime, '--max-time') }),
  };
}

function readCount(text: string | undefined): number {
  if (text === undefined) return defaultMaxWaiting;
  if (/^[1-9][0-9]{0,6}$/.test(text)) return Number(text);
  throw new GraceError(`cannot read --max-waiting ${quoted(text)}: expected a whole number from 1 to 9999999`, {
    code: 'ERR_GRACE_USAGE',
  });
}

function noteOpen(context: Context, src: string, open: number): void {
  const are = open === 1 ? 'is' : 'are';
  printNote(
    context,
    `${counted(open, 'connection')} of ${src} ${are} open still, and will end with the server behind it`,
  );
}

type WhileOptions = { request: Request<'hold'>; command: readonly string[]; isJson: boolean };

/** Hold, run the command, and let go. The daemon has a connection of ours for so long: if this process is killed, it lets go by itself. */
async function holdWhile(context: Context, { request, command, isJson }: WhileOptions): Promise<number> {
  const { dir, signal, onSignal } = context;
  const id = randomUUID();
  const over = new AbortController();
  const { promise: held, resolve, reject } = Promise.withResolvers<number>();
  void keepHolding(dir, { ...request, id }, { signal: over.signal, onHeld: resolve, onRefused: reject });
  const giveUp = () => reject(signal.reason);
  signal.addEventListener('abort', giveUp);
  // From here on the hold comes to its end in any case.
  const ends = (['SIGTERM', 'SIGHUP'] as const).map((each) =>
    onSignal(each, () => reject(new GraceError(`ended by ${each}`))),
  );
  try {
    const open = await held;
    signal.removeEventListener('abort', giveUp);
    if (open > 0) noteOpen(context, request.src.typed, open);
    const exitCode = await runCommand(command, context);
    // One that was never run has changed nothing at the server.
    const timeoutMs = exitCode === 127 || exitCode === 126 ? 0 : request.timeoutMs;
    return await endHold(context, {
      request: { command: 'release', src: request.src, id, timeoutMs },
      exitCode,
      isJson,
    });
  } finally {
    for (const end of ends) end();
    over.abort(new Error('done'));
  }
}

type EndOptions = { request: Request<'release'>; exitCode: number; isJson: boolean };

/** Resolves with the exit code. */
async function endHold(context: Context, { request, exitCode, isJson }: EndOptions): Promise<number> {
  const interruption = new AbortController();
  // The daemon goes on with it.
  const end = context.onSignal('SIGINT', () => interruption.abort(new Error('interrupted')));
  const { typed } = request.src;
  try {
    const { released, waiting, problem } = await call(context.dir, request, { signal: interruption.signal });
    if (problem !== null) printNote(context, `the clients of ${typed} were let go all the same: ${problem}`);
    if (isJson)
      printJson(context, { src: typed, exitCode, released, waiting, ...(problem === null ? {} : { problem }) });
    return exitCode;
  } catch (error) {
    if (interruption.signal.aborted) return interruptedExitCode;
    // It was let go meanwhile, which somebody wanted; or there is no daemon any more, and nothing is held.
    if (error instanceof GraceError) {
      printNote(context, `nobody waits at ${typed} any more: ${errorMessage(error)}`);
      return exitCode;
    }
    throw error;
  } finally {
    end();
  }
}

type KeepOptions = { signal: AbortSignal; onHeld: (open: number) => void; onRefused: (error: unknown) => void };

/** Ask for the hold, and again of a daemon that comes after one that crashed. Resolves when it is over. */
async function keepHolding(
  dir: string,
  request: Request<'hold'>,
  { signal, onHeld, onRefused }: KeepOptions,
): Promise<void> {
  let isHeld = false;
  const onProgress = ({ open }: { open: number }) => {
    isHeld = true;
    onHeld(open);
  };
  while (!signal.aborted) {
    try {
      await call(dir, request, { signal, onProgress });
      return; // somebody has let it go
    } catch (error) {
      if (!isHeld) return onRefused(error);
      await delay(askAgainMs, undefined, { signal }).catch(() => {}); // it is over
    }
  }
}
