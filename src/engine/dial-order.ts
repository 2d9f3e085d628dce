/** In which order the targets of a service are dialled (RFC 2782). */
import { HEAD_START_MS, PRIORITY_HEAD_START_MS } from './policy.ts';

/** A target of a service. Its addresses follow one another in a list of those of all targets; it has so many there. */
export type TargetPlan = { readonly priority: number; readonly weight: number; readonly addresses: number };

/** The index of an address in that list, and how long it is waited for before the next is tried beside it, in milliseconds. */
export type Turn = { readonly address: number; readonly headStartMs: number };

/** The share of a target with weight 0 among others, which is to be "very small". */
const SMALLEST_WEIGHT = 1 / 1000;

/**
 * An order for one dial: priorities from the lowest, and those of one drawn by their weights, without
 * the lean to the first that the sum of RFC 2782 has. `random` is that of Math.
 */
export function drawOrder(targets: readonly TargetPlan[], random: () => number = Math.random): Turn[] {
  let first = 0;
  const drawn = targets.map(({ priority, weight, addresses }) => {
    // The least of exponential times, each at the rate of its weight, is each one's by its share of the sum.
    const key = -Math.log(1 - random()) / (weight || SMALLEST_WEIGHT);
    const target = { priority, key, first, addresses };
    first += addresses;
    return target;
  });
  if (drawn.length > 1) drawn.sort((one, other) => one.priority - other.priority || one.key - other.key);
  return drawn.flatMap((target, position) => {
    const isLast = drawn[position + 1]?.priority !== target.priority;
    return Array.from({ length: target.addresses }, (_, index) => ({
      address: target.first + index,
      headStartMs: isLast && index === target.addresses - 1 ? PRIORITY_HEAD_START_MS : HEAD_START_MS,
    }));
  });
}
