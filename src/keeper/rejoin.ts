/** How a keeper comes back to a daemon that lives, and whose channel to it has been lost. */
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage } from '../error.ts';
import { statePaths } from '../control/paths.ts';
import { hasLinuxCalls, isRunning } from '../sys/process.ts';
import { TimeLimit, nextPause } from '../waiting.ts';
import type { PauseRange } from '../waiting.ts';
import type { Attached, Refused } from './attach.ts';
import { closeChannelEnd } from './channel.ts';
import type { Reaper } from './reaper.ts';
import { findServing } from './serving.ts';
import type { SignalTarget } from './signals.ts';

/** How long a daemon may take over its answer, in milliseconds. */
const answerTimeoutMs = 3000;

/** Between two attempts, and between two looks whether the daemon lives, in milliseconds. */
const pausesMs: PauseRange = { first: 10, max: 1000 };
const lookMs = 100;

/** So often a daemon may say that it has another keeper, or wants none; the end of the old channel may be news to it still. */
const maxRefusals = 10;

/** What becomes of the daemon. */
export type RejoinOptions = {
  dir: string;
  reaper: Reaper;
  /** For people. */
  print(text: string): void;
  /** It, or another one that serves in its place by now, has this keeper again. The end is the receiver's, which throws when it cannot use it. */
  joined(attached: Attached): void;
  /** It has ended. */
  ended(pid: number): void;
  /** It does not want this keeper. */
  refused(): void;
};

/**
 * Asks a daemon again and again to have this process as its keeper: as long as it lives, unless it says no. Another one must
 * not be started meanwhile, since this keeper would pass the lock of the state dir to it, and both would serve.
 */
export class Rejoin {
  readonly #options: RejoinOptions;
  #pid: number | null = null;
  #over = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RejoinOptions) {
    this.#options = options;
  }

  get isPending(): boolean {
    return this.#pid !== null;
  }

  /** The daemon, for signals, which reach it without a channel too. */
  get targets(): SignalTarget[] {
    return this.#pid === null ? [] : [{ pid: this.#pid, phase: 'serving' }];
  }

  /** This daemon lives, serves or is about to, and has no channel to this process. */
  begin(pid: number): void {
    this.cancel();
    this.#over = new AbortController();
    this.#pid = pid;
    this.#timer = setInterval(() => this.#look(pid), lookMs);
    void this.#tryAgainAndAgain(pid, this.#over.signal);
  }

  cancel(): void {
    clearInterval(this.#timer);
    this.#pid = null;
    this.#over.abort(new Error('nobody is waited for'));
  }

  /** One that this process cannot wait for has no event that tells of its end. */
  #look(pid: number): void {
    this.#options.reaper.reap();
    if (isRunning(pid)) return;
    this.#finish(() => this.#options.ended(pid));
  }

  async #tryAgainAndAgain(pid: number, over: AbortSignal): Promise<void> {
    let [refusals, pauseMs, isTold] = [0, 0, false];
    const its = `the daemon (pid ${pid}) lives, and`;
    while (!over.aborted) {
      try {
        const answer = await this.#attach(over);
        if (over.aborted) return void (answer && 'end' in answer && closeChannelEnd(answer.end));
        if (answer && 'end' in answer) {
          this.#options.joined(answer);
          return this.cancel();
        }
        if (answer && ++refusals === maxRefusals) {
          const why = errorMessage(answer.refusal);
          this.#options.print(`${its} has lost touch with this keeper, which leaves it to the next one: ${why}`);
          return this.#finish(() => this.#options.refused());
        }
      } catch (error) {
        if (!over.aborted && !isTold)
          this.#options.print(
            `${its} cannot be kept for the moment: ${errorMessage(error)}; it is tried again and again`,
          );
        isTold = true;
      }
      pauseMs = nextPause(pauseMs, pausesMs);
      await delay(pauseMs, undefined, { signal: over }).catch(() => {}); // it is over
    }
  }

  #finish(tell: () => void): void {
    this.cancel();
    tell();
  }

  /** Null when nobody serves yet. */
  async #attach(over: AbortSignal): Promise<Attached | Refused | null> {
    const { dir } = this.#options;
    // The queue of a daemon that ended takes connections as long as this process holds a copy of its socket, and nobody answers.
    if (hasLinuxCalls && findServing(statePaths(dir).socket) === null) return null;
    const { attachToDaemon } = await import('./attach.ts');
    using limit = new TimeLimit(answerTimeoutMs, new Error('it does not answer'));
    return await attachToDaemon(dir, AbortSignal.any([over, limit.signal]));
  }
}
