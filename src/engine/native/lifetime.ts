/** Ends connections that have lasted as long as their frontend allows. */
import { jittered } from '../policy.ts';
import { FROZEN, KIND_CLIENT } from './connection-table.ts';
import type { Thread } from './thread.ts';

/** Looks that the shortest lifetime takes, and the bounds of the pause between two, in milliseconds. */
const LOOKS = 20;
const PAUSE_MS = { least: 10, most: 10_000 };
/** A clock that differs by more from one look to the next was set. */
const CLOCK_SET_MS = 500;

/** Looks at the connections of one thread now and then, as long as one of its frontends has a limit. */
export class LifetimeWatch {
  readonly #thread: Thread;
  wakeAt = Infinity;
  /** From the clock that never jumps to that of the wall. */
  #wallMs = Date.now() - performance.now();

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
    const setBy = this.#clockSetBy();
    if (limits.size === 0) return;
    const wallMs = Date.now();
    for (const client of table.owned(number, KIND_CLIENT, fdBound)) {
      if (setBy !== 0) table.setStarted(client, table.started(client) + setBy);
      const lifetimeMs = limits.get(table.frontend(client));
      if (lifetimeMs === undefined || table.other(client) === -1 || table.has(client, FROZEN)) continue;
      const startedMs = table.started(client);
      if (wallMs - startedMs >= jittered(lifetimeMs, startedMs + client))
        this.#thread.end(client, { stage: 'relay', why: 'lifetime', reason: null, reset: false });
    }
  }

  /** By how much the clock of the wall was set since the last look: nobody is older for it. */
  #clockSetBy(): number {
    const wallMs = Date.now() - performance.now();
    const difference = wallMs - this.#wallMs;
    this.#wallMs = wallMs;
    return Math.abs(difference) > CLOCK_SET_MS ? difference : 0;
  }
}

function pauseFor(lifetimeMs: number): number {
  return Math.min(Math.max(PAUSE_MS.least, lifetimeMs / LOOKS), PAUSE_MS.most);
}
