import { closeSync, writeSync } from 'node:fs';
import { openLog } from '../../control/open-log.ts';
import { describeError } from '../../sys/system-error.ts';

/**
 * A log's file. Never waits to be opened, as the open of a FIFO without a reader would. What cannot be
 * written is lost, and counted: a disk that is full must not stop the service.
 */
export class LogFile {
  readonly #path: string;
  #fd: number;
  #lost = 0;
  /** Of the last line only a part was written. */
  #isBroken = false;
  /** Why lines are being lost; null: the last one was written. */
  #problem: string | null = null;

  /** Throws the system's error when it cannot be opened. */
  constructor(path: string) {
    this.#path = path;
    this.#fd = openLog(path);
  }

  /** Why lines are being lost, and how many have been; null: the last one was written. */
  get problem(): string | null {
    if (this.#problem === null) return null;
    return `${this.#path}: ${this.#problem}; ${this.#lost} ${this.#lost === 1 ? 'line is' : 'lines are'} lost`;
  }

  /** Write a line, with its end. Returns how many had been lost, for the first one that is written again. */
  write(text: string): number {
    const bytes = Buffer.from((this.#isBroken ? '\n' : '') + text);
    let at = 0;
    try {
      // A part is taken where only a part has room, and what is wrong is told of the next try.
      while (at < bytes.length) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      this.#isBroken ||= at > 0;
      this.#lost++;
      this.#problem = describeError(error);
      return 0;
    }
    const lost = this.#lost;
    [this.#lost, this.#isBroken, this.#problem] = [0, false, null];
    return lost;
  }

  /** Open the file by its path again, after it was renamed or removed. Throws the system's error; then everything stays. */
  reopen(): void {
    const before = this.#fd;
    this.#fd = openLog(this.#path);
    closeSync(before);
    // The half of a line is in the file of before.
    this.#isBroken = false;
  }
}
