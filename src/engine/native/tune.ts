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

/** Connections that were made in one second, by descriptor: the generation, and the idle milliseconds. */
type Batch = {
  readonly dueAt: number;
  readonly generations: Map<number, number>;
  readonly idleMs: Map<number, number>;
};

/**
 * Keep-alive of connections to a destination: on from the start, its times once they are no longer young. Of many that come
 * and go no more is remembered than descriptors that they had: who has one now is the only one that may grow old.
 */
export class KeepAlive {
  readonly #thread: Thread;
  /** The oldest first. */
  readonly #batches: Batch[] = [];

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  get wakeAt(): number {
    return this.#batches[0]?.dueAt ?? Infinity;
  }

  /** How much is remembered. */
  get size(): number {
    return this.#batches.reduce((sum, { generations }) => sum + generations.size, 0);
  }

  add(fd: number, idleMs: number): void {
    const { now, table, kernel } = this.#thread;
    setKeepAlive(kernel, fd);
    let last = this.#batches.at(-1);
    if (last === undefined || last.dueAt < now + TIMES_FROM_AGE_MS) {
      last = { dueAt: now + TIMES_FROM_AGE_MS + 1000, generations: new Map(), idleMs: new Map() };
      this.#batches.push(last);
    }
    last.generations.set(fd, table.generation(fd));
    last.idleMs.set(fd, idleMs);
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
      const { generations, idleMs } = this.#batches.shift()!;
      for (const [fd, generation] of generations) {
        if (table.generation(fd) !== generation || !table.has(fd, KIND_SERVER)) continue;
        setKeepAliveTimes(kernel, fd, idleMs.get(fd)!);
      }
    }
  }
}
