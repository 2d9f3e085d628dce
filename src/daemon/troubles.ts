import { describeError } from '../sys/system-error.ts';

/**
 * What a daemon goes on without: a log file, a pid file, a name in the state dir. A start needs them, and
 * serving does not, so that a disk which is full, read-only or gone costs nobody a connection. `status` tells.
 */
export class Troubles {
  readonly #texts = new Map<string, string>();
  readonly #report: (text: string) => void;

  /** `report` hears of each trouble once. */
  constructor(report: (text: string) => void) {
    this.#report = report;
  }

  /** A sentence each, in the order in which they came. */
  get texts(): string[] {
    return [...this.#texts.values()];
  }

  /** Do something that serving does not need. It is over with the first time that it works. */
  attempt(what: string, act: () => void): void {
    try {
      act();
      this.#texts.delete(what);
    } catch (error) {
      this.add(what, `${what}: ${describeError(error)}`);
    }
  }

  /** It is over. */
  remove(what: string): void {
    this.#texts.delete(what);
  }

  /** Something goes wrong, for this reason; null: it does no more. */
  set(what: string, why: string | null): void {
    if (why === null) this.remove(what);
    else this.add(what, `${what}: ${why}`);
  }

  add(what: string, text: string): void {
    const isNews = this.#texts.get(what) !== text;
    this.#texts.set(what, text);
    if (isNews) this.#report(text);
  }
}
