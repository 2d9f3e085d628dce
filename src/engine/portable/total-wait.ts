/** The places of all connections, as one frontend has to do with them. */
import type { TotalSlots } from '../total-slots.ts';

/** Takes a place for each client of a frontend, and knows whether it waits for one. Without a limit there always is one. */
export class TotalWait {
  readonly #total: TotalSlots | null;
  #isOn = false;

  constructor(total: TotalSlots | null) {
    this.#total = total;
  }

  /** Whether the frontend waits to be told of room. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** Be told of room, and of its end. Returns what ends that. */
  watch({ room, full }: { room: () => void; full: () => void }): () => void {
    const ends = [this.#total?.onRoom(room), this.#total?.onFull(full)];
    return () => ends.forEach((end) => end?.());
  }

  /** Take a place for one more of a source that has so many connections. Without one the wait begins. */
  tryTake(connections: number): boolean {
    if (this.#total === null) return true;
    if (this.#total.tryTake(connections)) {
      this.#total.notifyFull();
      return true;
    }
    this.#begin(this.#total);
    return false;
  }

  /** Whether there is a place for one more; if not, the wait begins. */
  hasRoomFor(connections: number): boolean {
    if (this.#total === null || this.#total.hasRoomFor(connections)) return true;
    this.#begin(this.#total);
    return false;
  }

  #begin(total: TotalSlots): void {
    if (!this.#isOn) total.beginWait();
    this.#isOn = true;
  }

  /** End the wait if there is room, or if there was none. Returns whether it is over. */
  tryEnd(connections: number): boolean {
    if (this.#isOn && !this.#total?.hasRoomFor(connections)) return false;
    this.end();
    return true;
  }

  /** Wait no longer. */
  end(): void {
    if (this.#isOn) this.#total?.endWait();
    this.#isOn = false;
  }

  /** Take a place for a client that has to be served, whether there is one or not. */
  take(): void {
    this.#total?.take();
  }

  /** A client has gone. */
  release(): void {
    this.#total?.release();
  }
}
