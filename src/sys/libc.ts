import { isDarwin } from './constants.ts';
import { openFunctions } from './library.ts';
import type { CFunctions, Memory } from './c-types.ts';
import { SystemError } from './system-error.ts';

/** Every function of the C library that is called in grace, but for the native engine's own. */
const everywhere = {
  socket: { args: ['i32', 'i32', 'i32'], result: 'i32' },
  bind: { args: ['i32', 'bytes', 'u32'], result: 'i32' },
  listen: { args: ['i32', 'i32'], result: 'i32' },
  connect: { args: ['i32', 'bytes', 'u32'], result: 'i32' },
  accept: { args: ['i32', 'bytes', 'bytes'], result: 'i32' },
  getsockname: { args: ['i32', 'bytes', 'bytes'], result: 'i32' },
  getpeername: { args: ['i32', 'bytes', 'bytes'], result: 'i32' },
  getsockopt: { args: ['i32', 'i32', 'i32', 'bytes', 'bytes'], result: 'i32' },
  setsockopt: { args: ['i32', 'i32', 'i32', 'bytes', 'u32'], result: 'i32' },
  shutdown: { args: ['i32', 'i32'], result: 'i32' },
  socketpair: { args: ['i32', 'i32', 'i32', 'bytes'], result: 'i32' },
  // The length that these two return is far below 2^31, so its lower half is all of it.
  sendmsg: { args: ['i32', 'bytes', 'i32'], result: 'i32' },
  recvmsg: { args: ['i32', 'bytes', 'i32'], result: 'i32' },
  close: { args: ['i32'], result: 'i32' },
  fchmod: { args: ['i32', 'u32'], result: 'i32' },
  dup2: { args: ['i32', 'i32'], result: 'i32' },
  poll: { args: ['bytes', 'u64', 'i32'], result: 'i32' },
  flock: { args: ['i32', 'i32'], result: 'i32' },
  getrlimit: { args: ['i32', 'bytes'], result: 'i32' },
  setrlimit: { args: ['i32', 'bytes'], result: 'i32' },
  waitpid: { args: ['i32', 'bytes', 'i32'], result: 'i32' },
  waitid: { args: ['i32', 'u32', 'bytes', 'i32'], result: 'i32' },
  pthread_sigmask: { args: ['i32', 'bytes', 'bytes'], result: 'i32' },
  execve: { args: ['bytes', 'bytes', 'bytes'], result: 'i32' },
  _exit: { args: ['i32'], result: 'i32' },
} as const;

const onLinux = {
  ...everywhere,
  accept4: { args: ['i32', 'bytes', 'bytes', 'i32'], result: 'i32' },
  dup3: { args: ['i32', 'i32', 'i32'], result: 'i32' },
  fcntl: { args: ['i32', 'i32', 'i64'], result: 'i32' },
  open: { args: ['bytes', 'i32', 'i64'], result: 'i32' },
  memfd_create: { args: ['bytes', 'u32'], result: 'i32' },
  // Sizes stay far below 2^32, so the lower half is all of them.
  write: { args: ['i32', 'bytes', 'u32'], result: 'i32' },
  pread: { args: ['i32', 'bytes', 'u32', 'i64'], result: 'i32' },
  syscall: { args: ['i64', 'i64', 'i64', 'i64', 'i64'], result: 'i64' },
  prctl: { args: ['i32', 'u64', 'u64', 'u64', 'u64'], result: 'i32' },
  initgroups: { args: ['bytes', 'u32'], result: 'i32' },
  setgroups: { args: ['u64', 'bytes'], result: 'i32' },
  setresgid: { args: ['u32', 'u32', 'u32'], result: 'i32' },
  setresuid: { args: ['u32', 'u32', 'u32'], result: 'i32' },
  __errno_location: { args: [], result: 'u64' },
} as const;

const onDarwin = {
  ...everywhere,
  // Apple's arm64 passes variadic arguments on the stack: six more fill the argument registers, so
  // that the ninth lies where the third is looked for. x64 looks in the third register as usual.
  fcntl: { args: ['i32', 'i32', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64'], result: 'i32' },
  open: { args: ['bytes', 'i32', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64', 'i64'], result: 'i32' },
  __error: { args: [], result: 'u64' },
} as const;

type Everywhere = CFunctions<typeof everywhere>;

/** The C library as grace calls it: -1 means failure, and `errno()` why, until the next call. */
export type Libc = Everywhere & {
  readonly fcntl: (fd: number, command: number, argument: bigint) => number;
  /** `path` ends with NUL. */
  readonly open: (path: Uint8Array, flags: number, mode: bigint) => number;
  /** Linux only; null elsewhere. */
  readonly linux: CFunctions<typeof onLinux> | null;
  readonly memory: Memory;
  /** The calling thread's errno, to be read before anything else is called. */
  readonly errno: () => number;
};

let opened: Libc | undefined;

/**
 * The C library, bound at the first call and once a thread.
 *
 * @throws GraceError when the runtime cannot call it.
 */
export function libc(): Libc {
  opened ??= isDarwin ? openDarwin() : openLinux();
  return opened;
}

function openLinux(): Libc {
  const { functions, memory } = openFunctions(onLinux);
  return { ...functions, linux: functions, memory, errno: memory.int32At(functions.__errno_location()) };
}

function openDarwin(): Libc {
  const { functions, memory } = openFunctions(onDarwin);
  return {
    ...functions,
    fcntl: (fd, command, argument) => functions.fcntl(fd, command, argument, 0n, 0n, 0n, 0n, 0n, argument),
    open: (path, flags, mode) => functions.open(path, flags, mode, 0n, 0n, 0n, 0n, 0n, mode),
    linux: null,
    memory,
    errno: memory.int32At(functions.__error()),
  };
}

/** The result of a call as it is, or a SystemError made of errno when it is -1. */
export function check(result: number, syscall: string): number {
  if (result !== -1) return result;
  throw new SystemError(libc().errno(), syscall);
}

/** The functions that only Linux has. Throws SystemError ENOSYS elsewhere. */
export function linuxOnly(syscall: string): CFunctions<typeof onLinux> {
  const { linux } = libc();
  if (linux === null) throw new SystemError(isDarwin ? 78 : 38, syscall);
  return linux;
}
