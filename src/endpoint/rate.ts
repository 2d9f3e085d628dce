/** How often something may happen: `50/s`, `100/m`, with `burst=` how many at once. */

/** So many in so many milliseconds, evenly; at once as many as `burst`. */
export type Rate = { readonly count: number; readonly perMs: number; readonly burst: number };

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };
const maxCount = 1_000_000;

/** `50/s` or `50/s:burst=100` (without a burst, as many at once as in a unit of time); null for anything else. */
export function parseRate(text: string): Rate | null {
  const [, count, unit = '', burst = count] = /^([0-9]{1,7})\/(s|m|h)(?::burst=([0-9]{1,7}))?$/.exec(text) ?? [];
  const perMs = units[unit];
  const rate = perMs === undefined ? null : { count: Number(count), perMs, burst: Number(burst) };
  const isSane = (number: number) => number >= 1 && number <= maxCount;
  return rate !== null && isSane(rate.count) && isSane(rate.burst) ? rate : null;
}

/** The text that `parseRate` reads as this rate. */
export function formatRate({ count, perMs, burst }: Rate): string {
  const [unit = 's'] = Object.entries(units).find(([, ms]) => ms === perMs) ?? [];
  return burst === count ? `${count}/${unit}` : `${count}/${unit}:burst=${burst}`;
}
