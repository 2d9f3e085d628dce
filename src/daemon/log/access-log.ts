/**
 * The access log: a line a connection, written in batches by whoever ended it. Forwarding never waits for it: what is
 * not taken in time is dropped, and counted.
 */
import { closeSync, fstatSync, write } from 'node:fs';
import { openLog } from '../../control/open-log.ts';
import { canWrite, writeFd } from '../../sys/descriptor.ts';
import { describeError } from '../../sys/system-error.ts';
import { LineBuffer } from './line-buffer.ts';

/** Lines are written so long after the first of them, at the latest, in milliseconds. */
const delayMs = 100;
/** Most characters that wait: a disk that hangs for a while loses nothing, one that hangs for long only that. */
const maxWaiting = 4 * 1024 * 1024;
/** What a pipe takes without waiting when it takes anything; see log/console.ts. */
const chunkSize = 4096;
/** Longest that the end of the process waits for the last lines, in milliseconds. */
const closeTimeoutMs = 1000;

/** Where the lines go: a file, or a descriptor that is somebody's standard output. */
export type AccessLogPlace = { kind: 'file'; path: string } | { kind: 'console'; fd: number };

/** Where it goes, and who hears of it. */
export type AccessLogOptions = {
  place: AccessLogPlace;
  /** Lines were written, or could not be. */
  counted: (what: 'written' | 'lost', lines: number) => void;
  /** Why lines are being lost, once; null: they are not any more. */
  troubled: (trouble: string | null) => void;
};

/** Lines on their way to a file, or to whoever reads the standard output. `close` it. */
export class AccessLog {
  readonly place: AccessLogPlace;
  readonly #options: AccessLogOptions;
  #fd: number | null = null;
  #isFile = true;
  readonly #waiting = new LineBuffer();
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> | null = null;
  #isTroubled = false;

  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.place = options.place;
    this.#open();
  }

  /** Add a line, with its end. */
  write(line: string): void {
    if (this.#waiting.size + line.length > maxWaiting) return this.#lose(1, 'what waits to be written is not taken');
    this.#waiting.add(line);
    this.#schedule();
  }

  /** Open the file by its path again, after it was renamed or removed. Where that cannot be, everything stays. */
  reopen(): void {
    if (this.#options.place.kind === 'console') return;
    const before = this.#fd;
    // What came before belongs into the file that was there.
    const written = (this.#writing ?? Promise.resolve()).then(() => this.#flush());
    void written.then(() => {
      if (this.#open() && before !== null) closeSync(before);
    });
  }

  /** Write what waits, as far as it is taken within a second, and let go of the file. */
  async close(): Promise<void> {
    const until = performance.now() + closeTimeoutMs;
    while ((this.#waiting.lines > 0 || this.#writing) && performance.now() < until) {
      const left = until - performance.now();
      await Promise.race([this.#writing ?? this.#flush(), new Promise((resolve) => setTimeout(resolve, left).unref())]);
      if (this.#waiting.lines > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#options.counted('lost', this.#waiting.lines);
    if (this.#options.place.kind === 'file' && this.#fd !== null && this.#writing === null) closeSync(this.#fd);
  }

  #open(): boolean {
    const { place } = this.#options;
    try {
      this.#fd = place.kind === 'console' ? place.fd : openLog(place.path);
      this.#isFile = fstatSync(this.#fd).isFile();
      return true;
    } catch (error) {
      this.#trouble(describeError(error));
      return false;
    }
  }

  #schedule(): void {
    if (this.#timer !== null || this.#writing !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#flush();
    }, delayMs).unref();
  }

  #flush(): Promise<void> {
    if (this.#waiting.lines === 0) return Promise.resolve();
    if (this.#fd === null && !this.#open()) {
      this.#lose(this.#waiting.take().lines);
      return Promise.resolve();
    }
    if (!this.#isFile) {
      this.#offer(this.#waiting.peek());
      return Promise.resolve();
    }
    const { bytes, lines } = this.#waiting.take();
    this.#writing = writeAll(this.#fd!, bytes)
      .then(() => this.#wrote(lines))
      .catch((error: unknown) => this.#lose(lines, describeError(error)))
      .finally(() => {
        this.#waiting.giveBack(bytes);
        this.#writing = null;
        if (this.#waiting.lines > 0) this.#schedule();
      });
    return this.#writing;
  }

  /** A pipe, a socket or a terminal takes what there is room for, in whole lines; the rest waits. */
  #offer(bytes: Uint8Array): void {
    let at = 0;
    let lines = 0;
    try {
      while (at < bytes.length && canWrite(this.#fd!)) {
        const end = bytes.lastIndexOf(0x0a, at + chunkSize - 1);
        const next = end < at ? bytes.indexOf(0x0a, at) + 1 : end + 1;
        const chunk = bytes.subarray(at, next);
        if (writeFd(this.#fd!, chunk) !== chunk.length) throw new Error('it was not taken whole');
        lines += countLines(chunk);
        at = next;
      }
      if (lines > 0) this.#wrote(lines);
      this.#waiting.drop(at, lines);
      if (this.#waiting.lines > 0) this.#schedule();
    } catch (error) {
      if (lines > 0) this.#options.counted('written', lines);
      this.#lose(this.#waiting.take().lines - lines, describeError(error));
    }
  }

  #wrote(lines: number): void {
    this.#options.counted('written', lines);
    if (!this.#isTroubled) return;
    this.#isTroubled = false;
    this.#options.troubled(null);
  }

  #lose(lines: number, why?: string): void {
    this.#options.counted('lost', lines);
    if (why !== undefined) this.#trouble(why);
  }

  #trouble(why: string): void {
    if (this.#isTroubled) return;
    this.#isTroubled = true;
    this.#options.troubled(why);
  }
}

/** In the runtime's threads for files: a disk that hangs holds up nobody here. */
function writeAll(fd: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const next = (at: number) =>
      write(fd, bytes, at, bytes.length - at, null, (error, written) => {
        if (error) reject(error);
        else if (at + written < bytes.length) next(at + written);
        else resolve();
      });
    next(0);
  });
}

function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (const byte of bytes) if (byte === 0x0a) lines++;
  return lines;
}
