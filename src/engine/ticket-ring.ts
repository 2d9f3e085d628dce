/** The keys that seal the session tickets of every listener that has none of its own. */
import { randomBytes } from 'node:crypto';
import { TICKET_KEY_SIZE } from '../endpoint/ticket-keys.ts';
import { TICKET_ROTATION_MS } from './policy.ts';

/** A ring as another process takes it over: the keys in base64, the newest first, and when that one was made (ms since the epoch). */
export type TicketSnapshot = { keys: readonly string[]; sinceMs: number };

/** Keys kept: the one that seals, and the one before, which may have sealed sessions that are still good. */
const kept = 2;

/** Keys that are made here, known to nobody but processes of this daemon, and new after a time. */
export class TicketRing {
  #keys: readonly Buffer[];
  #sinceMs: number;
  readonly #nowMs: () => number;

  /** Goes on with the keys of another process where there are any. Throws TypeError when they are none. */
  constructor({ snapshot, nowMs = Date.now }: { snapshot?: TicketSnapshot | null; nowMs?: () => number } = {}) {
    this.#nowMs = nowMs;
    this.#keys = (snapshot?.keys ?? []).map((key) => Buffer.from(key, 'base64'));
    if (this.#keys.some(({ length }) => length !== TICKET_KEY_SIZE))
      throw new TypeError('these are no keys of tickets');
    this.#sinceMs = snapshot?.sinceMs ?? 0;
    this.rotateIfDue();
  }

  /** The newest first, which seals. */
  get keys(): readonly Buffer[] {
    return this.#keys;
  }

  get snapshot(): TicketSnapshot {
    return { keys: this.#keys.map((key) => key.toString('base64')), sinceMs: this.#sinceMs };
  }

  /** Milliseconds until a new key is due; none is made by itself. */
  get dueInMs(): number {
    return Math.max(0, this.#sinceMs + TICKET_ROTATION_MS - this.#nowMs());
  }

  /** Make a new key if it is time, and forget what is too old. Returns whether anything has changed. */
  rotateIfDue(): boolean {
    const nowMs = this.#nowMs();
    const ageMs = nowMs - this.#sinceMs;
    // A clock that was set back makes the newest one come from the future.
    const isCurrent = this.#keys.length > 0 && ageMs >= 0 && ageMs < TICKET_ROTATION_MS;
    if (isCurrent) return false;
    const isStillTaken = ageMs >= 0 && ageMs < 2 * TICKET_ROTATION_MS;
    this.#keys = [randomBytes(TICKET_KEY_SIZE), ...(isStillTaken ? this.#keys : [])].slice(0, kept);
    this.#sinceMs = nowMs;
    return true;
  }
}
