import { getSystemErrorMap } from 'node:util';
import { errorCode, errorMessage } from '../error.ts';

/** Node makes the table anew for each who asks, which takes 40 µs. */
let known: ReturnType<typeof getSystemErrorMap> | null = null;
const systemErrors = () => (known ??= getSystemErrorMap());

/** Name of an error of the C library, `ECONNREFUSED`. */
export function codeOfErrno(errno: number): string {
  return systemErrors().get(-errno)?.[0] ?? `E${errno}`;
}

/** A system call that failed. The properties are those of Node's own system errors. */
export class SystemError extends Error {
  /** Name of the error, `EADDRINUSE`. */
  readonly code: string;
  /** Number of the error as Node has it: negative. */
  readonly errno: number;
  readonly syscall: string;

  /** @param errno positive, as the C library has it */
  constructor(errno: number, syscall: string) {
    const [code, text] = systemErrors().get(-errno) ?? [`E${errno}`, `error ${errno}`];
    super(`${syscall}: ${text} (${code})`);
    this.name = 'SystemError';
    this.code = code;
    this.errno = -errno;
    this.syscall = syscall;
  }
}

/** What an error code means in a few words, `address already in use`; the code itself when unknown. */
export function describeCode(code: string): string {
  for (const [name, text] of systemErrors().values()) if (name === code) return text;
  return code;
}

/** Why something failed, for people: of a system's error what its code means, `no space left on device (ENOSPC)`, without the call and its arguments. */
export function describeError(error: unknown): string {
  const code = errorCode(error);
  // Of a name no system call speaks: what Node says of it is the function that it has called.
  const text =
    code === undefined ? undefined : code === 'ENOTFOUND' ? 'the name cannot be resolved' : describeCode(code);
  return text === undefined || text === code ? errorMessage(error) : `${text} (${code})`;
}
