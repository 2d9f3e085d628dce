/** `--report`: which rules each machine has, written where one read finds all of them. */
import { hostname } from 'node:os';
import * as v from 'valibot';
import { GraceError, errorMessage } from '../../error.ts';
import type { InForce } from './applier.ts';
import { EtcdRefusal, notEtcdError } from './failure.ts';
import type { Gateway } from './gateway.ts';
import { base64 } from './snapshot.ts';
import type { Daemon } from './teller.ts';

/** Reports are these keys below that of the rules. */
const reportsBelow = '/reports/';

/** A report goes so long after its machine was last heard of, in seconds. */
const leaseSeconds = 30;

/** What a machine reports. */
export type Report = {
  inForce: Pick<InForce, 'hash' | 'revision' | 'since' | 'rules'> | null;
  /** Undefined: none has been heard of. */
  daemon: Daemon | undefined;
  problem: string | undefined;
};

const granted = v.object({ ID: v.union([v.string(), v.number()]) });
const kept = v.object({ result: v.object({ TTL: v.optional(v.union([v.string(), v.number()]), 0) }) });

/** Writes the report of one daemon. */
export class Reporter {
  readonly #dir: string;
  readonly #isLeased: boolean;
  #lease: string | null = null;
  #written: string | undefined;

  /** `dir` is the state dir. `isLeased`: the report goes when nobody renews it. */
  constructor(dir: string, { isLeased }: { isLeased: boolean }) {
    this.#dir = dir;
    this.#isLeased = isLeased;
  }

  /** Write it, unless it is there already. `key`: of the rules. Rejects with GraceError. */
  async write(gateway: Gateway, key: string, { inForce, daemon, problem }: Report): Promise<void> {
    const report = {
      host: hostname(),
      dir: this.#dir,
      hash: inForce?.hash ?? null,
      revision: inForce?.revision ?? null,
      rules: inForce?.rules.length ?? null,
      since: inForce?.since ?? null,
      generation: daemon?.generation ?? null,
      pid: daemon?.pid ?? null,
      version: daemon?.version ?? null,
      ...(problem !== undefined && { problem }),
    };
    const value = JSON.stringify(report);
    const place = `${key}${reportsBelow}${hostname()}${this.#dir}`;
    if (this.#written === place + value) return;
    if (this.#isLeased) this.#lease ??= await grant(gateway);
    await gateway.ask('/v3/kv/put', {
      key: base64(place),
      value: base64(value),
      ...(this.#lease !== null && { lease: this.#lease }),
    });
    this.#written = place + value;
  }

  /** It is there for some more time; one that has gone is written anew the next time. */
  async renew(gateway: Gateway): Promise<void> {
    if (this.#lease === null) return;
    const answer = v.safeParse(kept, await gateway.ask('/v3/lease/keepalive', { ID: this.#lease }));
    if (!answer.success) throw notEtcdError(gateway.member, 'it keeps no lease');
    if (Number(answer.output.result.TTL) <= 0) this.#forget();
  }

  /** What follows from a failure to write: a sentence where that is etcd's answer, and no reason to leave it. */
  refusedBy(error: unknown): string {
    if (!(error instanceof EtcdRefusal)) throw error;
    this.#forget(); // its lease may have gone
    return `the report cannot be written: ${errorMessage(error)}`;
  }

  #forget(): void {
    this.#lease = null;
    this.#written = undefined;
  }
}

async function grant(gateway: Gateway): Promise<string> {
  const answer = v.safeParse(granted, await gateway.ask('/v3/lease/grant', { TTL: String(leaseSeconds) }));
  if (!answer.success) throw new GraceError(`etcd at ${gateway.member} grants no lease`);
  return String(answer.output.ID);
}
