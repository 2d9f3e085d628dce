/** The keys that seal the session tickets of every listener that has none of its own. */
import { randomBytes } from 'node:crypto';
import { TICKET_KEY_SIZE } from '../endpoint/ticket-keys.ts';
import { TICKET_ROTATION_MS } from './policy.ts';

/** A ring as another process takes it over: the keys in base64, the newest first, and when that one was made (ms since the epoch). */
export type TicketSnapshot = { keys: readonly string[]; sinceMs: number };

/** Keys kept: the one that seals, and the one before, which may have sealed sessions that are still good. */
const kept = 2;

/** What a ring goes on with, and who hears of new keys. */
export type TicketRingOptions = {
  snapshot?: TicketSnapshot | null;
  /** The keys have come into use, or there is a new one. */
  changed?: () => void;
  nowMs?: () => number;
};

/** Keys that are made here, known to nobody but processes of this daemon, and new after a time. */
export class TicketRing {
  #keys: readonly Buffer[] = [];
  #sinceMs = 0;
  #isUsed = false;
  readonly #changed: () => void;
  readonly #listeners = new Set<() => void>();
  readonly #nowMs: () => number;

  /** Goes on with the keys of another process where there are any; any that are none are passed over. */
  constructor({ snapshot = null, changed = () => {}, nowMs = Date.now }: TicketRingOptions = {}) {
    this.#nowMs = nowMs;
    this.#changed = changed;
    const keys = snapshot?.keys.map((key) => Buffer.from(key, 'base64')) ?? [];
    if (snapshot === null || keys.length === 0 || keys.some(({ length }) => length !== TICKET_KEY_SIZE)) return;
    this.#keys = keys;
    this.#sinceMs = snapshot.sinceMs;
    this.#isUsed = true;
  }

  /** The newest first, which seals; made anew when its time is over. */
  get keys(): readonly Buffer[] {
    if (this.#rotateIfDue() || !this.#isUsed) {
      this.#isUsed = true;
      this.#changed();
      for (const listener of this.#listeners) listener();
    }
    return this.#keys;
  }

  /** Call `listener` whenever there is a new key, which is when somebody asks for the keys, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether a ticket has been sealed, or asked for. */
  get isUsed(): boolean {
    return this.#isUsed;
  }

  get snapshot(): TicketSnapshot {
    return { keys: this.#keys.map((key) => key.toString('base64')), sinceMs: this.#sinceMs };
  }

  /** Make a new key if it is time, and forget what is too old. */
  #rotateIfDue(): boolean {
    const nowMs = this.#nowMs();
    const ageMs = nowMs - this.#sinceMs;
    // A clock that was set back makes the newest one come from the future.
    if (this.#keys.length > 0 && ageMs >= 0 && ageMs < TICKET_ROTATION_MS) return false;
    const isStillTaken = ageMs >= 0 && ageMs < 2 * TICKET_ROTATION_MS;
    this.#keys = [randomBytes(TICKET_KEY_SIZE), ...(isStillTaken ? this.#keys : [])].slice(0, kept);
    this.#sinceMs = nowMs;
    return true;
  }
}
