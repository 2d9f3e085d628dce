import { maxDurationMs, parseDuration } from '../endpoint/duration.ts';
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';

/**
 * Milliseconds of a duration as users write it: `500ms`, `30s`, `5m`, `2h`, `1d`, fractions, several
 * units together, or a bare number of seconds. Throws GraceError (exit code 2) that names the option
 * for anything else.
 */
export function parseDurationOption(text: string, option: string): number {
  const durationMs = parseDuration(text);
  if (durationMs === null) {
    throw new GraceError(`cannot read ${option} ${quoted(text)}: expected a duration`, {
      hint: 'a duration is 500ms, 30s, 5m, 2h, 1m30s, or a bare number of seconds',
      code: 'ERR_GRACE_USAGE',
    });
  }
  if (durationMs > maxDurationMs) {
    throw new GraceError(`cannot use ${option} ${quoted(text)}: the longest is 24 days`, { code: 'ERR_GRACE_USAGE' });
  }
  return durationMs;
}

const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** A duration for people, in its two largest units: `3d 4h`, `2m 5s`, `800ms`. */
export function formatDuration(durationMs: number): string {
  if (durationMs < 1000) return `${Math.round(durationMs)}ms`;
  const parts: string[] = [];
  let left = Math.floor(durationMs / 1000) * 1000;
  for (const [unit, unitMs] of units) {
    const count = Math.floor(left / unitMs);
    left -= count * unitMs;
    if (count > 0) parts.push(`${count}${unit}`);
    else if (parts.length > 0) break;
  }
  return parts.slice(0, 2).join(' ');
}

/** A duration for people, in its largest unit alone: `3d`, `2m`, `800ms`. */
export function formatShortly(durationMs: number): string {
  return formatDuration(durationMs).split(' ')[0]!;
}

/** A duration for people, all of it: `1.5s`, `1m 30s`, `500ms`, `1d 2h 3m 4s`. */
export function formatExactly(durationMs: number): string {
  if (durationMs < 1000) return `${Math.round(durationMs)}ms`;
  const parts: string[] = [];
  let left = Math.round(durationMs);
  for (const [unit, unitMs] of units) {
    const count = unit === 's' ? left / unitMs : Math.floor(left / unitMs);
    left -= count * unitMs;
    if (count > 0) parts.push(`${count}${unit}`);
  }
  return parts.join(' ');
}
