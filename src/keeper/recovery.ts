/** What a keeper does when no daemon that it hears serves: it comes back to one that lives, or starts another. */
import { existsSync } from 'node:fs';
import { statePaths } from '../control/paths.ts';
import type { StatePaths } from '../control/paths.ts';
import { errorMessage } from '../error.ts';
import { isRunning } from '../sys/process.ts';
import type { Attached } from './attach.ts';
import { isShortage } from './child.ts';
import type { Generation } from './generations.ts';
import type { Reaper } from './reaper.ts';
import { Rejoin } from './rejoin.ts';
import { Restarter } from './restarter.ts';
import { findServing } from './serving.ts';
import type { SignalRelay, SignalTarget } from './signals.ts';

/** What is done about it. */
export type RecoveryOptions = {
  dir: string;
  reaper: Reaper;
  signals: () => SignalRelay;
  /** Whether a daemon has served yet. */
  hasServed(): boolean;
  /** Start a daemon in place of one that ended so. Throws what there is too little of. */
  start(how: string): void;
  /** A daemon that lives has this keeper again. The end is the receiver's. */
  joined(attached: Attached): void;
  /** There is no use in another start. */
  giveUp(how: string): void;
  /** This process has nothing left to do. */
  finish(code: number): void;
  /** For people; `isTrouble`: to be told of a process in the background too. */
  print(text: string, options: { isTrouble: boolean }): void;
};

/**
 * Never starts a daemon beside one that lives: this process would pass the lock of the state dir on, and both would serve.
 */
export class Recovery {
  readonly #options: RecoveryOptions;
  readonly #paths: StatePaths;
  readonly #restarter: Restarter;
  readonly #rejoin: Rejoin;
  /** Daemons that are known to have ended since one served: other processes may have their pids by now. */
  readonly #gone = new Set<number>();
  /** The last start failed for want of something that may come back. */
  #isShort = false;

  constructor(options: RecoveryOptions) {
    const { dir, reaper } = (this.#options = options);
    this.#paths = statePaths(dir);
    this.#restarter = new Restarter({
      reaper,
      start: (how, pid) => {
        if (pid !== null) this.#gone.add(pid);
        if (!this.#isShort) this.#options.print(`${how}; starting it again`, { isTrouble: false });
        this.#startAgain(how);
      },
      rejoin: (pid) => this.#rejoin.begin(pid),
      giveUp: (how) => this.#giveUp(`${how}, as it did at each of the last starts`),
    });
    this.#rejoin = new Rejoin({
      dir,
      reaper,
      print: (text) => this.#options.print(text, { isTrouble: true }),
      joined: (attached) => this.#options.joined(attached),
      ended: (pid) => this.#loseUnheard(pid),
      refused: () => this.#options.finish(1),
    });
  }

  /** Whether something is under way. */
  get isPending(): boolean {
    return this.#restarter.isPending || this.#rejoin.isPending;
  }

  /** Daemons that are not heard, and that signals reach all the same. */
  get targets(): SignalTarget[] {
    return [...this.#restarter.targets, ...this.#rejoin.targets];
  }

  /** A daemon serves. */
  served(): void {
    this.#gone.clear();
    this.#isShort = false;
    this.#restarter.served();
  }

  /** Nobody serves: this daemon is gone, or was replaced by one that is not heard. Undefined: there was none. */
  begin(lost: Pick<Generation, 'pid' | 'phase' | 'successor' | 'shortage'> | undefined): void {
    const successor = lost?.successor ?? null;
    if (successor !== null && isRunning(successor)) return this.#comeBack(successor);
    const pid = (lost?.phase === 'replaced' ? successor : lost?.pid) ?? null;
    // One that lives may not have heard that it is to stop.
    if (this.#isStopping && (pid === null || !isRunning(pid))) this.#options.finish(0);
    else if (lost?.shortage && this.#options.hasServed()) this.#waitFor(lost.shortage, 'the daemon ended');
    else this.#restarter.crashed(pid);
  }

  cancel(): void {
    this.#restarter.cancel();
    this.#rejoin.cancel();
  }

  get #isStopping(): boolean {
    return this.#options.signals().isStopping;
  }

  /** This daemon lives, and has not been told what this process was. */
  #comeBack(pid: number): void {
    this.#rejoin.begin(pid);
    this.#options.signals().serving();
  }

  /** A daemon without a channel is gone. It takes its control socket away when it was to end, and cannot when it crashes. */
  #loseUnheard(pid: number): void {
    const wasMeant = existsSync(this.#paths.dir) && !existsSync(this.#paths.socket);
    if (wasMeant || this.#isStopping) this.#options.finish(0);
    else this.#restarter.crashed(pid);
  }

  /** In place of one that has served: clients wait in the queues, so that a shortage is waited for. */
  #startAgain(how: string): void {
    if (this.#isStopping) return this.#options.finish(0);
    try {
      // A daemon without a channel may have been replaced; also those of earlier versions do not say by whom.
      const other = findServing(this.#paths.socket);
      if (other !== null && !this.#gone.has(other)) this.#comeBack(other);
      else this.#options.start(how);
    } catch (error) {
      if (this.#options.hasServed() && isShortage(error)) this.#waitFor(error, how);
      else this.#giveUp(`${how}, and cannot be started again: ${errorMessage(error)}`);
    }
  }

  #waitFor(error: unknown, how: string): void {
    const text = `${how}, and cannot be started for the moment: ${errorMessage(error)}; it is tried again and again`;
    if (!this.#isShort) this.#options.print(text, { isTrouble: true });
    this.#isShort = true;
    this.#restarter.startLater(how);
  }

  #giveUp(how: string): void {
    if (this.#isStopping) this.#options.finish(0);
    else this.#options.giveUp(how);
  }
}
