/** Files in memory, to pass more than a message can hold. Linux only. */
import { check, libc, linuxOnly } from './libc.ts';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
/** F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW and F_SEAL_WRITE. */
const ALL_SEALS = 15n;

/** A file in memory that holds these bytes. The descriptor is the caller's. */
export function openMemoryFile(name: string, contents: Uint8Array): number {
  const { memfd_create, write } = linuxOnly('memfd_create');
  const fd = check(
    memfd_create(new TextEncoder().encode(`${name}\0`), MFD_CLOEXEC | MFD_ALLOW_SEALING),
    'memfd_create',
  );
  try {
    for (let at = 0; at < contents.length;)
      at += check(write(fd, contents.subarray(at), contents.length - at), 'write');
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

/** Nobody can change a file in memory any more, whoever has it. Does nothing where the system has no seals. */
export function sealMemoryFile(fd: number): void {
  libc().fcntl(fd, F_ADD_SEALS, ALL_SEALS);
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
