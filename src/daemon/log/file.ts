import { closeSync, constants, openSync, writeSync } from 'node:fs';

/**
 * A log's file. Never waits to be opened, as the open of a FIFO without a reader would. What cannot be
 * written is lost: a disk that is full must not stop the service.
 */
export class LogFile {
  readonly #path: string;
  #fd: number;

  /** Throws the system's error when it cannot be opened. */
  constructor(path: string) {
    this.#path = path;
    this.#fd = open(path);
  }

  write(text: string): void {
    try {
      writeSync(this.#fd, text);
    } catch {
      // There is nowhere to say so.
    }
  }

  /** Open the file by its path again, after it was renamed or removed. Throws the system's error; then everything stays. */
  reopen(): void {
    const before = this.#fd;
    this.#fd = open(this.#path);
    closeSync(before);
  }
}

function open(path: string): number {
  return openSync(
    path,
    constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK | constants.O_NOCTTY,
    0o600,
  );
}
