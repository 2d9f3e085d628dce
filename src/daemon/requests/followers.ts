/** The daemon that serves, as an older generation sees it: whoever follows what it says. */

/** So long after the last has gone another may come in its place, in milliseconds: one that crashed is started again. */
const leftAloneAfterMs = 15_000;

/** Counts those who follow, and says when nobody has for a while. */
export class Followers {
  readonly #leftAlone: () => void;
  #count = 0;
  #timer: NodeJS.Timeout | null = null;

  /** `leftAlone`: called when nobody follows any more, and nobody has come in time. */
  constructor(leftAlone: () => void) {
    this.#leftAlone = leftAlone;
  }

  /** Somebody follows, until what is returned is disposed of. */
  add(): Disposable {
    this.#count++;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    return { [Symbol.dispose]: () => this.#left() };
  }

  #left(): void {
    if (--this.#count === 0) this.#timer = setTimeout(this.#leftAlone, leftAloneAfterMs).unref();
  }
}
