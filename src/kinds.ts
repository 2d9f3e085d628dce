/**
 * Kinds of errors, as `code` of a GraceError has them, with the exit code that a command ends with. What has
 * no kind, or one that only the library's users care for, is a failure: exit code 1. One table, for the command
 * line, for what processes tell one another, and for README.
 */
import { GraceError } from './error.ts';

/** Exit codes of kinds that have one of their own. */
const exitCodes: Readonly<Record<string, number>> = {
  /** The command line is wrong. */
  ERR_GRACE_USAGE: 2,
  /** An endpoint is wrong, or what it names cannot be used. */
  ERR_GRACE_ENDPOINT: 2,
  /** An argument of a function is not what it takes. */
  ERR_GRACE_ARGUMENT: 2,
  ERR_GRACE_ADDRESS: 2,
  /** No daemon runs in the state dir (as the LSB has it for `status`). */
  ERR_GRACE_NO_DAEMON: 3,
  /** There is no such rule. */
  ERR_GRACE_NOT_FORWARDED: 4,
  /** The destination does not accept, or fails the check. */
  ERR_GRACE_NOT_ACCEPTED: 5,
  /** A time limit passed (as timeout(1) has it). */
  ERR_GRACE_TIMEOUT: 124,
};

/** The exit code that an error means for a command. */
export function exitCodeOf(error: unknown): number {
  return (error instanceof GraceError && error.code !== undefined && exitCodes[error.code]) || 1;
}

/** The kind that an exit code stands for in what an older process says; undefined for a mere failure. */
export function kindOfExitCode(exitCode: number): string | undefined {
  return Object.keys(exitCodes).find((kind) => exitCodes[kind] === exitCode);
}

/** Whether no daemon runs in the state dir that was asked. */
export function isNoDaemon(error: unknown): error is GraceError {
  return error instanceof GraceError && error.code === 'ERR_GRACE_NO_DAEMON';
}

/** Whether there is no such rule. */
export function isNotForwarded(error: unknown): error is GraceError {
  return error instanceof GraceError && error.code === 'ERR_GRACE_NOT_FORWARDED';
}
