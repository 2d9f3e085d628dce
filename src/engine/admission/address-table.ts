/**
 * Connections and new connections of each address of one source: a table of fixed size in shared memory, for all
 * threads. An address has its place in one of two sets of entries, told by a secret hash, so that nobody can choose
 * addresses which meet. Where both are full, the place is taken that means least: without a connection, and longest
 * not heard of. Only where all of them have connections is an address not counted.
 */
import { getRandomValues } from 'node:crypto';
import type { AddressKey } from './address-key.ts';

/** Addresses that the table holds. Memory is used for those that it has held. */
export const MAX_ADDRESSES: number = 1 << 17;
const WAYS = 8;
const SETS = MAX_ADDRESSES / WAYS;

/** Integers of the head: who is at it, and two secrets. */
const LOCK = 0;
const SECRETS = 1;
const HEAD_BYTES = 64;

/** 32-bit integers of an entry. */
const ENTRY = 8;
const HIGH = 0;
const LOW = 1;
/** Connections that this process has, and that others have. */
const OWN = 2;
const ELSEWHERE = 3;
const IS_USED = 4;
/** 64-bit number of an entry: until when (ms) what came from there takes up its rate. */
const FULL_AT = 3;

/** Whoever holds the lock does so for a fraction of a microsecond; one that died with it must not stop the others. */
const LOCK_MS = 50;

/** What an address may; null: as much as it likes. */
export type AddressLimits = {
  maxConnections: number | null;
  /** So much time does one connection take, of which `burst` may come at once (GCRA, ITU-T I.371). */
  rate: { intervalMs: number; burst: number } | null;
};

/** An address with connections or a rate that is not forgotten yet: [high, low, connections, ahead in ms]. */
export type AddressEntry = readonly [high: number, low: number, connections: number, aheadMs: number];

/** The table, made anew or in the memory of another thread's. Times are of one clock for all threads, in milliseconds. */
export class AddressTable {
  readonly memory: SharedArrayBuffer;
  readonly #ints: Int32Array;
  readonly #wide: Float64Array;

  constructor(memory?: SharedArrayBuffer) {
    this.memory = memory ?? new SharedArrayBuffer(HEAD_BYTES + MAX_ADDRESSES * ENTRY * 4);
    this.#ints = new Int32Array(this.memory);
    this.#wide = new Float64Array(this.memory);
    if (memory === undefined) this.#ints.set(getRandomValues(new Int32Array(2)), SECRETS);
  }

  /** One more connection of an address, if it may have one. Returns what it is over, or null. */
  enter({ high, low }: AddressKey, limits: AddressLimits, now: number): 'connections' | 'rate' | null {
    this.#lock();
    const at = this.#place(high, low, now);
    const refusal = at === -1 ? null : this.#enterAt(at, limits, now);
    this.#unlock();
    return refusal;
  }

  #enterAt(at: number, { maxConnections, rate }: AddressLimits, now: number): 'connections' | 'rate' | null {
    const ints = this.#ints;
    if (maxConnections !== null && ints[at + OWN]! + ints[at + ELSEWHERE]! >= maxConnections) return 'connections';
    if (rate !== null) {
      const wide = (at >> 1) + FULL_AT;
      const fullAt = Math.max(now, this.#wide[wide]!);
      if (fullAt - now > (rate.burst - 1) * rate.intervalMs) return 'rate';
      this.#wide[wide] = fullAt + rate.intervalMs;
    }
    ints[at + OWN]!++;
    return null;
  }

