import { accessSync, closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { errorCode } from '../error.ts';
import { describeError } from './system-error.ts';

/** What is said of a program that is shorter than its own headers say. */
export const cutOff = 'it is cut off';

const PT_LOAD = 1;
const ELF = '\x7fELF';

/**
 * Why a file certainly is no program that this system runs, or null. Where execve(2) says so (ENOEXEC), the
 * C library hands the file to a shell, which runs whatever is in it: so it is looked at before.
 */
export function whyNoProgram(file: string): string | null {
  let fd: number;
  try {
    accessSync(file, constants.X_OK);
    fd = openSync(file, 'r');
  } catch (error) {
    // With no descriptor left nothing is certain.
    return ['EMFILE', 'ENFILE'].includes(errorCode(error) ?? '') ? null : describeError(error);
  }
  try {
    const { size } = fstatSync(fd);
    const head = Buffer.alloc(4096);
    const length = readSync(fd, head, 0, head.length, 0);
    if (process.platform !== 'linux' || head.toString('latin1', 0, 2) === '#!') return null;
    if (length < 64 || head.toString('latin1', 0, 4) !== ELF) return 'it is no program';
    return isCutOff(fd, head, size) ? cutOff : null;
  } catch (error) {
    return describeError(error);
  } finally {
    closeSync(fd);
  }
}

/** Whether a part that is to be loaded, or the table of sections at its end, lies beyond the file's end (elf(5); 64 bits, little-endian). */
function isCutOff(fd: number, head: Buffer, size: number): boolean {
  if (head[4] !== 2 || head[5] !== 1) return false;
  const [table, entry, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  const sections = Number(head.readBigUInt64LE(40)) + head.readUInt16LE(58) * head.readUInt16LE(60);
  if (sections > size) return true;
  // The table of parts follows the head, or lies anywhere once a tool has added to it.
  const parts = Buffer.alloc(entry * count);
  if (readSync(fd, parts, 0, parts.length, table) < parts.length) return true;
  for (let at = 0; at + 56 <= parts.length; at += entry) {
    if (
      parts.readUInt32LE(at) === PT_LOAD &&
      Number(parts.readBigUInt64LE(at + 8)) + Number(parts.readBigUInt64LE(at + 32)) > size
    )
      return true;
  }
  return false;
}
