import { oneLine } from './one-line.ts';

/**
 * What callers are expected to handle: an error with a sentence for the user, an optional second
 * sentence that says what to do next, and its kind.
 */
export type GraceErrorOptions = {
  /** A next step, shown on a line of its own. */
  hint?: string | undefined;
  /** For programs: a system error's own (`EADDRINUSE`), or one of ours, `ERR_GRACE_…`: kinds.ts, and README for those of the library. */
  code?: string | undefined;
  cause?: unknown;
};

/**
 * An error that a user can act on: one line that says what is wrong, and perhaps one that says what to do.
 * Everything else that is thrown is a fault of the program. What strangers wrote may be in either: whatever it is,
 * they are single lines of bounded length without control characters.
 */
export class GraceError extends Error {
  readonly hint: string | undefined;
  /** See {@link GraceErrorOptions}. Every error of the library has one. */
  readonly code: string | undefined;
  /** A command has printed it as JSON in words of its own. */
  isAnswered = false;

  constructor(message: string, { hint, code, cause }: GraceErrorOptions = {}) {
    super(oneLine(message), cause === undefined ? undefined : { cause });
    this.name = 'GraceError';
    this.hint = hint === undefined ? undefined : oneLine(hint);
    this.code = code;
  }
}

/** The `code` of a system error (`ECONNREFUSED`), or undefined. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** The sentence of an error; of an `AggregateError` with an empty message, those of its parts. */
export function errorMessage(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(errorMessage).join('; ');
  return error instanceof Error ? error.message : String(error);
}
