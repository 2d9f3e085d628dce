/** Files in memory, to pass more than a message can hold. Linux only. */
import { check, libc, linuxOnly } from './libc.ts';

const MFD_CLOEXEC = 1;

/** A file in memory that holds these bytes. The descriptor is the caller's. */
export function openMemoryFile(name: string, contents: Uint8Array): number {
  const { memfd_create, write } = linuxOnly('memfd_create');
  const fd = check(memfd_create(new TextEncoder().encode(`${name}\0`), MFD_CLOEXEC), 'memfd_create');
  try {
    for (let at = 0; at < contents.length;)
      at += check(write(fd, contents.subarray(at), contents.length - at), 'write');
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

/** The first `size` bytes of a file, wherever its offset is. Throws RangeError when it is shorter. */
export function readMemoryFile(fd: number, size: number): Uint8Array {
  const { pread } = linuxOnly('pread');
  const contents = new Uint8Array(new ArrayBuffer(size));
  for (let at = 0; at < size;) {
    const length = check(pread(fd, contents.subarray(at), size - at, BigInt(at)), 'pread');
    if (length === 0) throw new RangeError(`a file in memory ends after ${at} bytes, ${size} were expected`);
    at += length;
  }
  return contents;
}
