import { GraceError } from '../error.ts';
import { nearest } from '../nearest.ts';
import { maxTimerMs } from '../waiting.ts';

/**
 * What a caller passed is not what it can be: says which argument, what was expected and what came instead.
 *
 * @param where the function and the argument, `serve: options.stopTimeout`
 */
export function badArgument(where: string, expected: string, value: unknown, hint?: string): GraceError {
  return new GraceError(`${where}: expected ${expected}, not ${describeValue(value)}`, {
    code: 'ERR_GRACE_ARGUMENT',
    hint,
  });
}

/** An object with named properties; arrays and functions are none. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws GraceError when the options are not an object, or one of them has a name that is none of these. */
export function checkOptions(where: string, options: unknown, names?: readonly string[]): void {
  if (!isRecord(options)) throw badArgument(where, 'an object', options);
  if (names !== undefined) checkNames(where, options, names);
}

/** @throws GraceError when a property that is there has a name that is none of these: what is passed over without a word is taken for done. */
export function checkNames(where: string, options: object, names: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (names.includes(name)) continue;
    const meant = nearest(name, names);
    throw new GraceError(`${where}: there is no "${name}"`, {
      code: 'ERR_GRACE_ARGUMENT',
      hint: meant === undefined ? `those that there are: ${names.join(', ')}` : `did you mean "${meant}"?`,
    });
  }
}

/** @throws GraceError when a property that is there is no function. */
export function checkFunctions(where: string, options: object, names: readonly string[]): void {
  for (const name of names) {
    const value: unknown = Reflect.get(options, name);
    if (value !== undefined && typeof value !== 'function') throw badArgument(`${where}.${name}`, 'a function', value);
  }
}

/**
 * A time limit in milliseconds as a timer takes it; Infinity and what is longer than a timer can be (24 days) are the longest.
 *
 * @throws GraceError when it is no time.
 */
export function checkMilliseconds(where: string, value: unknown): number {
  if (typeof value === 'number' && value >= 0) return Math.min(value, maxTimerMs);
  throw badArgument(where, 'a number of milliseconds', value);
}

/** A value in a sentence: short ones as they are, others by their kind. */
function describeValue(value: unknown): string {
  if (typeof value === 'string') return value.length > 60 ? `"${value.slice(0, 60)}…"` : `"${value}"`;
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : 'an array';
  if (typeof value !== 'object' || value === null) return String(value);
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  if (typeof name !== 'string' || name === '' || name === 'Object') return 'an object';
  return `${/^[AEIOU]/i.test(name) ? 'an' : 'a'} ${name}`;
}
