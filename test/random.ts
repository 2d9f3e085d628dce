/** Numbers that look random and are the same in every run: mulberry32. */
export type Random = {
  /** A whole number from 0, less than `limit`. */
  below: (limit: number) => number;
  pick: <T>(items: readonly T[]) => T;
  chance: (probability: number) => boolean;
  /** Up to `longest` of the items, repeated at will, in one text. */
  text: (items: readonly string[], longest: number) => string;
};

/** Numbers from 0 to less than 1. */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function seededRandom(seed: number): Random {
  const next = randomNumbers(seed);
  const below = (limit: number) => Math.floor(next() * limit);
  const pick = <T>(items: readonly T[]): T => {
    const item = items[below(items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  };
  return {
    below,
    pick,
    chance: (probability) => next() < probability,
    text: (items, longest) => Array.from({ length: below(longest + 1) }, () => pick(items)).join(''),
  };
}
