/** Ends connections that have lasted as long as their frontend allows. */
import { jittered } from '../policy.ts';
import { FROZEN, KIND_CLIENT } from './connection-table.ts';
import type { Thread } from './thread.ts';

/** Looks that the shortest lifetime takes, and the bounds of the pause between two, in milliseconds. */
const LOOKS = 20;
const PAUSE_MS = { least: 10, most: 10_000 };

/** Looks at the connections of one thread now and then, as long as one of its frontends has a limit. */
export class LifetimeWatch {
  readonly #thread: Thread;
  wakeAt = Infinity;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Start to look at the connections of a frontend. */
  add({ lifetimeMs }: { lifetimeMs: number | null }): void {
    if (lifetimeMs !== null) this.wakeAt = Math.min(this.wakeAt, this.#thread.now + pauseFor(lifetimeMs));
  }

  runDue(): void {
    const { now, frontends, table, number, fdBound } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    const limits = new Map<number, number>();
    for (const [id, { plan }] of frontends) {
      if (plan.lifetimeMs === null) continue;
      limits.set(id, plan.lifetimeMs);
      this.wakeAt = Math.min(this.wakeAt, now + pauseFor(plan.lifetimeMs));
    }
    if (limits.size === 0) return;
    for (const client of table.owned(number, KIND_CLIENT, fdBound)) {
      const lifetimeMs = limits.get(table.frontend(client));
      if (lifetimeMs === undefined || table.other(client) === -1 || table.has(client, FROZEN)) continue;
      // The number stays the same over restarts, and so does what is added or taken by it.
      if (now - table.started(client) >= jittered(lifetimeMs, table.id(client)))
        this.#thread.end(client, { stage: 'relay', why: 'lifetime', reason: null, reset: false });
    }
  }
}

function pauseFor(lifetimeMs: number): number {
  return Math.min(Math.max(PAUSE_MS.least, lifetimeMs / LOOKS), PAUSE_MS.most);
}
