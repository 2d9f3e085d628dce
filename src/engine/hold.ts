/**
 * Clients of one source that wait before their destination is dialled, since the source is held. As with
 * places (slots.ts), the numbers are in shared memory, which all count in who serve a client of the source;
 * whoever is to act on a change is told in the main thread.
 */
const ON = 0;
const LIMIT = 1;
const WAITING = 2;

/** What a thread needs to take part. */
export type HoldPlan = { memory: SharedArrayBuffer };

/** Who acts on what happens to a hold, in the main thread. */
export type HoldWatcher<Upstream> = {
  /** It is over: dial for those that wait, in the order in which they came. */
  ended?(): void;
  /** Those that wait go to this destination, once they go. */
  routed?(upstream: Upstream): void;
  /** As many wait as may: accept nobody for now. */
  filled?(): void;
  /** There is room for more of them again. */
  emptied?(): void;
};

/** Whether the clients of one source wait, how many do, and how many may. `Upstream`: where they can be sent. */
export class Hold<Upstream = unknown> {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Int32Array;
  readonly #watchers = new Set<HoldWatcher<Upstream>>();

  /** One that is not on, or in a thread that of its plan. */
  constructor({ memory = new SharedArrayBuffer(12) }: Partial<HoldPlan> = {}) {
    this.memory = memory;
    this.#cells = new Int32Array(memory);
  }

  get isOn(): boolean {
    return Atomics.load(this.#cells, ON) !== 0;
  }

  /** How many may wait; with several threads it may be exceeded by one for each. */
  get limit(): number {
    return Atomics.load(this.#cells, LIMIT);
  }

  get waiting(): number {
    return Atomics.load(this.#cells, WAITING);
  }

  /** Whether nobody is to be accepted: clients had better wait in the queue of the listener. */
  get isFull(): boolean {
    return this.isOn && this.waiting >= this.limit;
  }

  /** From now on clients wait that are not being dialled for yet; or, where they do already, so many may. */
  begin({ limit }: { limit: number }): void {
    const wasFull = this.isFull;
    Atomics.store(this.#cells, LIMIT, limit);
    Atomics.store(this.#cells, ON, 1);
    if (wasFull && !this.isFull) this.notify();
    else if (this.isFull) this.#tellFull();
  }

  /** Let those that wait go on. Returns how many did; twice is fine. */
  end(): number {
    if (!this.isOn) return 0;
    const { waiting } = this;
    Atomics.store(this.#cells, ON, 0);
    for (const { ended } of this.#watchers) ended?.();
    return waiting;
  }

  /** Those that wait are to go to another destination, where new ones go already. */
  route(upstream: Upstream): void {
    for (const { routed } of this.#watchers) routed?.(upstream);
  }

  /** One more waits. */
  enter(): void {
    Atomics.add(this.#cells, WAITING, 1);
    if (this.isFull) this.#tellFull();
  }

  /** One waits no longer. Returns whether there is room now that was not before. In the main thread, those that wait for it are told. */
  leave(): boolean {
    const before = Atomics.sub(this.#cells, WAITING, 1);
    const hasRoom = this.isOn && before >= this.limit && before - 1 < this.limit;
    if (hasRoom) this.notify();
    return hasRoom;
  }

  /** A thread says that there is room. */
  notify(): void {
    for (const { emptied } of this.#watchers) emptied?.();
  }

  /** A thread says that there is none. */
  notifyFull(): void {
    this.#tellFull();
  }

  #tellFull(): void {
    for (const { filled } of this.#watchers) filled?.();
  }

  /** Be told. Returns what ends that. */
  watch(watcher: HoldWatcher<Upstream>): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }
}
