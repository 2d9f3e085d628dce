/** Ends connections on which no byte moved for as long as their entrance allows. */
import { LOOKS_PER_IDLE } from '../policy.ts';
import { describeIdle } from '../words.ts';
import { FROZEN, KIND_CLIENT, TICK_MS } from './legs.ts';
import type { Thread } from './thread.ts';

export class IdleWatch {
  readonly #thread: Thread;
  wakeAt = Infinity;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Start to look at the connections of an entrance. */
  add(entrance: { idleMs: number | null }): void {
    if (entrance.idleMs !== null) this.wakeAt = Math.min(this.wakeAt, this.#thread.now + entrance.idleMs / LOOKS_PER_IDLE);
  }

  /** For how long a connection has been quiet, in milliseconds; 0 where nobody looks. */
  quietMs(client: number): number {
    const { legs, entrances, now } = this.#thread;
    const isWatched = (entrances.get(legs.entrance(client))?.plan.idleMs ?? null) !== null;
    return isWatched ? legs.quietMs(client, now) : 0;
  }

  /** A connection came that was quiet in another process: its time counts on. */
  adopt(client: number, quietMs: number): void {
    const { legs, entrances, now } = this.#thread;
    legs.setQuiet(client, { quietMs, now });
    const entrance = entrances.get(legs.entrance(client));
    const idleMs = entrance?.plan.idleMs ?? null;
    if (!entrance || idleMs === null) return;
    const dueAt = now + Math.max(0, idleMs - quietMs) + TICK_MS;
    // Before the first look there is none to come sooner than.
    entrance.nextLookAt = entrance.nextLookAt === 0 ? dueAt : Math.min(entrance.nextLookAt, dueAt);
    this.wakeAt = Math.min(this.wakeAt, dueAt);
  }

  runDue(): void {
    const { now, entrances, legs, number, fdBound } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    const due = new Map<number, number>();
    for (const [id, entrance] of entrances) {
      const { idleMs } = entrance.plan;
      if (idleMs === null) continue;
      if (now >= entrance.nextLookAt) {
        entrance.nextLookAt = now + idleMs / LOOKS_PER_IDLE;
        due.set(id, idleMs);
      }
      this.wakeAt = Math.min(this.wakeAt, entrance.nextLookAt);
    }
    if (due.size === 0) return;
    for (const client of legs.owned(number, KIND_CLIENT, fdBound)) {
      const idleMs = due.get(legs.entrance(client));
      if (idleMs === undefined || legs.other(client) === -1 || legs.has(client, FROZEN)) continue;
      if (legs.quietMs(client, now) < idleMs) continue;
      this.#thread.end(client, { stage: 'relay', reason: { text: describeIdle(idleMs) }, reset: false });
    }
  }
}
