/**
 * Signs of life of a thread: shared cells, which it writes and the main thread reads. A thread that
 * sits in a system call, or in a loop without end, cannot be asked.
 */
const IS_RUNNING = 0;
const HAS_STARTED = 1;
const EXECUTED = 2;

/** The cells of one thread. Made in the main thread, and again of its memory in the other. */
export class Heartbeat {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(12)) {
    this.memory = memory;
    this.#cells = new Int32Array(memory);
  }

  /** It may be in a system call from now on, out of which nobody can call it. */
  start(): void {
    Atomics.store(this.#cells, IS_RUNNING, 1);
    Atomics.store(this.#cells, HAS_STARTED, 1);
  }

  /** Whether it runs or has run. */
  get hasStarted(): boolean {
    return Atomics.load(this.#cells, HAS_STARTED) === 1;
  }

  stop(): void {
    Atomics.store(this.#cells, IS_RUNNING, 0);
    Atomics.notify(this.#cells, IS_RUNNING);
  }

  /** A command was carried out. */
  beat(): void {
    Atomics.add(this.#cells, EXECUTED, 1);
  }

  /** Commands that it has carried out. */
  get executed(): number {
    return Atomics.load(this.#cells, EXECUTED);
  }

  /** Block until it has stopped. Returns whether that was in time. */
  waitForStop(timeoutMs: number): boolean {
    return Atomics.wait(this.#cells, IS_RUNNING, 1, timeoutMs) !== 'timed-out';
  }
}
