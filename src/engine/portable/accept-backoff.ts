import { GraceError } from '../../error.ts';
import { nextPause } from '../../waiting.ts';
import { ACCEPT_PAUSE_MS } from '../policy.ts';
import type { Descriptors } from './descriptors.ts';

/** A frontend, as the back-off knows it. */
export type Pausable = {
  paused(event: { error: Error; retryInMs: number }): void;
  resumed(): void;
};

/**
 * Stops all accepting for a while when the system has nothing left to accept with. Clients wait in the
 * queues meanwhile. The pause doubles while that lasts, and is cut short when a connection ends.
 */
export class AcceptBackoff {
  readonly #descriptors: Descriptors;
  readonly #frontends = new Set<Pausable>();
  #timer: NodeJS.Timeout | null = null;
  #delayMs = ACCEPT_PAUSE_MS.first;
  #resumedAtMs = -Infinity;

  constructor(descriptors: Descriptors) {
    this.#descriptors = descriptors;
  }

  get isOn(): boolean {
    return this.#timer !== null;
  }

  add(frontend: Pausable): void {
    this.#frontends.add(frontend);
  }

  remove(frontend: Pausable): void {
    this.#frontends.delete(frontend);
  }

  /** Look before accepting another client. */
  check(): void {
    if (!this.isOn && !this.#descriptors.hasRoom())
      this.apply(new GraceError('too many open files: no descriptors are left for more connections (EMFILE)'));
  }

  /** Accepting failed, or is going to. */
  apply(error: Error): void {
    if (this.isOn) return;
    // Trouble right after a pause is the same trouble still.
    const isNew = performance.now() - this.#resumedAtMs > ACCEPT_PAUSE_MS.max;
    this.#delayMs = nextPause(isNew ? 0 : this.#delayMs, ACCEPT_PAUSE_MS);
    this.#wait(this.#delayMs);
    for (const frontend of this.#frontends) frontend.paused({ error, retryInMs: this.#delayMs });
  }

  /** A connection ended. */
  ease(): void {
    if (this.#timer === null || this.#delayMs === ACCEPT_PAUSE_MS.first) return;
    clearTimeout(this.#timer);
    this.#delayMs = ACCEPT_PAUSE_MS.first;
    this.#wait(this.#delayMs);
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #wait(delayMs: number): void {
    this.#timer = setTimeout(() => this.#retry(), delayMs);
  }

  #retry(): void {
    if (!this.#descriptors.hasRoom()) {
      this.#delayMs = nextPause(this.#delayMs, ACCEPT_PAUSE_MS);
      return this.#wait(this.#delayMs);
    }
    this.#timer = null;
    this.#resumedAtMs = performance.now();
    for (const frontend of this.#frontends) frontend.resumed();
  }
}
