/** Ends connections on which no byte moved for as long as their frontend allows. */
import { LOOKS_PER_IDLE } from '../policy.ts';
import { describeIdle } from '../words.ts';
import { FROZEN, KIND_CLIENT, TICK_MS } from './connection-table.ts';
import type { Thread } from './thread.ts';

/** Looks at the connections of one thread now and then. */
export class IdleWatch {
  readonly #thread: Thread;
  wakeAt = Infinity;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Start to look at the connections of a frontend. */
  add(frontend: { idleMs: number | null }): void {
    if (frontend.idleMs !== null)
      this.wakeAt = Math.min(this.wakeAt, this.#thread.now + frontend.idleMs / LOOKS_PER_IDLE);
  }

  /** A connection came that was quiet in another process: its time counts on. */
  adopt(client: number, quietMs: number): void {
    const { table, frontends, now } = this.#thread;
    table.setQuiet(client, { quietMs, now });
    const frontend = frontends.get(table.frontend(client));
    const idleMs = frontend?.plan.idleMs ?? null;
    if (!frontend || idleMs === null) return;
    const dueAt = now + Math.max(0, idleMs - quietMs) + TICK_MS;
    // Before the first look there is none to come sooner than.
    frontend.nextLookAt = frontend.nextLookAt === 0 ? dueAt : Math.min(frontend.nextLookAt, dueAt);
    this.wakeAt = Math.min(this.wakeAt, dueAt);
  }

  runDue(): void {
    const { now, frontends, table, number, fdBound } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    const due = new Map<number, number>();
    for (const [id, frontend] of frontends) {
      const { idleMs } = frontend.plan;
      if (idleMs === null) continue;
      if (now >= frontend.nextLookAt) {
        frontend.nextLookAt = now + idleMs / LOOKS_PER_IDLE;
        due.set(id, idleMs);
      }
      this.wakeAt = Math.min(this.wakeAt, frontend.nextLookAt);
    }
    if (due.size === 0) return;
    for (const client of table.owned(number, KIND_CLIENT, fdBound)) {
      const idleMs = due.get(table.frontend(client));
      if (idleMs === undefined || table.other(client) === -1 || table.has(client, FROZEN)) continue;
      if (table.quietMs(client, now) < idleMs) continue;
      this.#thread.end(client, { stage: 'relay', why: 'idle', reason: { text: describeIdle(idleMs) }, reset: false });
    }
  }
}
