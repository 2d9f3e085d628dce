import { setTimeout as delay } from 'node:timers/promises';
import type { Engine, OpenConnection } from '../engine/engine.ts';
import { maxTimerMs } from '../waiting.ts';
import type { Changes } from './changes.ts';
import type { Destination } from './destination.ts';
import { DrainSchedule } from './drain-schedule.ts';

/** How long a list of connections, idle ones first, is good for, in milliseconds: making one of many takes a while. */
const listedForMs = 2000;

/** A drain that is over: how many connections it closed, and of how many. */
export type DrainResult = { closed: number; connections: number };

/** Closes connections of destinations that get no new ones, evenly over a time, those that have been idle longest first. */
export class Drains {
  readonly #engine: Pick<Engine, 'connections' | 'closeConnections'>;
  readonly #changes: Changes;

  constructor({ engine, changes }: { engine: Pick<Engine, 'connections' | 'closeConnections'>; changes: Changes }) {
    this.#engine = engine;
    this.#changes = changes;
  }

  /**
   * Close what a destination has within so many milliseconds; where it is being closed already, by then at the latest.
   * Resolves when the last is gone, or the destination gets new connections again.
   */
  async run(destination: Destination, overMs: number): Promise<DrainResult> {
    const { connections } = destination.stats();
    const beganAt = performance.now();
    const drain = destination.beginDrain(overMs);
    this.#changes.notify();
    if (!drain || connections === 0) return { closed: 0, connections };
    const schedule = new DrainSchedule({ connections, overMs: Math.max(1, overMs) });
    let closed = 0;
    let listed: OpenConnection[] = [];
    let listedAt = -Infinity;
    for (;;) {
      const left = destination.stats().connections;
      if (left === 0 || destination.drain !== drain) return { closed, connections };
      const { atMs, count } = schedule.next({ left, elapsedMs: performance.now() - beganAt });
      await this.#passes(destination, Math.min(Math.max(0, atMs - (performance.now() - beganAt)), maxTimerMs));
      if (destination.drain !== drain) return { closed, connections };
      if (listed.length < count || performance.now() - listedAt > listedForMs) {
        listed = await this.#engine.connections([destination.upstream]);
        listed.sort((a, b) => b.idleMs - a.idleMs);
        listedAt = performance.now();
      }
      const ids = listed.splice(0, count).map(({ id }) => id);
      closed += await this.#engine.closeConnections([destination.upstream], ids);
    }
  }

  /** Resolves after so many milliseconds, or when the last connection has ended. */
  async #passes(destination: Destination, milliseconds: number): Promise<void> {
    const over = new AbortController();
    await Promise.race([
      delay(milliseconds, undefined, { signal: over.signal }),
      destination.upstream.drained({ signal: over.signal }),
    ]).catch(() => {}); // nobody aborts it before
    over.abort(new Error('it has passed'));
  }
}
