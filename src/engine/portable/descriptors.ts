/**
 * Whether there are descriptors left for another connection. It has to be known before accepting:
 * when accept(2) fails for want of one, libuv gives up a spare descriptor to accept and close
 * everything that waits in the queue, to be rid of it. Clients that wait are better left waiting.
 */
import { readdirSync } from 'node:fs';
import { errorCode } from '../../error.ts';
import { DescriptorLimit } from '../descriptor-limit.ts';
import { fdLimit } from '../../sys/process.ts';

/** What is known of descriptors beforehand. */
export type DescriptorOptions = {
  /** Most descriptors that the process may have. Default: RLIMIT_NOFILE. */
  limit?: number;
};

/** A client and its upstream. */
const PER_CONNECTION = 2;

/** Reckons with descriptors, and counts them now and then. */
export class Descriptors {
  readonly #limit: DescriptorLimit;
  /** What they will be, counted and then reckoned on: each connection as if its upstream were connected. */
  #reckoned = 0;
  #acceptedUntilCount = 0;
  #dialing = 0;

  constructor({ limit }: DescriptorOptions = {}) {
    this.#limit = new DescriptorLimit(limit === undefined ? readLimit : () => limit);
    this.#look();
  }

  /** Heed a limit that has been changed meanwhile. */
  #look(): void {
    if (this.#limit.look(performance.now())) this.#acceptedUntilCount = 0;
  }

  /** Whether one more connection can be had. */
  hasRoom(): boolean {
    this.#look();
    if (this.#limit.bound === Infinity) return true;
    if (this.#acceptedUntilCount > 0 && this.#room() > 0) return true;
    this.#count();
    return this.#room() > 0;
  }

  /** Whether a source that has so many connections is to leave what is left to those that have few. */
  mustWait(connections: number): boolean {
    this.#look();
    if (this.#limit.bound === Infinity) return false;
    const { from, few } = this.#limit.scarce;
    return connections > few && this.#reckoned >= from;
  }

  accepted(): void {
    this.#dialing++;
    this.#reckoned += PER_CONNECTION;
    this.#acceptedUntilCount--;
  }

  connected(): void {
    this.#dialing--;
  }

  released({ wasDialing }: { wasDialing: boolean }): void {
    if (wasDialing) this.#dialing--;
    this.#reckoned -= PER_CONNECTION;
  }

  #room(): number {
    return Math.floor((this.#limit.bound - this.#reckoned) / PER_CONNECTION);
  }

  /** Counting takes the longer the more there are, so it is done the more seldom the more room there is. */
  #count(): void {
    this.#reckoned = countOpen() + this.#dialing;
    this.#acceptedUntilCount = Math.max(1, Math.floor(this.#room() / 2));
  }
}

function readLimit(): number {
  try {
    return Number(fdLimit().soft);
  } catch {
    // No way to ask: go without.
    return Infinity;
  }
}

function countOpen(): number {
  for (const directory of ['/proc/self/fd', '/dev/fd']) {
    try {
      // One of them is the directory itself, while it is read.
      return readdirSync(directory).length - 1;
    } catch (error) {
      const code = errorCode(error);
      if (code === 'EMFILE' || code === 'ENFILE') return Infinity;
      // Not on this system.
    }
  }
  return 0;
}
