/** Options of TCP sockets. */
import { C } from '../../sys/constants.ts';
import { KEEP_ALIVE } from '../policy.ts';
import type { Kernel } from './kernel.ts';
import { KIND_SERVER } from './connection-table.ts';
import type { Thread } from './thread.ts';

const TCP_NODELAY = 1;
const IPPROTO_TCP = 6;
const SO_KEEPALIVE = 9;
const TCP_KEEPIDLE = 4;
const TCP_KEEPINTVL = 5;
const TCP_KEEPCNT = 6;

/** Most connections end before this age, and never need the three calls that set the times of keep-alive. */
const TIMES_FROM_AGE_MS = 10_000;

/** Have small writes sent at once (TCP_NODELAY). */
export function setNoDelay(kernel: Kernel, fd: number): void {
  kernel.setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

function setKeepAlive(kernel: Kernel, fd: number): void {
  kernel.setOption(fd, C.SOL_SOCKET, SO_KEEPALIVE, 1);
}

function setKeepAliveTimes(kernel: Kernel, fd: number, idleMs: number): void {
  kernel.setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, Math.min(Math.max(1, Math.round(idleMs / 1000)), 32767));
  kernel.setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEP_ALIVE.intervalMs / 1000);
  kernel.setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEP_ALIVE.probes);
}

/** What a client has to have. Of a listener: what all have that connect from then on, as Linux passes it on to them. */
export function tuneClient(kernel: Kernel, fd: number): void {
  setNoDelay(kernel, fd);
  setKeepAlive(kernel, fd);
  setKeepAliveTimes(kernel, fd, KEEP_ALIVE.idleMs);
}

/** Keep-alive of connections to a destination: on from the start, its times once they are no longer young. */
export class KeepAlive {
  readonly #thread: Thread;
  /** Triples of descriptor, generation and idle milliseconds, for each second in which connections were made; oldest first. */
  #batches: { dueAt: number; entries: number[] }[] = [];

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  get wakeAt(): number {
    return this.#batches[0]?.dueAt ?? Infinity;
  }

  add(fd: number, idleMs: number): void {
    const { now, table, kernel } = this.#thread;
    setKeepAlive(kernel, fd);
    let last = this.#batches.at(-1);
    if (last === undefined || last.dueAt < now + TIMES_FROM_AGE_MS) {
      last = { dueAt: now + TIMES_FROM_AGE_MS + 1000, entries: [] };
      this.#batches.push(last);
    }
    last.entries.push(fd, table.generation(fd), idleMs);
  }

  /** A connection came from another process, which may not have set the times yet. */
  setNow(fd: number, idleMs: number): void {
    const { kernel } = this.#thread;
    setKeepAlive(kernel, fd);
    setKeepAliveTimes(kernel, fd, idleMs);
  }

  runDue(): void {
    const { now, table, kernel } = this.#thread;
    while (this.#batches.length > 0 && this.#batches[0]!.dueAt <= now) {
      const { entries } = this.#batches.shift()!;
      for (let at = 0; at < entries.length; at += 3) {
        const [fd = -1, generation, idleMs = 0] = entries.slice(at, at + 3);
        if (table.generation(fd) === generation && table.has(fd, KIND_SERVER)) setKeepAliveTimes(kernel, fd, idleMs);
      }
    }
  }
}
