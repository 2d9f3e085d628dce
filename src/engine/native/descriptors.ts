/** Whether there are descriptors for more connections. */
import { C } from '../../sys/constants.ts';
import { fdLimit } from '../../sys/process.ts';
import { DescriptorLimit } from '../descriptor-limit.ts';
import type { Kernel } from './kernel.ts';

/** The descriptors of the process, as one thread sees them. */
export class Descriptors {
  readonly #kernel: Kernel;
  readonly #limit: DescriptorLimit;

  constructor(kernel: Kernel, { capacity }: { capacity: number }) {
    this.#kernel = kernel;
    this.#limit = new DescriptorLimit(() => Math.min(Number(fdLimit().soft), capacity));
    this.look(0);
  }

  /** Heed a limit that has been changed meanwhile. `now` is in milliseconds. */
  look(now: number): void {
    this.#limit.look(now);
  }

  /** Whether a new descriptor leaves no room for others. */
  isLast(fd: number): boolean {
    // The system gives the lowest number that is free: one beyond the bound says that all below are taken.
    return fd + 2 >= this.#limit.bound;
  }

  /** The same for a source that has so many connections: what is left may be for those that have few. */
  isLastFor(fd: number, connections: number): boolean {
    const { from, few } = this.#limit.scarce;
    return this.isLast(fd) || (fd >= from && connections > few);
  }

  /** Whether a source that has so many connections may have one more. */
  hasRoomFor(connections: number): boolean {
    const fd = this.#kernel.socket(C.AF_UNIX);
    if (fd < 0) return false;
    this.#kernel.close(fd);
    return !this.isLastFor(fd, connections);
  }
}
