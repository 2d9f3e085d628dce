/** Whether there are descriptors for more connections. */
import { C } from '../../sys/constants.ts';
import { fdLimit } from '../../sys/process.ts';
import type { Kernel } from './kernel.ts';

export class Descriptors {
  readonly #kernel: Kernel;
  /** The system gives the lowest number that is free: one from here on says that all below are taken. */
  readonly #bound: number;

  constructor(kernel: Kernel, { capacity }: { capacity: number }) {
    const limit = Math.min(Number(fdLimit().soft), capacity);
    // Kept for what is no connection: the upstream of the last one, files, the start of a successor.
    const reserve = Math.min(64, Math.max(8, Math.floor(limit / 16)));
    this.#kernel = kernel;
    this.#bound = limit - reserve;
  }

  /** Whether a new descriptor leaves no room for others. */
  isLast(fd: number): boolean {
    return fd + 2 >= this.#bound;
  }

  hasRoom(): boolean {
    const fd = this.#kernel.socket(C.AF_UNIX);
    if (fd < 0) return false;
    this.#kernel.close(fd);
    return !this.isLast(fd);
  }
}
