/**
 * The last moments of a socket whose peer may still send, after our direction has ended. Bytes that come after a
 * close(2) make the kernel answer with a reset, at which it throws away what its queue still holds for the peer; so what comes is
 * read, by nobody, until the peer ends too.
 */
import { TCP_EVENTS } from './epoll-events.ts';
import { EAGAIN, EINTR } from './errno.ts';
import { KIND_OWN, LINGERING } from './connection-table.ts';
import type { Thread } from './thread.ts';

/** Longest that a peer may take over its end, in milliseconds; the kernel goes on sending what it has after that, too. */
const LINGER_MS = 10_000;
/** Reads of one socket before others have their turn; what is left is read when more comes, or given up in the end. */
const READS_PER_TURN = 16;

/** The sockets of one thread that linger. */
export class Linger {
  readonly #thread: Thread;
  /** Until when, by descriptor; the oldest first, since all have the same time. */
  readonly #until = new Map<number, number>();

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** When `runDue` has something to do. */
  get wakeAt(): number {
    for (const until of this.#until.values()) return until;
    return Infinity;
  }

  /** End our direction of a watched socket, and close it when its peer has ended, too. Its row has been closed. */
  begin(fd: number): void {
    const { table, kernel, number, now } = this.#thread;
    const generation = table.open(fd, number, KIND_OWN | LINGERING);
    kernel.endSending(fd); // ENOTCONN: the peer has reset it, which is read below
    // Set anew, it gives an event for what is there already.
    if (kernel.rewatch(fd, TCP_EVENTS, generation) < 0) return this.#close(fd);
    this.#until.set(fd, now + LINGER_MS);
    this.handle(fd);
  }

  /** Events of a socket that lingers. */
  handle(fd: number): void {
    const { kernel } = this.#thread;
    for (let reads = 0; reads < READS_PER_TURN; reads++) {
      const length = kernel.receive(fd);
      if (length === -EAGAIN) return;
      if (length === 0 || (length < 0 && length !== -EINTR)) return this.#close(fd);
    }
  }

  runDue(): void {
    if (this.#until.size === 0) return;
    const { now } = this.#thread;
    for (const [fd, until] of this.#until) {
      if (now < until) return;
      this.#close(fd);
    }
  }

  #close(fd: number): void {
    const { table, kernel } = this.#thread;
    this.#until.delete(fd);
    table.close(fd);
    kernel.close(fd);
  }
}
