import { Backoff } from './backoff.ts';
import { isRunning } from '../sys/process.ts';
import type { Reaper } from './reaper.ts';
import type { SignalTarget } from './signals.ts';

/** How long the end of a process may be told after the end of its channel. */
const lastWordsMs = 30;

/** How long a process may take over its end once its channel has closed: the system is not always quick with that. */
const endingMs = 3000;

/** Between two starts when descriptors, processes or memory are short. */
const shortagePauseMs = 500;

/** What becomes of a daemon that ended. */
export type RestarterOptions = {
  reaper: Reaper;
  /** Start a daemon in place of one that ended so; its pid is null when it was never known. */
  start(how: string, pid: number | null): void;
  /** It lives, and has no channel to this keeper any more: two would serve if another were started. */
  rejoin(pid: number): void;
  /** There is no use in another start. */
  giveUp(how: string): void;
};

/** Decides when a daemon is started again in place of one that crashed, and finds out how that one ended. */
export class Restarter {
  readonly #options: RestarterOptions;
  readonly #backoff = new Backoff();
  #timer: NodeJS.Timeout | undefined;
  /** Whose end is to be told. */
  #pid: number | null = null;

  constructor(options: RestarterOptions) {
    this.#options = options;
  }

  /** Whether a start is to come. */
  get isPending(): boolean {
    return this.#timer !== undefined;
  }

  /** The daemon of which it is not known yet whether it ends, for signals. */
  get targets(): SignalTarget[] {
    return this.#pid !== null && isRunning(this.#pid) ? [{ pid: this.#pid, phase: 'serving' }] : [];
  }

  /** The daemon serves. */
  served(): void {
    this.#backoff.served();
  }

  /** The daemon is gone, and nobody serves; its pid is null when it was never known. */
  crashed(pid: number | null): void {
    const pauseMs = this.#backoff.crashed();
    const began = performance.now();
    this.#pid = pid;
    const look = () => {
      const { reaper } = this.#options;
      reaper.reap();
      const known = reaper.howEnded(pid);
      // How a child ended is told a moment after the end of its channel; how somebody else's did, never.
      if (pid !== null && known === undefined) {
        const limitMs = reaper.isAwaited(pid) || isRunning(pid) ? endingMs : lastWordsMs;
        if (performance.now() - began < (pauseMs ?? 0) + limitMs) {
          this.#timer = setTimeout(look, 2);
          return;
        }
      }
      this.cancel();
      if (pid !== null && known === undefined && isRunning(pid)) return this.#options.rejoin(pid);
      const how = `the daemon${pid === null ? '' : ` (pid ${pid})`} ${known ?? 'ended unexpectedly'}`;
      if (pauseMs === null) this.#options.giveUp(how);
      else this.#options.start(how, pid);
    };
    this.#timer = setTimeout(look, pauseMs ?? 0);
  }

  /** It cannot be started for want of something that may come back: it is tried again and again, and clients wait. */
  startLater(how: string): void {
    this.cancel();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#options.start(how, null);
    }, shortagePauseMs);
  }

  cancel(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#pid = null;
  }
}
