/** What is left in memory with the supervisor, beside the sockets, for a start after a crash. */
import { closeFd } from '../../sys/descriptor.ts';
import { openMemoryFile, readMemoryFile } from '../../sys/memory-file.ts';
import { hasLinuxCalls } from '../../sys/process.ts';
import type { Supervisor } from '../supervisor/supervisor.ts';
import type { Troubles } from '../troubles.ts';

/** Decimal digits of the length that comes first. */
const headSize = 10;

/** What an earlier daemon left; throws what is wrong with it. Closes the descriptor. */
export function readKeeperCopy(fd: number): unknown {
  try {
    const size = Number(new TextDecoder().decode(readMemoryFile(fd, headSize)));
    const text = new TextDecoder().decode(readMemoryFile(fd, headSize + size).subarray(headSize));
    return JSON.parse(text);
  } finally {
    closeFd(fd);
  }
}

/** Where a copy goes, and what is told of one that cannot be left. */
export type KeeperCopyOptions = {
  /** Begins the name that the copies of all processes have; each has one of its own: what a predecessor takes back is its own. */
  prefix: string;
  /** Of the file in memory, for people who look at descriptors. */
  file: string;
  supervisor: Supervisor;
  troubles: Pick<Troubles, 'attempt'>;
  trouble: string;
};

/** What this process has left with the supervisor. Owns the descriptor of it until `forget`. */
export class KeeperCopy {
  readonly #options: KeeperCopyOptions;
  readonly #name: string;
  #fd: number | null = null;

  constructor(options: KeeperCopyOptions) {
    this.#options = options;
    this.#name = `${options.prefix}${process.pid}`;
  }

  /** Leave this, as JSON, in place of what was left before. Where there is no memory or descriptor for it, it is told. */
  leave(contents: unknown): void {
    if (!hasLinuxCalls) return;
    const { supervisor, troubles, trouble, file } = this.#options;
    troubles.attempt(trouble, () => {
      const text = new TextEncoder().encode(JSON.stringify(contents));
      const before = this.#fd;
      this.#fd = openMemoryFile(file, Buffer.concat([Buffer.from(String(text.length).padStart(headSize, '0')), text]));
      supervisor.store(this.#name, this.#fd);
      if (before !== null) closeFd(before);
    });
  }

  /** A successor leaves its own, or the daemon ends for good. */
  forget(): void {
    if (this.#fd === null) return;
    this.#options.supervisor.forget(this.#name);
    closeFd(this.#fd);
    this.#fd = null;
  }
}
