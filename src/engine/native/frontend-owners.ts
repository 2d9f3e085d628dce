/** Whom the reports of the threads concern: frontends, and what stands for those that are no more. */
import type { EngineObserver, OrderlyEnds } from '../engine.ts';
import type { Admission } from '../admission/admission.ts';
import type { Hold } from '../hold.ts';
import type { Slots } from '../slots.ts';

/** Who hears of what happens at a frontend. */
export type FrontendOwner = {
  readonly observer: EngineObserver;
  readonly slots: Slots | null;
  readonly admission: Admission | null;
  readonly hold: Hold | null;
  /** A thread accepts no more under this number. */
  closedIn?(thread: number, id: number): void;
  /** A thread is gone. */
  loseThread?(thread: number): void;
  /** The thread of TLS handshakes is gone. */
  loseHandshakes?(): void;
  /** No thread has a connection of this number any more, nor will have. */
  forgottenAs?(id: number): void;
};

/** Whether the threads are to report connections to it that ended in order. */
export function orderlyEndsFor({ connectionEnded, wantsOrderlyEnds = true }: EngineObserver): OrderlyEnds {
  return connectionEnded !== undefined && wantsOrderlyEnds;
}

type Row = { readonly owner: FrontendOwner; readonly threads: Set<number> };

/**
 * Owners by the numbers of their frontends in the threads, of which one owner may have had several. Each is
 * remembered until every thread that was told of it has forgotten it: closed, and its last connection reported.
 */
export class FrontendOwners {
  readonly #rows = new Map<number, Row>();
  #lastId = 0;

  /** `threads`: those that are told of it. Returns its number. */
  add(owner: FrontendOwner, threads: readonly number[]): number {
    const id = ++this.#lastId;
    if (threads.length > 0) this.#rows.set(id, { owner, threads: new Set(threads) });
    return id;
  }

  get(id: number): FrontendOwner | undefined {
    return this.#rows.get(id)?.owner;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** A thread has forgotten a frontend. */
  forgotten(thread: number, id: number): void {
    const row = this.#rows.get(id);
    if (!row?.threads.delete(thread) || row.threads.size > 0) return;
    this.#rows.delete(id);
    row.owner.forgottenAs?.(id);
  }

  /** The owners that there are, each once. */
  get all(): Set<FrontendOwner> {
    return new Set([...this.#rows.values()].map(({ owner }) => owner));
  }

  /** A thread is gone. Returns the owners that there were, each once. */
  lost(thread: number): Set<FrontendOwner> {
    const owners = this.all;
    for (const id of this.#rows.keys()) this.forgotten(thread, id);
    return owners;
  }
}
