/** What the process is told while it serves; disposing of it gives the signals back. */
export type Signals = Disposable & {
  /** SIGTERM or SIGINT came, or the caller's signal aborted. */
  readonly stopped: Promise<void>;
  readonly isStopped: boolean;
  /** A second SIGTERM or SIGINT came. */
  readonly hurried: Promise<void>;
  /** One of the signals that have come or will come is the successor's, which says that it serves: it does not count. */
  excuseOne(): void;
  /** Call back at each SIGUSR2 until the stop; at once if one has come already. */
  onRestart(restart: () => void): void;
};

/** Hear the process's signals until disposed. */
export function listenToSignals(signal: AbortSignal | undefined): Signals {
  const stopped = Promise.withResolvers<void>();
  const hurried = Promise.withResolvers<void>();
  let isStopped = false;
  let hurryAfter = 1;
  let stops = 0;
  let restart: (() => void) | null = null;
  let isRestartWanted = false;

  const stop = (): void => {
    if (++stops > hurryAfter) hurried.resolve();
    isStopped = true;
    stopped.resolve();
  };
  const onUsr2 = (): void => {
    if (isStopped) return;
    if (restart === null) isRestartWanted = true;
    else restart();
  };
  process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGUSR2', onUsr2);
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop);

  return {
    stopped: stopped.promise,
    get isStopped() {
      return isStopped;
    },
    hurried: hurried.promise,
    excuseOne() {
      hurryAfter++;
    },
    onRestart(callback) {
      restart = callback;
      if (isRestartWanted && !isStopped) restart();
    },
    [Symbol.dispose]() {
      process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGUSR2', onUsr2);
      signal?.removeEventListener('abort', stop);
    },
  };
}
