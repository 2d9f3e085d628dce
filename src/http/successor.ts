import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { errorMessage, GraceError } from '../error.ts';
import type { Net } from '../net/net.ts';
import { openServingNotice } from '../net/serving-notice.ts';
import type { ServingNotice } from '../net/serving-notice.ts';
import { within } from '../waiting.ts';
import { findRestartObstacle } from './restart-obstacle.ts';

/** What a successor starts from. */
export type SuccessorOptions = {
  net: Net;
  /** Runs before the successor starts; a failure keeps it from starting. */
  preStartProcess: (() => void | Promise<void>) | undefined;
  /** Milliseconds within which the successor must serve. */
  startTimeout: number;
};

/** Starts successors, one at a time. */
export type Successors = {
  /**
   * Start one and wait until it ends or fails: one that serves ends this process, so nothing is heard of
   * it here. While one is starting, another request joins it.
   *
   * @throws GraceError when it did not start, ended, or did not serve in time and was killed.
   */
  start(): Promise<void>;
  /**
   * This process is ending. A successor that serves is on its own from now on: its process id. One that
   * does not yet is killed, and none is started any more: null.
   */
  release(): number | null;
  /** Resolves when one that was killed has ended, and its copies of the sockets with it. */
  ended(): Promise<void>;
};

type Successor = { child: ChildProcess; notice: ServingNotice };

/** One successor at a time: a request while one starts is answered with that one. */
export function makeSuccessors({ net, preStartProcess, startTimeout }: SuccessorOptions): Successors {
  let successor: Successor | null = null;
  let starting: Promise<void> | null = null;
  let ended: Promise<unknown> = Promise.resolve();
  const released = new AbortController();

  const run = async (): Promise<void> => {
    const obstacle = findRestartObstacle();
    if (obstacle !== null) throw obstacle;
    await preStartProcess?.();
    if (released.signal.aborted) return;
    const notice = openServingNotice();
    try {
      const child = await net.startProcess({ notice });
      successor = { child, notice };
      if (released.signal.aborted) ended = kill(child);
      else await untilEnd(child);
    } finally {
      if (!released.signal.aborted) successor = null;
      notice.close();
    }
  };

  /** Throws in any case but one: that this process is ending. */
  const untilEnd = async (child: ChildProcess): Promise<void> => {
    // It must not keep this process alive, which ends when its requests have.
    child.unref();
    const exit = once(child, 'exit', { signal: released.signal }) as Promise<[number | null, string | null]>;
    const isLate = (await within(exit, startTimeout)) === undefined;
    if (isLate) child.kill('SIGKILL');
    const [code, signal] = await exit;
    const reason = isLate
      ? `did not serve within ${startTimeout} ms and was killed`
      : `ended before it served: ${signal ?? `exit code ${code}`}`;
    throw new GraceError(`the successor (pid ${child.pid}) ${reason}`, { code: 'ERR_GRACE_SUCCESSOR' });
  };

  return {
    start() {
      starting ??= run()
        .catch((error: unknown) => {
          if (released.signal.aborted) return;
          throw error instanceof GraceError
            ? error
            : new GraceError(`cannot start a successor: ${errorMessage(error)}`, {
                code: 'ERR_GRACE_SUCCESSOR',
                cause: error,
              });
        })
        .finally(() => {
          if (!released.signal.aborted) starting = null;
        });
      return starting;
    },
    release() {
      const serves = successor !== null && isRunning(successor.child) && successor.notice.hasCome();
      released.abort();
      if (successor === null) return null;
      if (serves) return successor.child.pid ?? null;
      ended = kill(successor.child);
      return null;
    },
    async ended() {
      await ended;
    },
  };
}

function isRunning({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

/** At once, as its sockets keep clients waiting as long as it lives; it has not served anybody yet. */
async function kill(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return;
  child.ref();
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}
