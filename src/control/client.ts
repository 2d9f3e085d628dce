import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { GraceError, errorCode } from '../error.ts';
import { openUnixConnection } from '../net/unix-connection.ts';
import { describeError } from '../sys/system-error.ts';
import { limitHint } from '../sys/limit-hint.ts';
import { unlessAborted } from '../waiting.ts';
import { readLines, writeLine } from './lines.ts';
import { errorOf, readReply } from './messages.ts';
import type { Command, Progress, Request, Result } from './messages.ts';
import { statePaths } from './paths.ts';

/** How long a request is waited for, and who hears of its progress. */
export type CallOptions<C extends Command> = {
  /** Ends the wait: the connection is closed, which cancels the request, and the call rejects with its reason. */
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: Progress<C>) => void) | undefined;
};

/** The daemon was there and went away, or handed over, before it answered: asking again is right. */
export class DaemonMovedError extends GraceError {
  /** The daemon said itself that another one serves; else it went away without a word. */
  isHandedOn = false;
}

/** Before a question is asked again that ended without an answer, in milliseconds: a daemon that crashed takes a moment. */
const pauseMs = 50;

/** Longest that a daemon may not answer at all: after so long a silence it is asked whether it is there, and so long that may take, in milliseconds. */
const silence = { askAfterMs: 1000, answerWithinMs: 3000 };

/**
 * How long a daemon may go on closing connections without a word, in milliseconds: one that crashes or is replaced
 * answers again within it, one that has no descriptors (its runtime accepts and closes then) may never.
 */
const maxWordlessMs = 4000;

/** A connection that was open for so long was being served when it ended, in milliseconds. */
const servedAfterMs = 1000;

function wordlessError(dir: string): GraceError {
  return new GraceError(`the daemon in ${dir} does not answer: it closes every connection without a word`, {
    hint: 'the system may be out of descriptors (compare /proc/sys/fs/file-nr with fs.file-max), or the daemon crashes again and again: see grace logs',
  });
}

/** A daemon is there and does not answer: it is stopped (SIGSTOP), or something holds it up. */
function frozenError(dir: string): GraceError {
  return new GraceError(`the daemon in ${dir} does not answer`, {
    hint: 'it may be stopped or frozen: see "State" in /proc/PID/status, with the PID of the daemon; a stopped one goes on with kill -CONT PID; where it crashed and cannot be started again for the moment, the log says why',
  });
}

function strangerError(path: string, cause: Error): GraceError {
  return new GraceError(`what answers at ${path} is no daemon of grace: ${cause.message}`, {
    hint: 'see who listens there: ss -xlp',
    cause,
  });
}

/** No daemon answers on the socket. */
function noDaemonError(dir: string): GraceError {
  return new GraceError(`no daemon runs in ${dir}`, {
    hint: 'start one with: grace start SRC DST',
    code: 'ERR_GRACE_NO_DAEMON',
  });
}

/**
 * Ask the daemon that serves `dir` and wait for its answer. A daemon that is replaced meanwhile
 * passes the question on: it is asked again of its successor.
 *
 * Rejects with GraceError: exit code 3 when no daemon runs, else what the daemon says.
 */
export async function call<C extends Command>(
  dir: string,
  request: Request<C> & { command: C },
  options: CallOptions<C> = {},
): Promise<Result<C>> {
  let wordlessSinceMs: number | null = null;
  for (;;) {
    const startMs = performance.now();
    const watch = watchForSilence(dir);
    const signal = options.signal ? AbortSignal.any([options.signal, watch.signal]) : watch.signal;
    const onProgress = (progress: Progress<C>) => options.onProgress?.(progress);
    try {
      return await callOnce(statePaths(dir).socket, request, { signal, onProgress }, dir);
    } catch (error) {
      if (!(error instanceof DaemonMovedError)) throw error;
      // Whether a restart that was not answered has happened is not known; twice is not once.
      if (!error.isHandedOn && request.command === 'restart') throw error;
      const nowMs = performance.now();
      if (error.isHandedOn || nowMs - startMs > servedAfterMs) wordlessSinceMs = null;
      else if (nowMs - (wordlessSinceMs ??= startMs) > maxWordlessMs) throw wordlessError(dir);
      // The next connect reaches the successor, or finds that there is none (exit code 3).
      if (!error.isHandedOn) await unlessAborted(delay(pauseMs), options.signal);
    } finally {
      watch.stop();
    }
  }
}

/**
 * Whether the daemon lives while it is silent over something that takes its time: over a second
 * connection it is asked what it answers at once. Aborts with GraceError when it does not.
 */
function watchForSilence(dir: string): { signal: AbortSignal; stop(): void } {
  const over = new AbortController();
  const watch = async (): Promise<never> => {
    for (;;) {
      await delay(silence.askAfterMs, undefined, { signal: over.signal });
      const isLate = AbortSignal.timeout(silence.answerWithinMs);
      try {
        await callOnce(
          statePaths(dir).socket,
          { command: 'generation-report', isBrief: true },
          { signal: AbortSignal.any([isLate, over.signal]) },
          dir,
        );
      } catch {
        // Any other answer, and none because it ends just now, is for whoever waits to hear.
        if (isLate.aborted && !over.signal.aborted) over.abort(frozenError(dir));
      }
    }
  };
  watch().catch(() => {}); // it is over
  return { signal: over.signal, stop: () => over.abort(new Error('the answer has come')) };
}

/** As `call`, to one socket and without asking again. */
export async function callOnce<C extends Command>(
  path: string,
  request: Request<C> & { command: C },
  { signal, onProgress }: CallOptions<C>,
  dir: string,
): Promise<Result<C>> {
  signal?.throwIfAborted();
  const socket = await connectTo(path, dir);
  const abort = () => socket.destroy();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    writeLine(socket, request);
    for await (const message of readLines(socket)) {
      const { progress, result, error } = readReply<C>(request.command, message);
      if (error) {
        if (error.retry) throw Object.assign(new DaemonMovedError(error.message), { isHandedOn: true });
        throw errorOf(error);
      }
      if (result) return result;
      if (progress !== undefined) onProgress?.(progress);
    }
  } catch (error) {
    signal?.throwIfAborted();
    // No line of JSON, or one without an end.
    if (error instanceof SyntaxError || error instanceof RangeError) throw strangerError(path, error);
    if (errorCode(error) !== 'ECONNRESET' && errorCode(error) !== 'EPIPE') throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
    socket.destroy();
  }
  signal?.throwIfAborted();
  throw new DaemonMovedError(`the daemon in ${dir} closed the connection before it answered`, {
    hint: 'it may have ended, or have no descriptors left: see grace status and grace logs',
  });
}

async function connectTo(path: string, dir: string): Promise<Socket> {
  try {
    return await openUnixConnection(path); // of its errors readLines tells
  } catch (error) {
    throw connectError(error, dir);
  }
}

function connectError(error: unknown, dir: string): GraceError {
  // A path that is too long for a socket (EINVAL, and Deno's RangeError) has none either.
  const codes = ['ENOENT', 'ECONNREFUSED', 'ENOTDIR', 'EINVAL', 'ENAMETOOLONG'];
  const code = errorCode(error) ?? '';
  if (codes.includes(code) || error instanceof RangeError) return noDaemonError(dir);
  if (code === 'EACCES' || code === 'EPERM')
    return new GraceError(`cannot talk to the daemon in ${dir}: permission denied`, {
      hint: 'run grace as the user who started it',
      cause: error,
    });
  return new GraceError(`cannot talk to the daemon in ${dir}: ${describeError(error)}`, {
    hint: limitHint(error),
    cause: error,
  });
}
