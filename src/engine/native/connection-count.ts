/** Connections of a frontend: how many a thread has, and how many all threads have, in memory that they share. */
export class ConnectionCount {
  readonly #all: Int32Array;
  /** Those of this thread. */
  here = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#all = new Int32Array(memory);
  }

  /** Memory of a frontend that has none yet. */
  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  }

  /** Those of all threads. */
  get all(): number {
    return Atomics.load(this.#all, 0);
  }

  /** This thread has one more. */
  enter(): void {
    this.here++;
    Atomics.add(this.#all, 0, 1);
  }

  leave(): void {
    this.here--;
    Atomics.sub(this.#all, 0, 1);
  }
}
