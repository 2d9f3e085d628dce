/** Largest unit first. */
const units = new Map([['h', 3_600_000], ['m', 60_000], ['s', 1000], ['ms', 1]]);

/** Longest duration, in ms: what the runtimes' timers can hold, nearly 25 days. */
export const longestDurationMs = 2 ** 31 - 1;

/** Milliseconds of `500ms`, `30s`, `5m`, `2h` or a bare number of seconds; null for anything else. */
export function parseDuration(text: string): number | null {
  const [, amount, unit = 's'] = /^([0-9]+)(ms|s|m|h)?$/.exec(text) ?? [];
  const unitMs = units.get(unit);
  return amount === undefined || unitMs === undefined ? null : Number(amount) * unitMs;
}

/** The text that `parseDuration` reads as so many whole milliseconds, in the largest unit that fits: `90s`, `2h`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  for (const [unit, unitMs] of units) {
    if (ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  }
  return `${ms}ms`;
}
