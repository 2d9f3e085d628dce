/**
 * Pipes through which bulk goes from socket to socket without being copied (splice(2)). One serves
 * for all connections of a thread; one that holds bytes for a leg that takes no more belongs to that
 * leg until they are gone.
 */
import { fdLimit } from '../../sys/process.ts';
import { EAGAIN, EINTR } from './errno.ts';
import type { Kernel } from './kernel.ts';
import { KIND_OWN } from './connection-table.ts';
import type { ConnectionTable } from './connection-table.ts';
import type { Thread } from './thread.ts';

/** So many reads in a row that fill the buffer make a leg bulk. */
export const SPLICE_AFTER = 3;
/** Less than this moved by a splice is not worth one; so many in a row end the splicing. */
const SMALL = 16 * 1024;
/** So many small ones in a row end the splicing. */
export const COPY_AFTER = 32;
/** EINVAL, ENOSYS: these two sockets cannot be spliced. */
const UNSUPPORTED: readonly number[] = [-22, -38];
const SPARE_PIPES = 4;
/** So many of the descriptors that the process may have are a thread's pipes at most, two for each. */
const PIPE_SHARE = 1 / 8;
/** Above this part of the limit no pipe is opened: what is left is for connections, which can do without. */
const PIPE_CEILING = 3 / 4;

type Pipe = { input: number; output: number };

/** Bytes in a pipe that belong to one leg. */
export type PipePart = { readonly pipe: Pipe; length: number };

/** What came of one move through a pipe. */
export type Moved = {
  /** Bytes taken, 0 at the end, or the negative errno. */
  read: number;
  /** The last result of writing. */
  written: number;
  /** What could not be written: the caller's now. */
  rest: PipePart | null;
  isSmall: boolean;
  isUnsupported: boolean;
};

/** The pipes of one thread. */
export class Pipes {
  readonly #kernel: Kernel;
  readonly #table: ConnectionTable;
  readonly #number: number;
  readonly #spare: Pipe[] = [];
  readonly #max: number;
  readonly #ceiling: number;
  #open = 0;
  /** Answers of `move` are read at once, so one object does for all. */
  readonly #moved: Moved = { read: 0, written: 0, rest: null, isSmall: false, isUnsupported: false };

  constructor({ kernel, table, number }: Pick<Thread, 'kernel' | 'table' | 'number'>) {
    this.#kernel = kernel;
    this.#table = table;
    this.#number = number;
    const limit = Math.min(Number(fdLimit().soft), table.capacity);
    this.#max = Math.floor((limit * PIPE_SHARE) / 2);
    this.#ceiling = Math.floor(limit * PIPE_CEILING);
  }

  /** Whether there is a pipe, or descriptors that connections can spare for one. A client that stalls keeps its pipe for as long. */
  get isUsable(): boolean {
    if (this.#spare.length > 0) return true;
    if (this.#open >= this.#max) return false;
    const pipe = this.#kernel.pipe();
    if (pipe === null) return false;
    if (Math.max(pipe.input, pipe.output) >= this.#ceiling) {
      this.#kernel.close(pipe.input);
      this.#kernel.close(pipe.output);
      return false;
    }
    this.#open++;
    for (const fd of [pipe.input, pipe.output]) if (this.#table.fits(fd)) this.#table.open(fd, this.#number, KIND_OWN);
    this.#spare.push(pipe);
    return true;
  }

  /** Move what one socket has to another, so many bytes at most. */
  move(from: number, to: number, size: number): Moved {
    const moved = this.#moved;
    moved.rest = null;
    moved.isUnsupported = !this.isUsable;
    if (moved.isUnsupported) {
      moved.read = -EAGAIN;
      return moved;
    }
    const pipe = this.#spare.at(-1)!;
    moved.read = this.#kernel.splice(from, pipe.input, size);
    if (moved.read <= 0) {
      moved.isUnsupported = UNSUPPORTED.includes(moved.read);
      return moved;
    }
    moved.isSmall = moved.read < SMALL;
    let left = moved.read;
    while (left > 0) {
      moved.written = this.#kernel.splice(pipe.output, to, left);
      if (moved.written <= 0) break;
      left -= moved.written;
    }
    if (left > 0) {
      this.#spare.pop();
      moved.rest = { pipe, length: left };
    }
    return moved;
  }

  /** Write on; what is left is in the part's length. Returns the last result. */
  write(part: PipePart, to: number): number {
    let written = 0;
    while (part.length > 0) {
      written = this.#kernel.splice(part.pipe.output, to, part.length);
      if (written <= 0) break;
      part.length -= written;
    }
    return written;
  }

  /** The bytes of a part in memory; its pipe can be used again. */
  drain(part: PipePart): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(new ArrayBuffer(part.length));
    let at = 0;
    while (at < bytes.length) {
      const length = this.#kernel.read(part.pipe.output);
      if (length === -EINTR) continue;
      // Bytes that were taken from one peer and cannot be given to the other must not go unnoticed.
      if (length <= 0) throw new Error(`a pipe with ${bytes.length - at} bytes left gave errno ${-length}`);
      bytes.set(this.#kernel.input.subarray(0, length), at);
      at += length;
    }
    part.length = 0;
    this.giveBack(part);
    return bytes;
  }

  /** A part that has been written. */
  giveBack({ pipe }: PipePart): void {
    if (this.#spare.length < SPARE_PIPES) this.#spare.push(pipe);
    else this.#closePipe(pipe);
  }

  /** A part whose bytes nobody wants any more. */
  discard({ pipe }: PipePart): void {
    this.#closePipe(pipe);
  }

  #closePipe({ input, output }: Pipe): void {
    this.#open--;
    for (const fd of [input, output]) {
      if (this.#table.fits(fd)) this.#table.close(fd);
      this.#kernel.close(fd);
    }
  }

  close(): void {
    for (const pipe of this.#spare.splice(0)) this.#closePipe(pipe);
  }
}
