import ms from 'ms';
import { quoted } from '../endpoint/error.ts';
import { GraceError } from '../error.ts';

/** The longest wait that a timer of JavaScript can hold, some 24 days. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Milliseconds of a duration as users write it: `500ms`, `30s`, `5m`, `2h`, `1d`, fractions too, or
 * a bare number of seconds. Throws GraceError (exit code 2) that names the option for anything else.
 */
export function parseDuration(text: string, option: string): number {
  const written = /^[\d.]+$/.test(text) ? `${text}s` : text;
  if (!isDuration(written)) {
    throw new GraceError(`cannot read ${option} ${quoted(text)}: expected a duration`, {
      hint: 'a duration is 500ms, 30s, 5m, 2h, or a bare number of seconds',
      exitCode: 2,
    });
  }
  const durationMs = Math.round(ms(written));
  if (durationMs > longestTimerMs) {
    throw new GraceError(`cannot use ${option} ${quoted(text)}: the longest is 24 days`, { exitCode: 2 });
  }
  return durationMs;
}

/** ms by itself would take a sign, words, and years as well. */
function isDuration(text: string): text is ms.StringValue {
  return /^(\d+|\d*\.\d+)(ms|s|m|h|d)$/.test(text);
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
