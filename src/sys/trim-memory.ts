import { readFileSync } from 'node:fs';
import { getHeapStatistics } from 'node:v8';
import { collectGarbage } from './garbage.ts';
import { openFunctions } from './library.ts';

/** The time that a collection takes grows with the heap; a larger one has connections that would notice. */
const maxHeap = 64 * 2 ** 20;

/**
 * Give back what memory this process does not need while it waits: garbage, what malloc has kept, and
 * the pages of program files, which the kernel has anyhow and which come back when they are touched.
 * Linux with glibc; elsewhere less or nothing. Takes some 20 ms, in which nothing else runs here.
 */
export function trimMemory(): void {
  // What this needs itself comes first, so that it is given back with the rest.
  const trim = prepareTrim();
  const giveBackPages = preparePages();
  // Not process.memoryUsage(), which opens a file and throws where no descriptor is left.
  if (getHeapStatistics().used_heap_size < maxHeap) collectGarbage();
  trim();
  giveBackPages();
}

// Bound once: what is bound anew each time becomes garbage, and V8 may still be compiling calls of it.
let mallocCalls: { malloc_trim: (bytes: bigint) => number } | undefined;
let pageCalls: { madvise: (start: bigint, length: bigint, advice: bigint) => number } | undefined;

function prepareTrim(): () => void {
  try {
    const { malloc_trim } = (mallocCalls ??= openFunctions({
      malloc_trim: { args: ['u64'], result: 'i32' },
    }).functions);
    return () => malloc_trim(0n);
  } catch {
    return () => {}; // another C library than glibc
  }
}

const MADV_DONTNEED = 4n;

/**
 * Give back the pages of program files alone: what is used comes back by the thousandth part of a millisecond, and
 * nobody waits. Of what has run for some seconds most has run once, or lay beside what ran: the kernel maps 16 pages
 * for each that is touched.
 */
export function trimPages(): void {
  // The program stays where it is; what was loaded since the list was made is found the next time that it is made.
  (givePagesBack ?? preparePages())();
}

let givePagesBack: (() => void) | undefined;

function preparePages(): () => void {
  try {
    const { madvise } = (pageCalls ??= openFunctions({
      madvise: { args: ['word', 'word', 'word'], result: 'i32' },
    }).functions);
    // The largest is the program itself, which goes last: what runs after it comes back.
    const pages = filePages(readFileSync('/proc/self/smaps', 'latin1'))
      .map(({ start, end }) => ({ start, length: end - start }))
      .sort((a, b) => Number(a.length - b.length));
    return (givePagesBack = () => {
      for (const { start, length } of pages) madvise(start, length, MADV_DONTNEED);
    });
  } catch {
    return (givePagesBack = () => {}); // no /proc
  }
}

/**
 * The mappings of a file that nobody can write to and of which this process has changed no page: they can be had again
 * (proc(5)). A page that the disk does not have yet, of a file that was just installed, is the kernel's to keep.
 */
export function filePages(smaps: string): { start: bigint; end: bigint }[] {
  const mapping = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +\/.*\n((?:[A-Za-z_]+:.*\n)*)/gm;
  return [...smaps.matchAll(mapping)]
    .filter(([, , , fields]) => /^Anonymous: +0 kB$/m.test(fields ?? ''))
    .map(([, start, end]) => ({ start: BigInt(`0x${start}`), end: BigInt(`0x${end}`) }));
}
