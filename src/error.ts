/**
 * What callers are expected to handle: an error with a sentence for the user, an optional second
 * sentence that says what to do next, and the exit code it means for a command.
 */
export type GraceErrorOptions = {
  /** A next step, shown on a line of its own. */
  hint?: string | undefined;
  /** Exit code of the command line: 1 failed, 2 bad input, 3 no daemon, 4 not forwarded, 5 the destination does not accept, 124 timed out. Default 1. */
  exitCode?: number | undefined;
  /** For programs: a system error's own (`EADDRINUSE`), or one of the library's `ERR_GRACE_…`, which README lists. */
  code?: string | undefined;
  cause?: unknown;
};

/**
 * An error that a user can act on: one line that says what is wrong, and perhaps one that says what to do.
 * Everything else that is thrown is a fault of the program.
 */
export class GraceError extends Error {
  readonly hint: string | undefined;
  readonly exitCode: number;
  /** See {@link GraceErrorOptions}. Every error of the library has one. */
  readonly code: string | undefined;
  /** A command has printed it as JSON in words of its own. */
  isAnswered = false;

  constructor(message: string, { hint, exitCode = 1, code, cause }: GraceErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'GraceError';
    this.hint = hint;
    this.exitCode = exitCode;
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
