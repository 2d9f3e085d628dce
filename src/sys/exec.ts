import { constants } from 'node:os';
import { isDarwin } from './constants.ts';
import { isOpenFd, setCloseOnExec } from './descriptor.ts';
import { check, libc } from './libc.ts';

/** How pthread_sigmask(3) is to use the set. */
const SIG_BLOCK = isDarwin ? 1 : 0;
const SIG_UNBLOCK = isDarwin ? 2 : 1;

/** Size of the largest `sigset_t`, glibc's; signal n is bit n - 1. */
const SIGNAL_SET_SIZE = 128;

/**
 * Become another program: same process id, same parent, same children; open are the standard
 * streams and the descriptors that are not close-on-exec. Does not return. No exit handler runs.
 *
 * libc's own function instead of `process.execve`, which ends the process when the program cannot be
 * run, and which Deno lacks.
 *
 * @param argv with the name of the program first; a text goes as UTF-8
 * @param env replaces the environment, `NAME=value` each
 * @throws SystemError ENOENT, EACCES, ENOEXEC (of another architecture, or no program) and others; the
 * process is as it was.
 */
export function execute(file: string, argv: readonly Text[], env: readonly Text[]): never {
  const { execve } = libc();
  // The runtimes make their standard streams close-on-exec.
  for (const fd of [0, 1, 2]) if (isOpenFd(fd)) setCloseOnExec(fd, false);
  const path = cString(file);
  const args = new CStrings(argv);
  const envp = new CStrings(env);
  check(execve(path, args.pointers, envp.pointers), 'execve');
  throw new TypeError('execve returned');
}

/** A string, or its bytes. */
type Text = string | Uint8Array;

/** The variables of an environment as {@link execute} takes them. */
export function environmentList(env: Readonly<Record<string, string | undefined>>): string[] {
  return Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
}

/** An array of C strings that ends with NULL; the strings live as long as the object. */
class CStrings {
  readonly pointers: Uint8Array;
  readonly #strings: readonly Uint8Array[];

  constructor(texts: readonly Text[]) {
    this.#strings = texts.map(cString);
    const { addressOf } = libc().memory;
    this.pointers = new Uint8Array(new BigUint64Array([...this.#strings.map(addressOf), 0n]).buffer);
  }
}

function cString(text: Text): Uint8Array {
  const given = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  if (given.includes(0)) throw new RangeError('a C string cannot hold a NUL');
  const bytes = new Uint8Array(new ArrayBuffer(given.length + 1));
  bytes.set(given);
  return bytes;
}

/**
 * Hold signals to this thread back, or let them come. What is held back while another program is
 * executed comes when that one lets it: neither it nor its default, to end the process, is missed.
 */
export function holdSignals(names: readonly NodeJS.Signals[], isHeld: boolean): void {
  const set = new Uint8Array(new ArrayBuffer(SIGNAL_SET_SIZE));
  for (const name of names) {
    const bit = constants.signals[name] - 1;
    set[bit >> 3] = (set[bit >> 3] ?? 0) | (1 << (bit & 7));
  }
  check(libc().pthread_sigmask(isHeld ? SIG_BLOCK : SIG_UNBLOCK, set, null) === 0 ? 0 : -1, 'pthread_sigmask');
}
