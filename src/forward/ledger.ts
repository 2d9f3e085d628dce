/**
 * What this process has counted of the connections of each source since it came up. Destinations come and go with
 * switches; what was counted of one that is over stays, so that the sum of a source never goes back.
 */
import { addTally, emptyTally } from '../engine/tally.ts';
import type { Tally } from '../engine/tally.ts';
import type { Upstream } from '../engine/engine.ts';
import type { Destination } from './destination.ts';
import type { SourceSpec } from './rule.ts';

/** What was counted of one source. */
export type SourceTally = {
  /** Equal for sources on the same address. */
  key: string;
  /** The source as it was typed last. */
  src: string;
  tally: Tally;
  /** Connections that this process has open at the moment. */
  connections: number;
};

/** Sources without a destination whose counts are kept; of more, the oldest are dropped. */
const maxKept = 1000;

/** The counts of all sources that this process serves or has served. */
export class Ledger {
  /** By what listens on the same address; `closed`: what was counted of destinations that are over, if there were some. */
  readonly #accounts = new Map<string, { src: string; closed: Tally | null; open: Set<Destination> }>();
  /** Keys of those without a destination, the oldest first. */
  readonly #idle = new Set<string>();
  readonly #keys = new Map<Destination, string>();
  readonly #names = new WeakMap<Upstream, string>();
  /** Times that a rule was sent to another destination. */
  switches = 0;

  /** A destination of a source was opened. */
  open(src: SourceSpec, destination: Destination): void {
    this.#names.set(destination.upstream, destination.spec.typed);
    const account = this.#accounts.get(src.listenKey) ?? { src: src.typed, closed: null, open: new Set() };
    account.src = src.typed;
    account.open.add(destination);
    // Again at the end, as the newest.
    this.#accounts.delete(src.listenKey);
    this.#accounts.set(src.listenKey, account);
    this.#idle.delete(src.listenKey);
    this.#keys.set(destination, src.listenKey);
  }

  /** The destination that an upstream leads to, as it was typed. */
  nameOf(upstream: Upstream): string {
    return this.#names.get(upstream) ?? '';
  }

  /** Its last connection has ended, and none will come. Twice is fine. */
  close(destination: Destination): void {
    const key = this.#keys.get(destination);
    const account = key === undefined ? undefined : this.#accounts.get(key);
    if (!account) return;
    this.#keys.delete(destination);
    account.open.delete(destination);
    addTally((account.closed ??= emptyTally()), destination.upstream.tally());
    if (account.open.size > 0) return;
    this.#idle.add(key!);
    for (const oldest of this.#idle) {
      if (this.#idle.size <= maxKept) return;
      this.#idle.delete(oldest);
      this.#accounts.delete(oldest);
    }
  }

  /** What has been counted until now, in the order in which sources were opened. */
  get tallies(): SourceTally[] {
    return [...this.#accounts].map(([key, { src, closed, open }]) => {
      const tally = closed?.slice() ?? emptyTally();
      let connections = 0;
      for (const { upstream } of open) {
        addTally(tally, upstream.tally());
        connections += upstream.stats().connections;
      }
      return { key, src, tally, connections };
    });
  }
}
