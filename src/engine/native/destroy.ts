/** Connections that the main thread wants ended: all of an upstream, or some by their numbers. */
import type { ClosingReason } from '../closing-reason.ts';
import { DOOMED, FROZEN, KIND_CLIENT, SHAKING } from './connection-table.ts';
import type { Thread } from './thread.ts';

/** Ends connections of one thread, at once or as soon as they are its own again. */
export class Destroyer {
  readonly #thread: Thread;
  /** Why those are to be ended that are frozen or in their handshake at the moment. */
  readonly #doomed = new Map<number, ClosingReason>();

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** End all of an upstream; those that are frozen, as soon as they are it no longer. */
  destroy(upstream: number, why: ClosingReason): void {
    const { table, number, fdBound } = this.#thread;
    for (const client of table.owned(number, KIND_CLIENT, fdBound))
      if (table.upstream(client) === upstream) this.#destroyOne(client, why);
  }

  /** End those with these numbers, as `destroy` does. Returns how many there were. */
  close(ids: readonly number[]): number {
    const { table, number, fdBound } = this.#thread;
    const wanted = new Set(ids);
    let count = 0;
    for (const client of table.owned(number, KIND_CLIENT, fdBound)) {
      if (!wanted.has(table.id(client)) || table.has(client, DOOMED)) continue;
      this.#destroyOne(client, 'closed');
      count++;
    }
    return count;
  }

  #destroyOne(client: number, why: ClosingReason): void {
    const { table } = this.#thread;
    // The main thread is passing its descriptors on at this moment.
    if (table.has(client, FROZEN | SHAKING)) {
      table.set(client, DOOMED);
      this.#doomed.set(client, why);
      // The thread that shakes hands with it sees the end, and gives it back.
      if (table.has(client, SHAKING)) this.#thread.kernel.endBoth(client);
      return;
    }
    const stage = table.other(client) === -1 ? 'dial' : 'relay';
    this.#thread.end(client, { stage, why, reason: null, reset: false });
  }

  /** Why one is to be ended that is doomed. */
  doomOf(client: number): ClosingReason {
    return this.#doomed.get(client) ?? 'closed';
  }

  /** A client is about to be closed. */
  forget(client: number): void {
    this.#doomed.delete(client);
  }
}
