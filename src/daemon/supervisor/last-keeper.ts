import { isRunning } from '../../sys/process.ts';
import { goneWithin } from '../../waiting.ts';

/** How long the process of a keeper may be there after its channel has closed, in milliseconds. */
const endingMs = 3000;

/** The keeper that this daemon had last, or its predecessor: it may live when the channel to it is lost. */
export class LastKeeper {
  #pid: number | null = null;

  /** The pid of that keeper; null when there was none, or it has ended. */
  get living(): number | null {
    return this.#pid !== null && isRunning(this.#pid) ? this.#pid : null;
  }

  /** This is the keeper now. */
  is(pid: number): void {
    this.#pid = pid;
  }

  /** The predecessor had this keeper, or none; what it said itself counts more. */
  was(pid: number | null): void {
    this.#pid ??= pid;
  }

  /** Its channel has closed: mostly because it ends, and then another process may have its pid one day. */
  async lost(): Promise<void> {
    const pid = this.#pid;
    if (pid !== null && (await goneWithin(pid, endingMs)) && this.#pid === pid) this.#pid = null;
  }
}
