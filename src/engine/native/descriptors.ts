/** Whether there are descriptors for more connections. */
import { C } from '../../sys/constants.ts';
import { fdLimit } from '../../sys/process.ts';
import { descriptorReserve, LIMIT_LOOK_MS, scarceDescriptors } from '../policy.ts';
import type { Kernel } from './kernel.ts';

/** The descriptors of the process, as one thread sees them. */
export class Descriptors {
  readonly #kernel: Kernel;
  /** The system gives the lowest number that is free: one from here on says that all below are taken. */
  #bound = 0;
  #scarce = { from: 0, few: 0 };
  readonly #capacity: number;
  #lookAt = 0;

  constructor(kernel: Kernel, { capacity }: { capacity: number }) {
    this.#kernel = kernel;
    this.#capacity = capacity;
    this.look(0);
  }

  /** Heed a limit that has been changed meanwhile. `now` is in milliseconds. */
  look(now: number): void {
    if (now < this.#lookAt) return;
    this.#lookAt = now + LIMIT_LOOK_MS;
    const limit = Math.min(Number(fdLimit().soft), this.#capacity);
    this.#bound = limit - descriptorReserve(limit);
    this.#scarce = scarceDescriptors(limit);
  }

  /** Whether a new descriptor leaves no room for others. */
  isLast(fd: number): boolean {
    return fd + 2 >= this.#bound;
  }

  /** The same for a source that has so many connections: what is left may be for those that have few. */
  isLastFor(fd: number, connections: number): boolean {
    return this.isLast(fd) || (fd >= this.#scarce.from && connections > this.#scarce.few);
  }

  /** Whether a source that has so many connections may have one more. */
  hasRoomFor(connections: number): boolean {
    const fd = this.#kernel.socket(C.AF_UNIX);
    if (fd < 0) return false;
    this.#kernel.close(fd);
    return !this.isLastFor(fd, connections);
  }
}
