/** One accepted client of the portable engine, from its first to its last moment. */
import type { ClosingReason } from '../closing-reason.ts';
import type { Chosen } from '../sni-choice.ts';
import type { Leg } from './leg.ts';

/** Why a connection was ended from here, as the reason of its signal. */
export class EndedHere extends Error {
  readonly why: ClosingReason;

  constructor(why: ClosingReason) {
    super(why);
    this.why = why;
  }
}

/** One accepted client as its upstream counts it. */
export class Connection {
  readonly #controller = new AbortController();
  readonly #released = Promise.withResolvers<void>();
  readonly id: number;
  /** By a clock that never jumps. */
  readonly startedMs = performance.now();
  /** By the clock of `startedMs`. */
  movedMs = this.startedMs;
  /** The client's address. */
  peer = '';
  /** Once there is a relay between them. */
  legs: { near: Leg; far: Leg } | null = null;
  /** Milliseconds until its upstream was connected. */
  connectMs: number | null = null;
  /** Where the name that the client asked for decided. */
  chosen: Chosen | undefined;
  bytesIn = 0;
  bytesOut = 0;
  isDialing = true;

  constructor(id: number) {
    this.id = id;
  }

  /** For how many milliseconds it has been there. */
  get ageMs(): number {
    return performance.now() - this.startedMs;
  }

  /** Resolves when it is gone, its sockets closed. */
  get released(): Promise<void> {
    return this.#released.promise;
  }

  /** For its upstream: it is gone. */
  release(): void {
    this.#released.resolve();
  }

  /** Comes when the connection has to end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  end(reason: unknown): void {
    this.#controller.abort(reason);
  }
}
