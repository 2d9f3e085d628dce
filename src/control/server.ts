import type { Socket } from 'node:net';
import { setImmediate as nextRound, setTimeout as delay } from 'node:timers/promises';
import { GraceError } from '../error.ts';
import { openAcceptor } from '../net/acceptor.ts';
import type { Acceptor } from '../net/acceptor.ts';
import type { Listener } from '../net/listener.ts';
import { hasLinuxCalls } from '../sys/process.ts';
import { peerCredentials } from '../sys/socket.ts';
import { LineParts, writeLine } from './lines.ts';
import { failureOf, readRequest } from './messages.ts';
import type { Command, Failure, Progress, Request, Result } from './messages.ts';

/** Longest request that is taken, in characters. */
const maxRequest = 1024 * 1024;

/** How long a client may be connected without asking anything, in milliseconds. */
const silenceMs = 10_000;

/** Clients that have not asked anything yet, at once; one more ends the oldest, so that they take no descriptors from others. */
const maxSilent = 256;
/** Requests that are not answered yet, at once; one more is refused. */
const maxPending = 1000;
/** Requests in a second, and how many at once; what comes faster waits for its turn. */
const rate = { intervalMs: 2, burst: 500 };

/** The process at the other end of the socket, as of its connect. */
export type Peer = { pid: number; uid: number; gid: number };

/** What the handler of a request may use. */
export type RequestContext<C extends Command = Command> = {
  /** Who asks; null where the system does not tell. */
  peer: Peer | null;
  /** Aborts when the client closes early. */
  signal: AbortSignal;
  progress(progress: Progress<C>): void;
};

/** Answers one request: resolves with its result, rejects with GraceError. */
export type RequestHandler = <C extends Command>(request: Request<C>, context: RequestContext<C>) => Promise<Result<C>>;

/** Thrown by a handler whose process no longer serves: the client is to ask the one that does. */
export class MovedError extends GraceError {}

/** The listening end of the control socket. */
export type ControlServer = {
  /** Requests that have not been answered yet. */
  readonly pending: number;
  /** Resolves when no request is pending. */
  idle(): Promise<void>;
  /** Stop accepting requests; those that are pending are answered. */
  close(): void;
};

/** Serve the control protocol on a listening Unix socket, which the caller still owns. */
export function serveControl(
  listener: Listener,
  handle: RequestHandler,
  onError: (error: unknown) => void,
): Promise<ControlServer> {
  let pending = 0;
  let idleWaiters: (() => void)[] = [];
  /** Clients that have not asked anything yet: they hold nobody up. */
  const silent = new Set<Socket>();
  const turn = turns();
  const asked = (socket: Socket) => {
    silent.delete(socket);
    pending++;
  };
  const answered = () => {
    pending--;
    if (pending > 0) return;
    for (const wake of idleWaiters) wake();
    idleWaiters = [];
  };
  const accepted = (socket: Socket) => {
    silent.add(socket);
    const [oldest] = silent;
    if (silent.size > maxSilent) oldest?.destroy();
    socket.once('close', () => silent.delete(socket));
    const timer = setTimeout(() => void (silent.has(socket) && socket.destroy()), silenceMs);
    socket.once('close', () => clearTimeout(timer));
    const handleInTurn: RequestHandler = async (request, context) => {
      if (pending > maxPending)
        throw new GraceError(`too many commands are under way: ${pending}`, { hint: 'try again when some have ended' });
      await turn();
      await unlessGone(context.signal);
      return await handle(request, context);
    };
    answer(socket, { handle: handleInTurn, onError, asked: () => asked(socket), answered }).catch(onError);
  };
  let acceptor: Acceptor;
  const control: ControlServer = {
    get pending() {
      return pending;
    },
    idle: () => (pending === 0 ? Promise.resolve() : new Promise((resolve) => idleWaiters.push(resolve))),
    close() {
      void acceptor.close();
      for (const socket of silent) socket.destroy();
    },
  };
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      reject(error);
      onError(error);
    };
    acceptor = openAcceptor({ listener, accepted, failed, opened: () => resolve(control) });
  });
}

/**
 * Resolves while the client waits for its answer. One that gave up while this process was frozen or busy has left its
 * request and its end behind, and has been told that it failed: the end is read after the request, in the next round of
 * the event loop. Rejects with the signal's reason.
 */
async function unlessGone(signal: AbortSignal): Promise<void> {
  for (let rounds = 0; rounds < 2; rounds++) {
    await nextRound();
    signal.throwIfAborted();
  }
}

/** Resolves when it is the caller's turn, which it is at once unless there were too many of late. */
function turns(): () => Promise<void> {
  let fullAt = 0;
  return async () => {
    const now = performance.now();
    fullAt = Math.max(now, fullAt) + rate.intervalMs;
    const waitMs = fullAt - now - rate.burst * rate.intervalMs;
    if (waitMs > 0) await delay(waitMs);
  };
}

type AnswerOptions = {
  handle: RequestHandler;
  onError: (error: unknown) => void;
  asked: () => void;
  answered: () => void;
};

async function answer(socket: Socket, { handle, onError, asked, answered }: AnswerOptions): Promise<void> {
  const aborter = new AbortController();
  const gone = () => aborter.abort(new GraceError('the client went away'));
  socket.on('error', () => {}); // the client went away; 'close' tells
  socket.on('close', gone);
  const line = await firstLine(socket, gone);
  if (line === null) return;
  asked();
  try {
    await send(socket, await replyTo(line, { socket, handle, onError, signal: aborter.signal }));
  } finally {
    answered();
  }
}

type Reply = { result: unknown } | { error: Failure };
type ReplyOptions = Pick<AnswerOptions, 'handle' | 'onError'> & { socket: Socket; signal: AbortSignal };

async function replyTo(line: string, { socket, handle, onError, signal }: ReplyOptions): Promise<Reply> {
  try {
    const progress = (message: unknown) => void (socket.writable && writeLine(socket, { progress: message }));
    return { result: await handle(readRequest(JSON.parse(line)), { peer: peerOf(socket), signal, progress }) };
  } catch (error) {
    if (!(error instanceof GraceError || error instanceof SyntaxError || signal.aborted)) onError(error);
    return { error: error instanceof MovedError ? { ...failureOf(error), retry: true } : failureOf(error) };
  }
}

/** Node has no word for it (SO_PEERCRED, unix(7)). */
function peerOf(socket: Socket): Peer | null {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  if (!hasLinuxCalls || typeof handle?.fd !== 'number' || handle.fd < 0) return null;
  return peerCredentials(handle.fd);
}

/** Resolves when the client has it, or is gone. */
function send(socket: Socket, reply: Reply): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed) return resolve();
    socket.once('close', () => resolve());
    socket.end(`${JSON.stringify(reply)}\n`, () => socket.destroySoon());
  });
}

/** The first line that the client sends, or null when it ends before; `onEnd` hears its end, then or later. */
function firstLine(socket: Socket, onEnd: () => void): Promise<string | null> {
  return new Promise((resolve) => {
    const line = new LineParts();
    let isComplete = false;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      if (isComplete) return; // one request a connection; reading on is how its end is noticed
      const end = chunk.indexOf('\n');
      if (end >= 0) {
        isComplete = true;
        resolve(line.finish(chunk.slice(0, end)));
        return;
      }
      line.add(chunk);
      if (line.length > maxRequest) socket.destroy();
    });
    socket.on('end', () => {
      if (!isComplete) socket.destroy();
      onEnd();
    });
    socket.once('close', () => resolve(null));
  });
}
