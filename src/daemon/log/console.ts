import { canWrite, writeFd } from '../../sys/descriptor.ts';

/** What a pipe takes without waiting when it takes anything (PIPE_BUF of Linux; macOS has 512, and waits for the rest). */
const CHUNK_SIZE = 4096;

/**
 * Lines to standard error. Who reads it may be slow or stopped, and the daemon must not wait for it: what
 * would not be taken is dropped, and the next line that is taken says how many were.
 */
export class Console {
  readonly #fd: number;
  #dropped = 0;
  /** The end of the last line was dropped. */
  #isBroken = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(line: string): void {
    const dropped = this.#dropped === 0 ? '' : `${this.#dropped} lines were dropped: nobody took them\n`;
    const bytes = Buffer.from((this.#isBroken ? '\n' : '') + dropped + line);
    for (let at = 0; at < bytes.length; at += CHUNK_SIZE) {
      if (!this.#take(bytes.subarray(at, at + CHUNK_SIZE))) {
        this.#dropped++;
        this.#isBroken ||= at > 0;
        return;
      }
    }
    this.#dropped = 0;
    this.#isBroken = false;
  }

  #take(chunk: Uint8Array): boolean {
    try {
      return canWrite(this.#fd) && writeFd(this.#fd, chunk) === chunk.length;
    } catch {
      return false; // nobody reads it any more
    }
  }
}