  /** A connection that was let in elsewhere, or before there was a limit, is this process's from now on. */
  add({ high, low }: AddressKey, now: number): void {
    this.#lock();
    const at = this.#place(high, low, now);
    if (at !== -1) {
      this.#ints[at + OWN]!++;
      if (this.#ints[at + ELSEWHERE]! > 0) this.#ints[at + ELSEWHERE]!--;
    }
    this.#unlock();
  }

  /** A connection of an address has ended. */
  leave({ high, low }: AddressKey): void {
    this.#lock();
    const at = this.#find(high, low);
    if (at !== -1 && this.#ints[at + OWN]! > 0) this.#ints[at + OWN]!--;
    this.#unlock();
  }

  /** Connections of an address, wherever they are. */
  connectionsOf({ high, low }: AddressKey): number {
    const at = this.#find(high, low);
    return at === -1 ? 0 : this.#ints[at + OWN]! + this.#ints[at + ELSEWHERE]!;
  }

  /**
   * The addresses that have connections, or a rate that is not as if they had never been there. `isOwn`: those of
   * this process alone.
   */
  entries(now: number, { isOwn }: { isOwn: boolean }): AddressEntry[] {
    const found: AddressEntry[] = [];
    for (let at = HEAD_BYTES / 4; at < this.#ints.length; at += ENTRY) {
      if (this.#ints[at + IS_USED] === 0) continue;
      const aheadMs = Math.max(0, this.#wide[(at >> 1) + FULL_AT]! - now);
      const connections = this.#ints[at + OWN]! + (isOwn ? 0 : this.#ints[at + ELSEWHERE]!);
      if (connections > 0 || aheadMs > 0)
        found.push([this.#ints[at + HIGH]!, this.#ints[at + LOW]!, connections, Math.ceil(aheadMs)]);
    }
    return found;
  }

  /** In place of what was said before: the connections that other processes have, and the rates there. */
  setElsewhere(entries: Iterable<AddressEntry>, now: number): void {
    this.#lock();
    for (let at = HEAD_BYTES / 4; at < this.#ints.length; at += ENTRY) this.#ints[at + ELSEWHERE] = 0;
    for (const [high, low, connections, aheadMs] of entries) {
      const at = this.#place(high, low, now);
      if (at === -1) continue;
      this.#ints[at + ELSEWHERE]! += connections;
      this.#wide[(at >> 1) + FULL_AT] = Math.max(this.#wide[(at >> 1) + FULL_AT]!, now + aheadMs);
    }
    this.#unlock();
  }

  /** Whether other processes have connections that count here. */
  get hasElsewhere(): boolean {
    for (let at = HEAD_BYTES / 4; at < this.#ints.length; at += ENTRY) if (this.#ints[at + ELSEWHERE]! > 0) return true;
    return false;
  }

  /** Those who had connections are gone, and nobody knows how many there were. */
  forgetOwn(): void {
    this.#lock();
    for (let at = HEAD_BYTES / 4; at < this.#ints.length; at += ENTRY) this.#ints[at + OWN] = 0;
    this.#unlock();
  }

  #find(high: number, low: number): number {
    const ints = this.#ints;
    for (let which = 0; which < 2; which++) {
      const set = this.#setOf(high, low, which);
      for (let at = set; at < set + WAYS * ENTRY; at += ENTRY) {
        if (ints[at + LOW] === low && ints[at + HIGH] === high && ints[at + IS_USED] === 1) return at;
      }
    }
    return -1;
  }

  /** The entry of an address, a new one if it has none; -1 where there is none to be had. */
  #place(high: number, low: number, now: number): number {
    const known = this.#find(high, low);
    if (known !== -1) return known;
    const at = this.#vacant(high, low, now);
    if (at === -1) return -1;
    const ints = this.#ints;
    ints[at + HIGH] = high;
    ints[at + LOW] = low;
    ints[at + OWN] = 0;
    ints[at + ELSEWHERE] = 0;
    ints[at + IS_USED] = 1;
    this.#wide[(at >> 1) + FULL_AT] = 0;
    return at;
  }

  /** One that was never used, in the set that has more of them; else the one that means least. */
  #vacant(high: number, low: number, now: number): number {
    const ints = this.#ints;
    const unused = [-1, -1];
    const count = [0, 0];
    let least = -1;
    let leastAt = Infinity;
    for (let which = 0; which < 2; which++) {
      const set = this.#setOf(high, low, which);
      for (let at = set; at < set + WAYS * ENTRY; at += ENTRY) {
        if (ints[at + IS_USED] === 0) {
          unused[which] = at;
          count[which]!++;
        } else if (ints[at + OWN] === 0 && ints[at + ELSEWHERE] === 0) {
          const fullAt = this.#wide[(at >> 1) + FULL_AT]!;
          if (fullAt < leastAt) [least, leastAt] = [at, fullAt];
        }
      }
    }
    // One whose rate is as if it had never been there costs nobody anything.
    if (least !== -1 && leastAt <= now && count[0]! + count[1]! < WAYS) return least;
    const [first, second] = unused as [number, number];
    if (first === -1 && second === -1) return least;
    return count[0]! >= count[1]! ? first : second;
  }

  /** Index of the first integer of a set. Murmur3's finalizer, over a secret. */
  #setOf(high: number, low: number, which: number): number {
    let hash = Math.imul(high ^ this.#ints[SECRETS + which]!, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) ^ low;
    hash = Math.imul(hash ^ (hash >>> 16) ^ this.#ints[SECRETS + 1 - which]!, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
    return HEAD_BYTES / 4 + (hash & (SETS - 1)) * WAYS * ENTRY;
  }

  #lock(): void {
    if (Atomics.compareExchange(this.#ints, LOCK, 0, 1) === 0) return;
    const until = performance.now() + LOCK_MS;
    while (Atomics.compareExchange(this.#ints, LOCK, 0, 1) !== 0) {
      if (performance.now() > until) return;
    }
  }

  #unlock(): void {
    Atomics.store(this.#ints, LOCK, 0);
  }
}
