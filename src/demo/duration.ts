const MILLISECONDS = { ns: 1e-6, us: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** Longest time that a timer takes. */
const LONGEST_MS = 2 ** 31 - 1;

/** Milliseconds of `20s`, `1.5s`, `1m30s`, `500ms`, or a bare number of seconds; null for anything else. */
export function parseDuration(text: string): number | null {
  if (/^[0-9]+(\.[0-9]+)?$/.test(text)) return limit(Number(text) * 1000);
  if (!/^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$/.test(text)) return null;
  const parts = [...text.matchAll(/([0-9.]+)(ns|us|ms|s|m|h)/g)];
  return limit(
    parts.reduce((sum, [, value, unit]) => sum + Number(value) * MILLISECONDS[unit as keyof typeof MILLISECONDS], 0),
  );
}

function limit(milliseconds: number): number | null {
  return milliseconds <= LONGEST_MS ? milliseconds : null;
}
