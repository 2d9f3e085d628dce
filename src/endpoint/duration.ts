/** Largest unit first. */
const units = new Map([
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]);

/** Longest duration, in ms: what the runtimes' timers can hold, nearly 25 days; setTimeout fires at once for anything longer. */
export const maxDurationMs = 2 ** 31 - 1;

const amount = String.raw`([0-9]+|[0-9]*\.[0-9]+)`;
const bare = new RegExp(`^${amount}$`);
/** Each unit at most once, the largest first. */
const written = new RegExp(`^${[...units.keys()].map((unit) => `(?:${amount}${unit})?`).join('')}$`);

/**
 * Milliseconds of `500ms`, `30s`, `5m`, `2h`, `1d`, of a fraction (`1.5s`), of several of them together
 * (`1m30s`), or of a bare number of seconds; null for anything else. Whole: rounded to the nearest.
 */
export function parseDuration(text: string): number | null {
  const seconds = bare.exec(text);
  if (seconds) return Math.round(Number(seconds[1]) * 1000);
  const parts = written.exec(text);
  if (text === '' || !parts) return null;
  return Math.round(
    [...units.values()].reduce((sum, unitMs, index) => sum + Number(parts[index + 1] ?? 0) * unitMs, 0),
  );
}

/** The text that `parseDuration` reads as so many whole milliseconds, in the largest unit that fits: `90s`, `2h`. */
export function printDuration(ms: number): string {
  if (ms === 0) return '0s';
  for (const [unit, unitMs] of units) {
    if (unit !== 'd' && ms % unitMs === 0) return `${ms / unitMs}${unit}`;
  }
  return `${ms}ms`;
}
