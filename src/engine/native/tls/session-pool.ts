/**
 * What handshakes with one destination leave for later ones: which key exchange it took, and sessions that have not been used yet,
 * as addresses of libssl's SSL_SESSION, in memory that the threads share: some put in what their legs were given, others take out
 * what their handshakes offer. A session belongs to whoever has taken it out, so that no two threads ever have the same one.
 */

/** Most sessions of a destination: as many as begin at once without one being used twice. */
export const MAX_SESSIONS = 32;
/** Most sessions of all destinations of an engine. */
const MAX_IN_TOTAL = 2048;
/** So many sessions in a row that were not taken are a sign that no others will be. */
const MAX_REFUSALS = 3;
/** Then none are kept for so long. */
const REST_MS = 60_000;
/** The key exchange that a destination took is good to know for so long. */
const GROUP_MS = 600_000;
/**
 * What is in the memory: whether the pool is closed; how many in a row were not taken, and when the last of them was; the group of the
 * last key exchange, and since when it is known; sessions. Times are in milliseconds of Date.
 */
const CLOSED = 0;
const REFUSALS = 1;
const REFUSED_AT = 2;
const GROUP = 3;
const GROUP_AT = 4;
const SLOTS_AT = 5;

/** What a thread needs to know of a pool. `total`: how many sessions all pools of an engine have. */
export type SessionPlan = { readonly slots: SharedArrayBuffer; readonly total: SharedArrayBuffer };

/** Memory that all pools of an engine share. */
export function openSessionTotal(): SharedArrayBuffer {
  return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
}

/** The memory of a new pool. */
export function openSessionPlan(total: SharedArrayBuffer): SessionPlan {
  return { slots: new SharedArrayBuffer((SLOTS_AT + MAX_SESSIONS) * BigInt64Array.BYTES_PER_ELEMENT), total };
}

/** One pool, as a thread sees it. What is taken out is to be freed by whoever takes it. */
export class SessionPool {
  readonly #slots: BigInt64Array;
  readonly #total: Int32Array;

  constructor({ slots, total }: SessionPlan) {
    this.#slots = new BigInt64Array(slots);
    this.#total = new Int32Array(total);
  }

  /** Whether there is room for more. */
  get hasRoom(): boolean {
    if (this.#isClosed || Atomics.load(this.#total, 0) >= MAX_IN_TOTAL || this.#isResting) return false;
    for (let at = SLOTS_AT; at < this.#slots.length; at++) if (this.#slots[at] === 0n) return true;
    return false;
  }

  get #isClosed(): boolean {
    return Atomics.load(this.#slots, CLOSED) !== 0n;
  }

  /** Some servers give what they never take, as several behind one address do without keys in common. */
  get #isResting(): boolean {
    if (Atomics.load(this.#slots, REFUSALS) < MAX_REFUSALS) return false;
    return Date.now() < Number(Atomics.load(this.#slots, REFUSED_AT)) + REST_MS;
  }

  /** A session was offered `atMs` (of Date), and taken or not. Those that were offered before one was refused say nothing new. */
  note(atMs: number, { isTaken }: { isTaken: boolean }): void {
    if (isTaken) return void Atomics.store(this.#slots, REFUSALS, 0n);
    if (atMs <= Number(Atomics.load(this.#slots, REFUSED_AT))) return;
    Atomics.add(this.#slots, REFUSALS, 1n);
    Atomics.store(this.#slots, REFUSED_AT, BigInt(Date.now()));
  }

  /** IANA's number of the group that the destination took for its last key exchange; 0: not known, or for too long. */
  get group(): number {
    if (Date.now() >= Number(Atomics.load(this.#slots, GROUP_AT)) + GROUP_MS) return 0;
    return Number(Atomics.load(this.#slots, GROUP));
  }

  set group(group: number) {
    Atomics.store(this.#slots, GROUP, BigInt(group));
    Atomics.store(this.#slots, GROUP_AT, BigInt(Date.now()));
  }

  /** Put a session in. Returns false when there is no room: it stays the caller's. */
  put(session: bigint): boolean {
    if (!this.hasRoom) return false;
    for (let at = SLOTS_AT; at < this.#slots.length; at++) {
      if (Atomics.compareExchange(this.#slots, at, 0n, session) !== 0n) continue;
      Atomics.add(this.#total, 0, 1);
      // Whoever closes it may have passed by here already.
      return !this.#isClosed || !this.#takeAt(at, session);
    }
    return false;
  }

  /** Take them out one by one, those first that were put in last, more or less. */
  *takeAll(): Generator<bigint> {
    for (let at = this.#slots.length - 1; at >= SLOTS_AT; at--) {
      const session = Atomics.load(this.#slots, at);
      if (session !== 0n && this.#takeAt(at, session)) yield session;
    }
  }

  #takeAt(at: number, session: bigint): boolean {
    if (Atomics.compareExchange(this.#slots, at, session, 0n) !== session) return false;
    Atomics.sub(this.#total, 0, 1);
    return true;
  }

  /** Nothing can be put in any more. What is there is to be taken out. */
  close(): void {
    Atomics.store(this.#slots, CLOSED, 1n);
  }
}
