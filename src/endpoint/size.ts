/** Sizes in memory as people write them: `64k`, `1m`, a bare number of bytes. */

const units: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20 };

/** Bytes of `64k`, `1M` or `65536`; null for anything else. */
export function parseSize(text: string): number | null {
  const [, number, unit = ''] = /^([0-9]{1,12})([km]?)$/.exec(text.toLowerCase()) ?? [];
  return number === undefined ? null : Number(number) * units[unit]!;
}

/** The shortest text that `parseSize` reads as so many bytes. */
export function formatBytes(bytes: number): string {
  for (const unit of ['m', 'k']) if (bytes > 0 && bytes % units[unit]! === 0) return `${bytes / units[unit]!}${unit}`;
  return String(bytes);
}
