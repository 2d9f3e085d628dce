/** Who hears of the ends of connections of one upstream. */
import type { ConnectionEnd, EndListener } from './engine.ts';

/** The listeners of one upstream. `changed` hears whether there are any, whenever that changes. */
export class EndListeners {
  readonly #listeners = new Set<EndListener>();
  readonly #changed: (isHeard: boolean) => void;

  constructor(changed: (isHeard: boolean) => void = () => {}) {
    this.#changed = changed;
  }

  /** Returns what takes the listener away; twice is fine. */
  add(listener: EndListener): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.#changed(true);
    return () => {
      if (this.#listeners.delete(listener) && this.#listeners.size === 0) this.#changed(false);
    };
  }

  tell(end: ConnectionEnd): void {
    for (const listener of this.#listeners) listener(end);
  }
}
