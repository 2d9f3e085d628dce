import { GraceError } from '../error.ts';
import type { Changes } from '../forward/changes.ts';

/**
 * What a daemon process is at the moment:
 *
 *     starting ── serves ──► serving ◄─ resumes ─ restarting ── isReplaced ──► replaced
 *                              │ └── restarts ───────►
 *                              └── stops ──► stopping ── ends ──► ended
 *
 * One that is replaced ends when its connections have; one that nobody needs goes from `serving` to
 * `ended`. This object alone knows the phase: there is no way to set one that cannot follow.
 */
export class Lifecycle {
  readonly #changes: Changes;
  #phase: Phase = 'starting';
  #isAnnounced = false;

  /** Whoever waits for `changes` hears of each new phase. */
  constructor(changes: Changes) {
    this.#changes = changes;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Clients find this process in the state dir, with its rules: those it serves, and those that are only stored. */
  get isServing(): boolean {
    return this.#phase === 'serving' || this.#phase === 'restarting';
  }

  /** It has been said that the daemon is about to stop. */
  get isAnnounced(): boolean {
    return this.#isAnnounced;
  }

  /** It serves still, and whoever can go elsewhere had better. */
  announce(): void {
    this.#isAnnounced = true;
    this.#changes.notify();
  }

  get isStopping(): boolean {
    return this.#phase === 'stopping' || this.#phase === 'ended';
  }

  /** Everything is open, and the state dir is this process's. */
  serves(): void {
    this.#become('serving', ['starting']);
  }

  /** A successor is being started. Throws GraceError when this is not the time for one. */
  restarts(): void {
    if (this.#phase === 'restarting') throw new GraceError('a restart is already under way');
    if (this.#phase !== 'serving') throw new GraceError('the daemon is stopping');
    this.#become('restarting', ['serving']);
  }

  /** The restart came to nothing. */
  resumes(): void {
    this.#become('serving', ['restarting']);
  }

  /** A successor serves; there is no way back. */
  isReplaced(): void {
    this.#become('replaced', ['restarting']);
  }

  /** Nothing is accepted any more. Returns false when it was so already. */
  stops(): boolean {
    if (this.isStopping) return false;
    this.#become('stopping', ['serving']);
    return true;
  }

  /** There is nothing left to do. */
  ends(): void {
    if (this.#phase !== 'ended') this.#become('ended', ['serving', 'stopping']);
  }

  #become(next: Phase, from: readonly Phase[]): void {
    if (!from.includes(this.#phase)) throw new TypeError(`a daemon that is ${this.#phase} cannot become ${next}`);
    this.#phase = next;
    this.#changes.notify();
  }
}

/** What a daemon process is at the moment, see {@link Lifecycle}. */
export type Phase = 'starting' | 'serving' | 'restarting' | 'replaced' | 'stopping' | 'ended';
