import { descriptorReserve, LIMIT_LOOK_MS, scarceDescriptors } from './policy.ts';

/** How many descriptors there may be, and what follows from it. The limit may be changed while the process runs (prlimit(1)). */
export class DescriptorLimit {
  readonly #read: () => number;
  #lookAt = -Infinity;
  #current = NaN;
  /** Connections leave free what is beyond. Infinity: there is no limit. */
  bound = 0;
  /** From so many descriptors on, a source with more than `few` connections leaves the rest to others. */
  scarce = { from: 0, few: 0 };

  /** @param read says how many there may be */
  constructor(read: () => number) {
    this.#read = read;
  }

  /** Read it again, unless that was a moment ago; `now` is in milliseconds. Returns whether it is another one. */
  look(now: number): boolean {
    if (now < this.#lookAt) return false;
    this.#lookAt = now + LIMIT_LOOK_MS;
    const limit = this.#read();
    if (limit === this.#current) return false;
    this.#current = limit;
    this.bound = limit - descriptorReserve(limit);
    this.scarce = scarceDescriptors(limit);
    return true;
  }
}
