/** What the peer of a handshake is sent, and what of it its socket has not taken yet. */
import { EAGAIN } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { pinnedCopy } from '../pinned.ts';
import type { Pinned } from './library.ts';

/** Of one socket. Each call returns false when the peer is gone. */
export class Outbox {
  readonly #kernel: Kernel;
  readonly #fd: number;
  #kept: Uint8Array | null = null;

  constructor(kernel: Kernel, fd: number) {
    this.#kernel = kernel;
    this.#fd = fd;
  }

  get isEmpty(): boolean {
    return this.#kept === null;
  }

  /** Send bytes, or keep them behind those that wait. */
  send(bytes: Uint8Array): boolean {
    const sent = this.#kept === null ? this.#kernel.send(this.#fd, pinnedCopy(bytes)) : 0;
    return this.#keepRest(bytes, sent);
  }

  /** The same of the first so many bytes of memory whose address is known. */
  sendFrom({ bytes, address }: Pinned, length: number): boolean {
    const sent = this.#kept === null ? this.#kernel.sendAt(this.#fd, address, length) : 0;
    return sent === length || this.#keepRest(bytes.subarray(0, length), sent);
  }

  /** Send what waits. */
  sendKept(): boolean {
    const kept = this.#kept;
    this.#kept = null;
    return kept === null || this.send(kept);
  }

  #keepRest(bytes: Uint8Array, sent: number): boolean {
    if (sent < 0 && sent !== -EAGAIN) return false;
    if (sent === bytes.length) return true;
    const rest = bytes.subarray(Math.max(0, sent));
    this.#kept = this.#kept === null ? rest.slice() : Buffer.concat([this.#kept, rest]);
    return true;
  }
}
