/**
 * The places of all connections of a daemon together (`--maxconn`). Whoever accepts takes one first, whatever the
 * rule, the engine and the thread; connections of other processes have theirs reserved. At the limit clients wait
 * in the queue of their listener, as they do at the `maxconn` of a source.
 *
 * The last tenth is kept for rules that have few connections, so that a flood of one leaves room for the others.
 */
import { Slots } from './slots.ts';
import type { SlotsPlan } from './slots.ts';

/** Cells behind those of the places of a source. */
const RULES = 2;
const WAITING = 3;
const WAITS = 4;
const MAIN = 5;
const SIZE = 6 * Int32Array.BYTES_PER_ELEMENT;
/** The part of the places that is kept for rules with few connections. */
const KEPT_PART = 10;

/** One number for all connections, in shared memory. Who finds no room says that it waits, and looks again when it is told of room. */
export class TotalSlots extends Slots {
  readonly #cells: Int32Array;
  readonly #watching = new Set<() => void>();

  constructor(from: { limit: number } | SlotsPlan) {
    super('memory' in from ? from : { ...from, size: SIZE });
    this.#cells = new Int32Array(this.memory);
  }

  /** How many rules there are: a single one has all places. */
  set rules(count: number) {
    Atomics.store(this.#cells, RULES, count);
    this.notify();
  }

  get #kept(): number {
    return Atomics.load(this.#cells, RULES) > 1 ? Math.floor(this.limit / KEPT_PART) : 0;
  }

  /** Who has fewer connections may take of the kept places. When all others are taken some rule has many, and the rest share them. */
  get #few(): number {
    return Math.max(1, Math.floor(this.#kept / (Atomics.load(this.#cells, RULES) - 1)));
  }

  /** Up to where who has so many connections of a rule may take places. */
  #ceilingFor(connections: number): number {
    const kept = this.#kept;
    return kept === 0 || connections < this.#few ? this.limit : this.limit - kept;
  }

  /** Whether there is room for one more of a rule that has so many connections here. */
  hasRoomFor(connections: number): boolean {
    return this.taken < this.#ceilingFor(connections);
  }

  /** Whether what is left is kept for rules with few connections: whoever takes a place needs to know how many it has. */
  get isShort(): boolean {
    const { taken, limit } = this;
    return taken < limit && taken >= limit - this.#kept;
  }

  /** Take a place for one more of a rule that has so many here, unless there is none. */
  tryTake(connections: number): boolean {
    return this.takeBelow(this.#ceilingFor(connections));
  }

  /**
   * Returns whether somebody who waits may find room now. In the main thread, those that wait are told.
   *
   * @param left how many connections the rule has left whose place it was: it may have few again, and find room where it found none
   */
  override release(count = 1, left = NaN): boolean {
    const after = this.giveBack(count);
    const before = after + count;
    const { limit } = this;
    const kept = this.#kept;
    const soft = limit - kept;
    const hasFewAgain = kept > 0 && left + 1 === this.#few;
    const hasRoom = (before >= limit && after < limit) || (before >= soft && (after < soft || hasFewAgain));
    if (hasRoom) this.notify();
    return hasRoom;
  }

  /** Be told, in the main thread, when as many are taken as some may take. Returns what ends that. */
  onFull(look: () => void): () => void {
    this.#watching.add(look);
    Atomics.store(this.#cells, MAIN, this.#watching.size);
    return () => {
      this.#watching.delete(look);
      Atomics.store(this.#cells, MAIN, this.#watching.size);
    };
  }

  /** Whether somebody is to be told that as many are taken as some may take. */
  get isToBeToldOf(): boolean {
    return Atomics.load(this.#cells, MAIN) > 0 && this.taken >= this.limit - this.#kept;
  }

  /** Tell them, if it is so. */
  notifyFull(): void {
    if (this.isToBeToldOf) for (const look of this.#watching) look();
  }

  /** Somebody accepts no more for want of room, and is to be told of some. */
  beginWait(): void {
    Atomics.add(this.#cells, WAITING, 1);
    Atomics.add(this.#cells, WAITS, 1);
  }

  endWait(): void {
    Atomics.sub(this.#cells, WAITING, 1);
  }

  /** Whether there is somebody who waits, in any thread. */
  get isWaitedFor(): boolean {
    return Atomics.load(this.#cells, WAITING) > 0;
  }

  /** How often somebody accepted no more for want of room, in this process. */
  get waits(): number {
    return Atomics.load(this.#cells, WAITS);
  }
}
