import type { ClientEndpoint } from '../endpoint/model.ts';
import type { Upstream, UpstreamStats } from '../engine/engine.ts';

/** Where a rule sends, or once sent, its connections: a client endpoint as typed and what it means. */
export type DestinationSpec = {
  typed: string;
  /** As typed, with relative paths made absolute. */
  absolute: string;
  /** Equal for endpoints that mean the same. */
  key: string;
  endpoint: ClientEndpoint;
};

/** Counters and age that a destination brings along from an earlier process. */
export type CarriedStats = { bytesIn: number; bytesOut: number; since: string };

/** When the last connection of a destination will have been closed, by `performance.now()`. */
export type Drain = { readonly endsAt: number };

/** One destination of one rule, and its connections in this process. */
export class Destination {
  readonly spec: DestinationSpec;
  readonly upstream: Upstream;
  readonly since: string;
  readonly #onForgotten: ((destination: Destination) => void) | undefined;
  #carried: { bytesIn: number; bytesOut: number };
  #drain: Drain | null = null;

  constructor(
    spec: DestinationSpec,
    upstream: Upstream,
    carried?: CarriedStats,
    onForgotten?: (destination: Destination) => void,
  ) {
    this.#onForgotten = onForgotten;
    this.spec = spec;
    this.upstream = upstream;
    const { since = new Date().toISOString(), bytesIn = 0, bytesOut = 0 } = carried ?? {};
    this.since = since;
    this.#carried = { bytesIn, bytesOut };
  }

  /** Its connections are being closed; null: they end by themselves. */
  get drain(): Drain | null {
    return this.#drain;
  }

  /** So many milliseconds are left of a drain; null: there is none. */
  get drainLeftMs(): number | null {
    return this.#drain && Math.max(0, this.#drain.endsAt - performance.now());
  }

  /** A drain begins, in place of one that takes longer. Returns null when there is one that ends sooner. */
  beginDrain(overMs: number): Drain | null {
    const endsAt = performance.now() + overMs;
    if (this.#drain && this.#drain.endsAt <= endsAt) return null;
    return (this.#drain = { endsAt });
  }

  /** It gets new connections: none is closed. */
  endDrain(): void {
    this.#drain = null;
  }

  /** What an earlier process counted in all, in place of what it had said before. */
  carry({ bytesIn, bytesOut }: Pick<CarriedStats, 'bytesIn' | 'bytesOut'>): void {
    this.#carried = { bytesIn, bytesOut };
  }

  /** Another process that had connections here has ended, and nobody else counts what it moved. */
  add({ bytesIn, bytesOut }: Pick<CarriedStats, 'bytesIn' | 'bytesOut'>): void {
    this.#carried = { bytesIn: this.#carried.bytesIn + bytesIn, bytesOut: this.#carried.bytesOut + bytesOut };
  }

  /** A successor counts so much from now on: here, only what comes on top of it. */
  handOver({ bytesIn, bytesOut }: Pick<CarriedStats, 'bytesIn' | 'bytesOut'>): void {
    this.add({ bytesIn: -bytesIn, bytesOut: -bytesOut });
  }

  /** Nobody is sent there any more, and its last connection has ended. Twice is fine. */
  forget(): void {
    this.#onForgotten?.(this);
    this.upstream.forget();
  }

  stats(): UpstreamStats {
    const stats = this.upstream.stats();
    return {
      ...stats,
      bytesIn: stats.bytesIn + this.#carried.bytesIn,
      bytesOut: stats.bytesOut + this.#carried.bytesOut,
    };
  }
}
