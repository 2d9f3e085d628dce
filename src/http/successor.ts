import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { errorMessage, GraceError } from '../error.ts';
import type { Net } from '../net/net.ts';

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
  /** This process is ending: a successor that runs is on its own from now on. Its process id, or null. */
  release(): number | null;
};

export function makeSuccessors({ net, preStartProcess, startTimeout }: SuccessorOptions): Successors {
  let current: ChildProcess | null = null;
  let starting: Promise<void> | null = null;
  const released = new AbortController();

  const run = async (): Promise<void> => {
    await preStartProcess?.();
    current = await net.startProcess();
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      current?.kill('SIGKILL');
    }, startTimeout);
    try {
      // It must not keep this process alive, which ends when its requests have.
      current.unref();
      const [code, signal] = (await once(current, 'exit', { signal: released.signal })) as [number | null, string | null];
      const reason = isLate ? `did not serve within ${startTimeout} ms and was killed` : `ended before it served: ${signal ?? `exit code ${code}`}`;
      throw new GraceError(`the successor (pid ${current.pid}) ${reason}`);
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    start() {
      starting ??= run()
        .catch((error: unknown) => {
          if (released.signal.aborted) return;
          current = null;
          throw error instanceof GraceError ? error : new GraceError(`cannot start a successor: ${errorMessage(error)}`, { cause: error });
        })
        .finally(() => {
          if (!released.signal.aborted) starting = null;
        });
      return starting;
    },
    release() {
      released.abort();
      return current?.exitCode === null && current.signalCode === null ? (current.pid ?? null) : null;
    },
  };
}
