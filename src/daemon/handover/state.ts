import type { Arrival } from '../../control/shapes.ts';
import type { Admission } from '../../engine/admission/admission.ts';
import type { Changes } from '../../forward/changes.ts';
import type { Destination } from '../../forward/destination.ts';
import type { DestinationView } from '../../forward/table.ts';
import type { Lifecycle } from '../lifecycle.ts';

/** What the successor was told of the counters of each destination: it counts that from then on. */
export type HandedCounters = readonly { destination: Destination; bytesIn: number; bytesOut: number }[];

/** The destinations of the rules that are handed over, and what the successor was told of their counters. */
export type HandedOver = {
  views: readonly DestinationView[];
  told: HandedCounters;
  /** Who counts what is left of the connections of each address. */
  admissions: readonly { srcKey: string; admission: Admission | null }[];
};

/**
 * How far a restart is, in either process: one object knows it, and every change of it is one of its methods.
 * The phase that follows from it is the lifecycle's.
 */
export class HandoverState {
  readonly #lifecycle: Lifecycle;
  readonly #changes: Changes;
  #cancel: ((why: string) => void) | null = null;
  #handedOver: HandedOver | null = null;
  #isStopWanted = false;
  #isMoving = false;
  #arrival: Arrival | null = null;

  /** Whoever waits for `changes` hears when connections have moved. */
  constructor(lifecycle: Lifecycle, changes: Changes) {
    this.#lifecycle = lifecycle;
    this.#changes = changes;
  }

  /** What a successor has been told to go on with; null while there is none. Its counters are the successor's. */
  get handedOver(): HandedOver | null {
    return this.#handedOver;
  }

  /** A signal asked for the end while a restart was under way: the successor is to stop at once. */
  get isStopWanted(): boolean {
    return this.#isStopWanted;
  }

  /** Open connections are on their way to this process, or from it. */
  get isMoving(): boolean {
    return this.#isMoving;
  }

  /** A successor is being started; `cancel` gives it up. Throws GraceError when this is not the time for one. */
  begin(cancel: (why: string) => void): void {
    this.#lifecycle.restarts();
    this.#cancel = cancel;
  }

  /** Give up a restart whose successor has not come up; does nothing when there is none. */
  cancel(why: string): void {
    this.#cancel?.(why);
  }

  /** The successor has come up, or the restart is over: it cannot be cancelled any more. */
  endCancelling(): void {
    this.#cancel = null;
  }

  /** The daemon is to stop, whichever process serves after this restart. */
  wantStop(): void {
    this.#isStopWanted = true;
  }

  /** The successor goes on with these. */
  handOver(handedOver: HandedOver): void {
    this.#handedOver = handedOver;
  }

  /** The restart came to nothing. Returns what the successor was told of counters, which are this process's again. */
  rollback(): HandedCounters {
    this.#lifecycle.resumes();
    const told = this.#handedOver?.told ?? [];
    this.#handedOver = null;
    return told;
  }

  /** The successor serves; there is no way back. */
  replaced(): void {
    this.#lifecycle.isReplaced();
  }

  /** What came of the restart that made this process the one that serves; null: there was none. */
  get arrival(): Arrival | null {
    return this.#arrival;
  }

  /** So much came of it, or none of it has come yet. */
  arrived(arrival: Omit<Arrival, 'at'>): void {
    this.#arrival = { at: this.#arrival?.at ?? new Date().toISOString(), ...arrival };
  }

  /** Connections begin to move. */
  beginMoving(): void {
    this.#isMoving = true;
  }

  /** All connections that could move have, in either direction. */
  endMoving(): void {
    this.#isMoving = false;
    this.#changes.notify();
  }
}
