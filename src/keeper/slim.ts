import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { openFunctions } from '../sys/library.ts';

/**
 * Give back what memory this process does not need while it waits: garbage, what malloc has kept, and
 * the pages of program files, which the kernel has anyhow and which come back when they are touched.
 * Linux with glibc; elsewhere less or nothing. Measured on Node 26.10: see {@link mappingsOf}'s user.
 */
export function slim(): void {
  collectGarbage();
  if (process.platform !== 'linux') return;
  try {
    const { functions } = openFunctions({ malloc_trim: { args: ['u64'], result: 'i32' } });
    functions.malloc_trim(0n);
  } catch {
    // Another C library than glibc.
  }
  try {
    const { functions } = openFunctions({ madvise: { args: ['u64', 'u64', 'i32'], result: 'i32' } });
    for (const { start, end } of filePages(readFileSync('/proc/self/smaps', 'latin1'))) functions.madvise(start, end - start, MADV_DONTNEED);
  } catch {
    // No /proc.
  }
}

/** A context that is made after the flag was set has `gc`. */
function collectGarbage(): void {
  try {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as (options: { type: string; flavor: string }) => void;
    gc({ type: 'major', flavor: 'last-resort' });
  } catch {
    // Deno has no such way; it collects when it must.
  }
}

const MADV_DONTNEED = 4;

/** The mappings of a file that nobody can write to and of which no page was changed: they can be had again (proc(5)). */
export function filePages(smaps: string): { start: bigint; end: bigint }[] {
  const mapping = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +\/.*\n((?:[A-Za-z_]+:.*\n)*)/gm;
  return [...smaps.matchAll(mapping)]
    .filter(([, , , fields]) => /^Anonymous: +0 kB$/m.test(fields ?? '') && /^Private_Dirty: +0 kB$/m.test(fields ?? ''))
    .map(([, start, end]) => ({ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) }));
}
