import { setTimeout as delay } from 'node:timers/promises';
import type { Engine, OpenConnection } from '../engine/engine.ts';
import { maxTimerMs } from '../waiting.ts';
import type { Changes } from './changes.ts';
import type { Destination } from './destination.ts';
import { DrainSchedule } from './drain-schedule.ts';
import type { RuleSpec, SourceSpec } from './rule.ts';
import type { DestinationView, RuleTable } from './table.ts';

/** How long a list of connections, idle ones first, is good for, in milliseconds: making one of many takes a while. */
const listedForMs = 2000;

/** A drain that is over: how many connections it closed, and of how many. */
export type DrainResult = { closed: number; connections: number };

/** Where the destinations are, who closes their connections, and who is told. */
export type TimedDrainsOptions = {
  engine: Pick<Engine, 'connections' | 'closeConnections'>;
  table: Pick<RuleTable, 'views'>;
  changes: Changes;
  /** See `ForwarderOptions`. */
  drained?(src: SourceSpec, destination: Destination, result: DrainResult | Error): void;
};

/** Closes connections of destinations that get no new ones, evenly over a time, those that have been idle longest first. */
export class TimedDrains {
  readonly #options: TimedDrainsOptions;

  constructor(options: TimedDrainsOptions) {
    this.#options = options;
  }

  /**
   * Close the connections to earlier destinations of this source evenly over so many milliseconds. Returns how many
   * there are. `keep`: keys of destinations that are not earlier ones; default: those that get new connections here.
   */
  begin(srcKey: string, overMs: number, { keep }: { keep?: readonly string[] } = {}): number {
    const earlier = this.#options.table
      .views()
      .filter(
        ({ src, destination, isCurrent }) =>
          src.key === srcKey &&
          !isCurrent &&
          !keep?.includes(destination.spec.key) &&
          destination.stats().connections > 0,
      );
    for (const view of earlier) this.#start(view, overMs);
    return earlier.reduce((sum, { destination }) => sum + destination.stats().connections, 0);
  }

  /** Go on with a drain that another process began; of a destination that gets new connections there is none. */
  resume({ src, dst }: RuleSpec, overMs: number): void {
    const view = this.#options.table
      .views()
      .find((each) => each.src.key === src.key && each.destination.spec.key === dst.key && !each.isCurrent);
    if (view) this.#start(view, overMs);
  }

  #start({ src, destination }: DestinationView, overMs: number): void {
    const { drained } = this.#options;
    void this.#run(destination, overMs)
      .then((result) => drained?.(src, destination, result))
      .catch((error: unknown) =>
        drained?.(src, destination, error instanceof Error ? error : new Error(String(error))),
      );
  }

  /**
   * Close what a destination has within so many milliseconds; where it is being closed already, by then at the latest.
   * Resolves when the last is gone, or the destination gets new connections again.
   */
  async #run(destination: Destination, overMs: number): Promise<DrainResult> {
    const { engine, changes } = this.#options;
    const { connections } = destination.stats();
    const beganAt = performance.now();
    const drain = destination.beginDrain(overMs);
    changes.notify();
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
        listed = await engine.connections([destination.upstream]);
        listed.sort((a, b) => b.idleMs - a.idleMs);
        listedAt = performance.now();
      }
      const ids = listed.splice(0, count).map(({ id }) => id);
      closed += await engine.closeConnections([destination.upstream], ids);
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
