/** Brings about what etcd says, the newest alone: what is under way ends when something newer comes. */
import { GraceError, errorMessage } from '../../error.ts';
import { nextPause } from '../../waiting.ts';
import type { PauseRange } from '../../waiting.ts';
import { bringAbout, isInForce, presentRules } from '../bring-about.ts';
import type { Context, Input } from '../context.ts';
import { withUsefulHint } from '../hints.ts';
import { printError, printNote } from '../output.ts';
import type { FileRule } from '../rules-file.ts';
import type { EtcdAddress } from './address.ts';
import type { Snapshot } from './snapshot.ts';
import { Wakeup } from './wakeup.ts';
import { problemOf, wantedBy } from './wanted.ts';

/** Until what failed is tried again: a destination may be registered before it accepts, and a daemon come back. */
const retryPauses: PauseRange = { first: 500, max: 30_000 };

/** What has been brought about. */
export type InForce = {
  /** Of the rules that are in force; null: they are none that etcd has said. */
  hash: string | null;
  /** Of etcd, with which they came. */
  revision: number;
  rules: readonly FileRule[];
  /** When they came into force, ISO 8601. */
  since: string;
};

/** How rules are brought about. */
export type ApplierOptions = {
  address: EtcdAddress;
  context: Context;
  input: Input;
  /** For connections of rules that are stopped, in milliseconds. */
  timeoutMs: number;
  /** Hears when `inForce` or `problem` may have changed. */
  onChange: () => void;
};

/** What brings about one snapshot after the other. */
export class Applier {
  /** Null: nothing yet. */
  inForce: InForce | null = null;
  /** Why not all that etcd says is in force. */
  problem: string | undefined;
  readonly #options: ApplierOptions;
  readonly #wakeup = new Wakeup();
  #newest: Snapshot | null = null;
  #superseded = new AbortController();
  /** Those that have been told. */
  #asides: ReadonlySet<string> = new Set();

  constructor(options: ApplierOptions) {
    this.#options = options;
  }

  /** What etcd has now. */
  offer(snapshot: Snapshot): void {
    if (this.#newest?.fingerprint === snapshot.fingerprint) return;
    this.#newest = snapshot;
    this.#superseded.abort(new GraceError('something newer is to be brought about'));
    this.#superseded = new AbortController();
    this.#wakeup.ask();
  }

  /** The daemon may be another one: look whether it has the rules. */
  again(): void {
    if (this.#newest) this.#wakeup.ask();
  }

  /** Whether the daemon still has the rules that were brought about: somebody may have changed them by hand. */
  async isStillInForce(): Promise<boolean> {
    return this.inForce !== null && isInForce(this.inForce.rules, await presentRules(this.#options.context));
  }

  /** Never resolves; rejects when the command is to end. */
  async run(): Promise<never> {
    const { signal } = this.#options.context;
    let pauseMs = 0;
    let done: Snapshot | null = null;
    for (;;) {
      await this.#wakeup.next({ signal, withinMs: pauseMs || undefined });
      const snapshot = this.#newest;
      if (!snapshot) continue;
      const isNew = snapshot !== done;
      if (isNew) pauseMs = 0;
      const superseded = this.#superseded.signal;
      try {
        await this.#apply(snapshot, { isNew, superseded });
        [done, pauseMs] = [snapshot, 0];
      } catch (error) {
        signal.throwIfAborted();
        if (superseded.aborted) continue;
        this.#failed(error);
        done = snapshot;
        pauseMs = nextPause(pauseMs, retryPauses);
      }
      this.#options.onChange();
    }
  }

  async #apply(snapshot: Snapshot, { isNew, superseded }: { isNew: boolean; superseded: AbortSignal }): Promise<void> {
    const { address, context, input, timeoutMs } = this.#options;
    const present = await presentRules(context);
    const { rules, hash, remarks, asides } = wantedBy(snapshot, {
      present,
      address,
      cwd: context.cwd,
      env: context.env,
    });
    const { ended, printResult, changes } = await bringAbout(rules, {
      present,
      context,
      input,
      timeoutMs,
      superseded,
    });
    ended.catch((error: unknown) => context.signal.aborted || printError(context, error));
    if (isNew || changes > 0) printResult();
    for (const aside of asides) if (!this.#asides.has(aside)) printNote(context, aside);
    this.#asides = new Set(asides);
    const problem = problemOf(remarks);
    if (problem !== undefined && problem !== this.problem) printNote(context, problem);
    this.problem = problem;
    if (input.has('dry-run')) return;
    const isSame = this.inForce?.hash === hash;
    this.inForce = {
      hash,
      revision: snapshot.revision,
      rules,
      since: (isSame ? this.inForce?.since : undefined) ?? new Date().toISOString(),
    };
  }

  #failed(error: unknown): void {
    const { context, input } = this.#options;
    const problem = errorMessage(error);
    if (problem !== this.problem)
      printError(context, withUsefulHint(error, { dir: context.dir, option: input.value('dir') })); // and what runs goes on
    this.problem = problem;
  }
}
