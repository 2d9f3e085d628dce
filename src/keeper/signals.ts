/** Which signals go through the keeper to a daemon, and to which one. */
import type { GenerationPhase } from './generations.ts';

/** Passed on to the daemon that serves. */
export const forwarded = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

/** A daemon that signals may go to. */
export type SignalTarget = {
  pid: number | null;
  phase: GenerationPhase;
  /**
   * Notifies it that the keeper was told to stop for the so many-th time. Absent where it listens to signals only,
   * and cannot tell one that the keeper passes on from one that came to all processes at once.
   */
  stop?: ((times: number) => void) | undefined;
};

/** Passes signals on to the daemon that serves, as soon as there is one. */
export class SignalRelay {
  readonly #daemons: () => Iterable<SignalTarget>;
  /** For the next daemon that serves. */
  readonly #pending: NodeJS.Signals[];
  /** How often this process was told to stop. */
  #stops = 0;

  /** `daemons` are those that live; `pending`, what an earlier image of this process had not passed on yet. */
  constructor(daemons: () => Iterable<SignalTarget>, pending: readonly NodeJS.Signals[]) {
    this.#daemons = daemons;
    this.#pending = [...pending];
  }

  /** A signal came that ends the daemon. */
  get isStopping(): boolean {
    return this.#stops > 0;
  }

  get pending(): readonly NodeJS.Signals[] {
    return this.#pending;
  }

  /** Pass a signal on, or keep it until a daemon serves. False when one that is to end them finds none. */
  pass(signal: NodeJS.Signals): boolean {
    const isEnd = signal === 'SIGTERM' || signal === 'SIGINT';
    if (isEnd) this.#stops++;
    return this.#pass(signal, isEnd);
  }

  #pass(signal: NodeJS.Signals, isEnd: boolean): boolean {
    const all = [...this.#daemons()];
    const target =
      all.find(({ phase }) => phase === 'serving') ??
      (isEnd ? all.find(({ phase, pid }) => phase === 'starting' && pid !== null) : undefined);
    if (isEnd && target?.stop) {
      target.stop(this.#stops);
      return true;
    }
    if (target?.pid) {
      try {
        process.kill(target.pid, signal);
      } catch {
        // It has just ended; its channel tells.
      }
      return true;
    }
    if (!isEnd && !this.#pending.includes(signal)) this.#pending.push(signal);
    return !isEnd;
  }

  /** A daemon serves: what has waited for that goes to it. */
  serving(): void {
    for (const signal of this.#pending.splice(0)) this.#pass(signal, false);
    if (this.#stops > 0) this.#pass('SIGTERM', true);
  }
}
