import { accessSync, closeSync, constants, existsSync, openSync, readSync, statSync } from 'node:fs';
import type { Program } from '../control/shapes.ts';
import { GraceError, errorCode } from '../error.ts';
import { cutOff, whyNoProgram } from '../sys/program.ts';
import { describeError } from '../sys/system-error.ts';

/** Machines of the ELF header (elf(5)) that somebody may mistake for each other. */
const machines: Record<number, string> = { 3: 'x86', 40: 'arm', 62: 'x86-64', 183: 'arm64', 243: 'riscv64' };

/** Throws GraceError when a file certainly cannot be executed. */
export function checkExecutable({ file }: Program): void {
  try {
    if (!statSync(file).isFile()) throw new Error('it is not a file');
    accessSync(file, constants.X_OK);
    if (whyNoProgram(file) === cutOff) throw new Error(cutOff); // it may run for a while, or be run by a shell
  } catch (error) {
    throw new GraceError(`cannot restart: ${file} cannot be executed: ${describeError(error)}`, {
      hint: 'name another executable with --exec PATH',
      cause: error,
    });
  }
}

/** What is to be said of the executable on disk: a daemon that serves goes on without it, and a crash is followed by the image that the keeper runs. */
export function problemOfExecutable({ file }: Program): string | null {
  const why = whyNoProgram(file);
  return why === null ? null : `the executable ${file} cannot be started: ${why}`;
}

/**
 * Why a program that did not come up could not: what the system says of it is too short, or comes from
 * the shell, to which the C library hands a file that it cannot execute. Null when the file looks right.
 * Asked only afterwards, since a machine may be set up to run what is foreign to it (binfmt_misc).
 */
export function whyNotRunnable(file: string, error?: unknown): string | null {
  try {
    const head = readHead(file);
    if (head.subarray(0, 2).toString('latin1') === '#!') return whyNotScript(head, error);
    if (head.subarray(0, 4).toString('latin1') !== '\x7fELF')
      return process.platform === 'linux' ? `${file} is no program` : null;
    const [its, ours] = [head.readUInt16LE(18), readHead('/proc/self/exe').readUInt16LE(18)];
    if (its !== ours) return `${file} is for another architecture: ${name(its)}, and this machine is ${name(ours)}`;
    return errorCode(error) === 'ENOENT'
      ? `${file} needs a loader that is not here; it may be for another C library`
      : null;
  } catch {
    return null; // not to be read, or cut short: the system's own words must do
  }
}

function whyNotScript(head: Buffer, error: unknown): string | null {
  const interpreter = /^#!\s*(\S+)/.exec(head.toString('latin1'))?.[1];
  return errorCode(error) === 'ENOENT' && interpreter !== undefined && !existsSync(interpreter)
    ? `its interpreter ${interpreter} does not exist`
    : null;
}

function name(machine: number): string {
  return machines[machine] ?? `machine ${machine}`;
}

function readHead(file: string): Buffer {
  const fd = openSync(file, 'r');
  try {
    const head = Buffer.alloc(256);
    return head.subarray(0, readSync(fd, head));
  } finally {
    closeSync(fd);
  }
}
