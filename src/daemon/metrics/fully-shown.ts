import type { SourceCounts } from '../../control/shapes.ts';

/** Of so many sources all numbers are shown from the start, as Prometheus wants it, so that a rate sees the first of each kind. */
const maxSources = 100;

/**
 * Which sources are shown with all numbers, also those that are 0: the first hundred. Of others a number is shown once
 * it is not 0, since thousands of rules have hundreds of thousands of zeros. A source that was shown in full stays so.
 */
export class FullyShown {
  readonly #keys = new Set<string>();

  /** The keys of such sources among these. */
  among(sources: readonly Pick<SourceCounts, 'key'>[]): ReadonlySet<string> {
    const there = new Set(sources.map(({ key }) => key));
    for (const key of this.#keys) if (!there.has(key)) this.#keys.delete(key);
    for (const key of there) {
      if (this.#keys.size >= maxSources) break;
      this.#keys.add(key);
    }
    return this.#keys;
  }
}
