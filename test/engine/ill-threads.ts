/** Threads of the native engine that do as they are told, and then what they should not. */
import { Worker } from 'node:worker_threads';
import type { StartWorker } from '../../src/engine/native/threads.ts';
import { until } from '../until.ts';

/** What a thread does as soon as it wakes. */
export const illnesses = [
  'healthy',
  'throws',
  'runs out of memory',
  'ends by itself',
  'loops',
  'blocks in a system call',
] as const;
export type Illness = (typeof illnesses)[number];

/** Longest that a thread blocks in a system call, in milliseconds. */
export const blockMs = 20_000;

/** Cells that a test shares with a thread: what it is to do, and whether it does. */
export const ORDER = 0;
export const OBEYS = 1;

export class IllThreads {
  readonly #orders: Int32Array[] = [];
  readonly #workers: Worker[] = [];

  /** For an engine's options. */
  readonly startWorker: StartWorker = (data, port) => {
    const order = new SharedArrayBuffer(8);
    const worker = new Worker(new URL('fixtures/ill-worker.ts', import.meta.url), {
      workerData: { ...data, order },
      transferList: [port],
      trackUnmanagedFds: false,
      resourceLimits: { maxOldGenerationSizeMb: 32 },
    });
    this.#orders.push(new Int32Array(order));
    this.#workers.push(worker);
    return worker;
  };

  /** Have a thread fall ill when it wakes next, a second from now at the latest. */
  fallIll(thread: number, illness: Illness): void {
    Atomics.store(this.#orders[thread]!, ORDER, illnesses.indexOf(illness));
  }

  /** Resolves when a thread loops or blocks. */
  async isIll(thread: number): Promise<void> {
    await until('the thread is ill', () => Atomics.load(this.#orders[thread]!, OBEYS) !== 0);
  }

  terminate(thread: number): void {
    void this.#workers[thread]?.terminate();
  }
}
