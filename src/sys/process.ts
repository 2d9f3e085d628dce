import fs from 'node:fs';
import { errorCode } from '../error.ts';
import { C, isDarwin, PR_SET_CHILD_SUBREAPER, PR_SET_NAME, WNOHANG } from './constants.ts';
import { check, libc, linuxOnly } from './libc.ts';

/** Name of the calling thread as ps and top show it, 15 bytes at most. Linux only. */
export function setThreadName(name: string): void {
  const bytes = new Uint8Array(new ArrayBuffer(16));
  bytes.set(new TextEncoder().encode(name).subarray(0, 15));
  check(linuxOnly('prctl').prctl(PR_SET_NAME, libc().memory.addressOf(bytes), 0n, 0n, 0n), 'prctl');
}

/** Whether orphaned descendants become this process's children, to be reaped by it. Linux only. */
export function setChildSubreaper(on: boolean): void {
  check(linuxOnly('prctl').prctl(PR_SET_CHILD_SUBREAPER, on ? 1n : 0n, 0n, 0n, 0n), 'prctl');
}

/** Most descriptors this process may hold: the limit in force, and how far it may be raised. */
export type FdLimit = { soft: bigint; hard: bigint };

/** The limits of open descriptors (RLIMIT_NOFILE) of this process. */
export function fdLimit(): FdLimit {
  const limit = new BigUint64Array(2);
  check(libc().getrlimit(C.RLIMIT_NOFILE, new Uint8Array(limit.buffer)), 'getrlimit');
  const [soft = 0n, hard = 0n] = limit;
  return { soft, hard };
}

/** Set both. Throws EPERM above the hard limit, EINVAL for a soft one above the hard one. */
export function setFdLimit({ soft, hard }: FdLimit): void {
  check(libc().setrlimit(C.RLIMIT_NOFILE, new Uint8Array(new BigUint64Array([soft, hard]).buffer)), 'setrlimit');
}

/** RLIMIT_CPU and others of getrlimit(2) on Linux. */
const limits = { cpu: 0, fileSize: 1, data: 2, processes: 6, memory: 9 } as const;
/** Those that may be lifted altogether by whoever may lift a hard limit. */
const liftable: readonly string[] = ['cpu', 'fileSize'];
const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;

/** Raise a limit of this process and its children as far as it may: to the hard one, or CPU time and file size off. Linux only. */
export function liftLimit(name: keyof typeof limits): void {
  const limit = new BigUint64Array(2);
  check(libc().getrlimit(limits[name], new Uint8Array(limit.buffer)), 'getrlimit');
  const [soft = 0n, hard = 0n] = limit;
  if (soft === RLIM_INFINITY) return;
  const set = (to: bigint) => libc().setrlimit(limits[name], new Uint8Array(new BigUint64Array([to, to]).buffer));
  if (liftable.includes(name) && set(RLIM_INFINITY) === 0) return;
  if (soft !== hard) check(set(hard), 'setrlimit');
}

/** _exit(2): end the process without another word, whatever its threads are doing. Does not return. */
export function exitAtOnce(code: number): void {
  libc()._exit(code);
}

/** How a child ended: one of code and signal is given. */
export type EndedChild = { pid: number; code: number | null; signal: number | null };

/**
 * Reap one ended child without waiting: `pid`, or any with -1. Null when none has ended or there is none.
 * Reaping a child that the runtime itself started takes its exit event away.
 */
export function reapChild(pid: number): EndedChild | null {
  const status = new Int32Array(1);
  const reaped = libc().waitpid(pid, new Uint8Array(status.buffer), WNOHANG);
  // ECHILD is 10 on Linux and macOS.
  if (reaped === -1 && libc().errno() === 10) return null;
  if (check(reaped, 'waitpid') === 0) return null;
  const raw = status[0] ?? 0;
  const signal = raw & 0x7f;
  return { pid: reaped, code: signal === 0 ? (raw >> 8) & 0xff : null, signal: signal === 0 ? null : signal };
}

const P_ALL = 0;
const WEXITED = 4;
/** Leave the child to be reaped (Linux, macOS). */
const WNOWAIT = isDarwin ? 0x20 : 0x0100_0000;
/** Offset of `si_pid` in `siginfo_t`. */
const SI_PID_AT = isDarwin ? 12 : 16;

/**
 * A child that has ended and was not reaped, without reaping it; null when there is none. It answers
 * with the same child until somebody reaps that one.
 */
export function peekEndedChild(): number | null {
  const info = new DataView(new ArrayBuffer(128));
  const result = libc().waitid(P_ALL, 0, new Uint8Array(info.buffer), WEXITED | WNOHANG | WNOWAIT);
  // ECHILD is 10 on Linux and macOS.
  if (result === -1 && libc().errno() === 10) return null;
  check(result, 'waitid');
  return info.getInt32(SI_PID_AT, true) || null;
}

/** System call numbers that x64 and arm64 share; Debian 11's C library has no function for them. */
const SYS_PIDFD_SEND_SIGNAL = 424n;
const SYS_PIDFD_OPEN = 434n;

/**
 * A descriptor that stands for a process and no other, even when its number is used again; the caller
 * closes it. It polls readable when the process ends. Null where the system has none, or no such process.
 */
export function openProcess(pid: number): number | null {
  const { linux } = libc();
  const fd = linux === null ? -1 : Number(linux.syscall(SYS_PIDFD_OPEN, BigInt(pid), 0n, 0n, 0n));
  return fd === -1 ? null : fd;
}

/** Send a signal to the process that {@link openProcess} opened. Throws SystemError ESRCH when it has ended. */
export function signalProcess(processFd: number, signal: number): void {
  check(
    Number(linuxOnly('pidfd_send_signal').syscall(SYS_PIDFD_SEND_SIGNAL, BigInt(processFd), BigInt(signal), 0n, 0n)),
    'pidfd_send_signal',
  );
}

/** The operating system's clock that never jumps, in microseconds (CLOCK_MONOTONIC on Linux). */
export function monotonicMicroseconds(): bigint {
  return process.hrtime.bigint() / 1000n;
}

/** Whether this file's Linux-only functions can be called. */
export const hasLinuxCalls: boolean = !isDarwin;

/** Whether a process is there and has not ended: one that waits for its parent to notice its end has. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, and belongs to somebody else.
    if (errorCode(error) !== 'EPERM') return false;
  }
  try {
    // State Z after the name, which may hold anything (proc(5)).
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    if (stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z') return true;
    // The first thread alone may have ended: what the process has open, the last one closes.
    return fs.readdirSync(`/proc/${pid}/task`).length > 1;
  } catch {
    return true; // no /proc on this system
  }
}

/** Whether a process is stopped, by a signal or a debugger (proc_pid_stat(5)). False where that cannot be told. */
export function isStopped(pid: number): boolean {
  try {
    return /^\d+ \(.*\) [Tt] /s.test(fs.readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
