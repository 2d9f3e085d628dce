/**
 * Acknowledgements that do not wait, of what a destination with TLS says first; why, is in portable/prompt-acks.ts: a
 * server that answers before it has read all, and closes, loses its answer behind session tickets that nobody acknowledged.
 */
import { IPPROTO_TCP, TCP_QUICKACK } from '../../sys/constants.ts';
import type { Kernel } from './kernel.ts';

/** Acknowledgements that Linux sends without delay at the beginning of a connection (TCP_MAX_QUICKACKS). */
const MAX_WRITES = 16;

/** For the legs of one thread. */
export class PromptAcks {
  readonly #kernel: Kernel;
  /** How many writes of a leg are left, until bytes come from it. */
  readonly #left = new Map<number, number>();

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** From now on, of a leg whose handshake is over. */
  begin(fd: number): void {
    this.#left.set(fd, MAX_WRITES);
    this.sent(fd);
  }

  /** A leg was written to: what was set before lasted until then (tcp(7)). */
  sent(fd: number): void {
    const left = this.#left.size === 0 ? undefined : this.#left.get(fd);
    if (left === undefined) return;
    this.#kernel.setOption(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
    if (left > 1) this.#left.set(fd, left - 1);
    else this.#left.delete(fd);
  }

  /** Bytes have come from a leg, or it is about to be closed. */
  end(fd: number): void {
    if (this.#left.size > 0) this.#left.delete(fd);
  }
}
