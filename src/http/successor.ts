import { errorMessage, GraceError } from '../error.ts';
import type { Net } from '../net/net.ts';
import { openServingNotice } from '../net/serving-notice.ts';
import type { ServingNotice } from '../net/serving-notice.ts';
import { startAside, startChild } from '../net/successor-process.ts';
import type { SuccessorProcess } from '../net/successor-process.ts';
import { within } from '../waiting.ts';
import { findRestartObstacle } from './restart-obstacle.ts';

/** What a successor starts from. */
export type SuccessorOptions = {
  net: Net;
  /** Runs before the successor starts; a failure keeps it from starting. */
  preStartProcess: (() => void | Promise<void>) | undefined;
  /** Milliseconds within which the successor must serve. */
  startTimeout: number;
  /** A service manager watches its own children: the successor is to be one. */
  isManaged: boolean;
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

type Successor = { child: SuccessorProcess; notice: ServingNotice };

/** One successor at a time: a request while one starts is answered with that one. */
export function makeSuccessors({ net, preStartProcess, startTimeout, isManaged }: SuccessorOptions): Successors {
  let successor: Successor | null = null;
  let starting: Promise<void> | null = null;
  let ended: Promise<unknown> = Promise.resolve();
  let launched: Promise<unknown> = Promise.resolve();
  const released = new AbortController();

  const run = async (): Promise<void> => {
    const obstacle = findRestartObstacle();
    if (obstacle !== null) throw obstacle;
    await preStartProcess?.();
    if (released.signal.aborted) return;
    const notice = openServingNotice();
    try {
      const start = (isManaged ? startAside : startChild)(net, notice);
      launched = start.catch(() => {}); // whoever waits for `start` hears of it
      const child = await start;
      successor = { child, notice };
      if (released.signal.aborted) ended = child.kill();
      else await untilEnd(child);
    } finally {
      if (!released.signal.aborted) successor = null;
      notice.close();
    }
  };

  /** Throws in any case but one: that this process is ending. */
  const untilEnd = async (child: SuccessorProcess): Promise<void> => {
    const end = child.ended(released.signal);
    const isLate = (await within(end, startTimeout)) === undefined;
    if (isLate) void child.kill();
    const how = await end;
    const reason = isLate
      ? `did not serve within ${startTimeout} ms and was killed`
      : `ended before it served${how === '' ? '' : `: ${how}`}`;
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
      const serves = successor !== null && successor.child.isRunning() && successor.notice.hasCome();
      released.abort();
      if (successor === null) return null;
      if (serves) return successor.child.pid;
      ended = successor.child.kill();
      return null;
    },
    async ended() {
      await launched;
      await ended;
    },
  };
}
