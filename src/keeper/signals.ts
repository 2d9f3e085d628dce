/** Which signals go through the keeper to a daemon, and to which one. */
import type { Phase } from './become.ts';

/** Passed on to the daemon that serves. */
export const forwarded = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

export type Target = { pid: number | null; phase: Phase };

/** Passes signals on to the daemon that serves, as soon as there is one. */
export class SignalRelay {
  readonly #daemons: () => Iterable<Target>;
  /** For the next daemon that serves. */
  readonly #pending: NodeJS.Signals[];
  #isStopping = false;

  /** `daemons` are those that live; `pending`, what an earlier image of this process had not passed on yet. */
  constructor(daemons: () => Iterable<Target>, pending: readonly NodeJS.Signals[]) {
    this.#daemons = daemons;
    this.#pending = [...pending];
  }

  /** A signal came that ends the daemon. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  get pending(): readonly NodeJS.Signals[] {
    return this.#pending;
  }

  /** Pass a signal on, or keep it until a daemon serves. False when one that is to end them finds none. */
  pass(signal: NodeJS.Signals): boolean {
    const isEnd = signal === 'SIGTERM' || signal === 'SIGINT';
    if (isEnd) this.#isStopping = true;
    const all = [...this.#daemons()];
    const target = all.find(({ phase }) => phase === 'serving') ?? (isEnd ? all.find(({ phase, pid }) => phase === 'starting' && pid !== null) : undefined);
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
    for (const signal of this.#pending.splice(0)) this.pass(signal);
    if (this.#isStopping) this.pass('SIGTERM');
  }
}
