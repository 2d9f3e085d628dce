/** Reads a log that others write, rotate and truncate. */
import { watch } from 'node:fs';
import type { Stats } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { GraceError, errorCode } from '../error.ts';
import { describeError } from '../sys/system-error.ts';

/** Takes bytes of the log; resolves when it wants more. */
export type TakeBytes = (bytes: Buffer) => Promise<void>;

/** Copies what a file holds and what is added to it, also when the file is truncated or another one takes its name. */
export class LogReader implements AsyncDisposable {
  readonly #path: string;
  readonly #take: TakeBytes;
  #file: FileHandle;
  #position = 0;

  private constructor(path: string, take: TakeBytes, file: FileHandle) {
    this.#path = path;
    this.#take = take;
    this.#file = file;
  }

  /** `isInUse`: a daemon runs that should write it. */
  static async open(path: string, take: TakeBytes, { isInUse }: { isInUse: boolean }): Promise<LogReader> {
    try {
      return new LogReader(path, take, await openFile(path));
    } catch (error) {
      if (errorCode(error) === 'ENOENT') {
        throw new GraceError(`there is no log at ${path}`, {
          hint: isInUse
            ? 'it cannot be opened, as grace status tells, or was removed: the signal HUP has the daemon make it anew'
            : 'no daemon has run in the background with this state dir; choose another with -d DIR',
        });
      }
      if (error instanceof GraceError) throw error;
      throw new GraceError(`cannot read ${path}: ${describeError(error)}`, { cause: error });
    }
  }

  async copyNew(signal: AbortSignal): Promise<void> {
    await this.#copyToEnd(signal);
    const there = await this.#statPath();
    if (there === null) return; // renamed, and the daemon has not opened the new one yet
    const here = await this.#file.stat();
    if (there.ino === here.ino && there.dev === here.dev) return;
    await this.#copyToEnd(signal); // what was written before the daemon let go of it
    const next = await this.#openPath();
    if (next === null) return;
    await this.#file.close();
    this.#file = next;
    this.#position = 0;
    await this.#copyToEnd(signal);
  }

  async #copyToEnd(signal: AbortSignal): Promise<void> {
    if ((await this.#file.stat()).size < this.#position) this.#position = 0;
    const buffer = Buffer.allocUnsafe(64 * 1024);
    for (;;) {
      signal.throwIfAborted();
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.length, this.#position);
      if (bytesRead === 0) return;
      this.#position += bytesRead;
      await this.#take(Buffer.from(buffer.subarray(0, bytesRead)));
    }
  }

  #statPath(): Promise<Stats | null> {
    return stat(this.#path).catch(nullWhenMissing);
  }

  #openPath(): Promise<FileHandle | null> {
    return openFile(this.#path).catch(nullWhenMissing);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

/** Of a FIFO the open would wait for a writer, and what is read there is gone for others. Rejects with GraceError for what is no file. */
async function openFile(path: string): Promise<FileHandle> {
  if (!(await stat(path)).isFile())
    throw new GraceError(`cannot read ${path}: it is not a file`, {
      hint: 'what the daemon writes to a device or a pipe is with whoever reads that',
    });
  return await open(path, 'r');
}

function nullWhenMissing(error: unknown): null {
  if (errorCode(error) === 'ENOENT') return null;
  throw error;
}

/** Watches a file or its directory. */
export type FileWatch = Disposable & {
  /** Resolves when something may have changed since the last call, at once if it has; rejects with the signal's reason. */
  next(): Promise<void>;
};

/** Tells of changes of a file, of its removal and of another that takes its name. */
export function watchFile(path: string, signal: AbortSignal): FileWatch {
  let hasChanged = false;
  let wake = () => {};
  const change = () => {
    hasChanged = true;
    wake();
  };
  // The directory is watched: a watched file would be lost from sight when it is renamed.
  const watcher = watch(dirname(path), (_, name) => {
    if (name === null || name === basename(path)) change();
  });
  watcher.on('error', change);
  signal.addEventListener('abort', change, { once: true });
  return {
    async next() {
      if (!hasChanged) await new Promise<void>((resolve) => (wake = resolve));
      signal.throwIfAborted();
      hasChanged = false;
    },
    [Symbol.dispose]() {
      watcher.close();
      signal.removeEventListener('abort', change);
    },
  };
}
