/**
 * `grace apply etcd://…`: rules that are kept in etcd. One after the other its members are asked, over a session each: the
 * rules are read as of one revision, and watched from the next on. What the watch does not tell (its connection is half open,
 * its member cut off from the others) a look every few seconds finds, which also says that what is known is still the newest.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { call } from '../../control/client.ts';
import { GraceError, errorMessage } from '../../error.ts';
import { nextPause } from '../../waiting.ts';
import type { PauseRange } from '../../waiting.ts';
import { bringAbout, isInForce, mustBeInForce, presentRules } from '../bring-about.ts';
import type { Context, Input } from '../context.ts';
import { printError, printNote } from '../output.ts';
import type { EtcdAddress } from './address.ts';
import { Applier } from './applier.ts';
import { Gateway } from './gateway.ts';
import { Reporter } from './reporter.ts';
import { readSnapshot } from './snapshot.ts';
import type { Snapshot } from './snapshot.ts';
import { Teller } from './teller.ts';
import type { Daemon } from './teller.ts';
import { Wakeup } from './wakeup.ts';
import { watchEtcd } from './watch.ts';
import { problemOf, wantedBy } from './wanted.ts';

/** Between two looks whether the watch has told all, in milliseconds. */
const lookMs = 5000;

/** Before etcd is asked again that could not be. */
const pauses: PauseRange = { first: 400, max: 5000 };

/** A session that lasted so long was a good one, in milliseconds. */
const goodMs = 10_000;

/** What the command was told. */
export type FollowOptions = {
  context: Context;
  input: Input;
  /** For connections of rules that are stopped, in milliseconds. */
  timeoutMs: number;
};

/** Bring about the rules of etcd, once. Rejects with GraceError. */
export async function applyFromEtcd(address: EtcdAddress, { context, input, timeoutMs }: FollowOptions): Promise<void> {
  const { signal, env, cwd, dir } = context;
  const opened = await openFirst(address, context);
  using gateway = opened.gateway;
  const { snapshot } = opened;
  const present = await presentRules(context);
  const { rules, hash, remarks, asides } = wantedBy(snapshot, { present, address, cwd, env });
  for (const remark of [...asides, ...remarks]) printNote(context, remark);
  const { ended, changes, printResult } = await bringAbout(rules, { present, context, input, timeoutMs });
  // A report tells of other rules itself.
  const isTold = input.has('dry-run') || input.has('report');
  if (changes > 0 && !isTold) await mustBeInForce(rules, { ended, context });
  await ended;
  printResult();
  if (!input.has('report') || input.has('dry-run')) return;
  const { pid, version, restarts = 0 } = await call(dir, { command: 'status' }, { signal });
  const isSo = isInForce(rules, await presentRules(context));
  await new Reporter(dir, { isLeased: false }).write(gateway, snapshot.key, {
    inForce: { hash: isSo ? hash : null, revision: snapshot.revision, since: new Date().toISOString(), rules },
    daemon: { pid, version, generation: restarts + 1 },
    problem: problemOf(remarks),
  });
}

/** The first member that answers. */
async function openFirst(
  address: EtcdAddress,
  { signal, env }: Context,
): Promise<{ gateway: Gateway; snapshot: Snapshot }> {
  const errors: unknown[] = [];
  for (const index of address.members.keys()) {
    let gateway: Gateway | undefined;
    try {
      gateway = await Gateway.open(address, { index, signal, env });
      return { gateway, snapshot: await readSnapshot(gateway, address) };
    } catch (error) {
      gateway?.[Symbol.dispose]();
      signal.throwIfAborted();
      errors.push(error);
    }
  }
  throw failureOfAll(errors);
}

function failureOfAll(errors: readonly unknown[]): unknown {
  const [first] = errors;
  if (errors.length < 2 || !(first instanceof GraceError)) return first;
  return new GraceError(errors.map(errorMessage).join('; '), { hint: first.hint, code: first.code, cause: first });
}

/** Bring about the rules of etcd, and follow them until the command is ended. Rejects with its signal's reason. */
export async function followEtcd(address: EtcdAddress, options: FollowOptions): Promise<never> {
  const over = new AbortController();
  // What fails in one half ends the other.
  const context = { ...options.context, signal: AbortSignal.any([options.context.signal, over.signal]) };
  const following = new Following(address, { ...options, context });
  try {
    return await Promise.race([following.run(), following.applier.run()]);
  } finally {
    over.abort();
  }
}

/** What is known of an etcd, over all sessions with its members. */
class Following {
  readonly applier: Applier;
  readonly #address: EtcdAddress;
  readonly #context: Context;
  readonly #teller: Teller;
  readonly #reporter: Reporter | null;
  readonly #wakeup = new Wakeup();
  #daemon: Daemon | undefined;
  /** What etcd had was known to be the newest then. */
  #seenAt = new Date();
  #isStale = false;
  #staleWhy: string | undefined;
  #reportProblem: string | undefined;
  /** Why the daemon does not have what was brought about. */
  #otherwise: string | undefined;

  constructor(address: EtcdAddress, { context, input, timeoutMs }: FollowOptions) {
    this.#address = address;
    this.#context = context;
    this.#reporter =
      input.has('report') && !input.has('dry-run') ? new Reporter(context.dir, { isLeased: true }) : null;
    this.#teller = new Teller(context, address.text, (daemon) => {
      const isOther = this.#daemon?.pid !== daemon.pid;
      this.#daemon = daemon;
      if (isOther) this.applier.again();
      this.#wakeup.ask(); // its generation is reported
    });
    const onChange = () => {
      this.#otherwise = undefined;
      this.#tell();
      this.#wakeup.ask();
    };
    this.applier = new Applier({ address, context, input, timeoutMs, onChange });
  }

  /** Never resolves; rejects when the command is to end. */
  async run(): Promise<never> {
    const { signal } = this.#context;
    let [pauseMs, failures] = [0, 0];
    this.#tell();
    for (let index = 0; ; index++) {
      const startMs = performance.now();
      const seenAt = this.#seenAt;
      try {
        await this.#session(index);
      } catch (error) {
        signal.throwIfAborted();
        const wasGood = this.#seenAt !== seenAt;
        failures = wasGood ? 0 : failures + 1;
        if (failures >= this.#address.members.length) this.#failed(error);
        if (wasGood && performance.now() - startMs > goodMs) pauseMs = 0;
      }
      // The next member is asked at once, until none is left.
      if (failures % this.#address.members.length !== 0) continue;
      pauseMs = nextPause(pauseMs, pauses);
      await delay(pauseMs * (0.5 + Math.random()), undefined, { signal }); // not all machines at once
    }
  }

  /** As long as a member answers. */
  async #session(index: number): Promise<never> {
    const { env } = this.#context;
    const over = new AbortController();
    const signal = AbortSignal.any([this.#context.signal, over.signal]);
    try {
      using gateway = await Gateway.open(this.#address, { index, signal, env });
      let snapshot = await this.#read(gateway);
      let isTold = false;
      /** Why the watch has ended. */
      let ended: { why: unknown } | null = null;
      watchEtcd(gateway, { address: this.#address, snapshot }, () => {
        isTold = true;
        this.#wakeup.ask();
      }).catch((why: unknown) => {
        ended = { why };
        this.#wakeup.ask();
      });
      let [lookAt, missed] = [nextLook(), 0];
      for (;;) {
        await this.#report(gateway, snapshot.key);
        await this.#wakeup.next({ signal, withinMs: Math.max(1, lookAt - performance.now()) });
        mustGoOn(ended);
        if (isTold) {
          [isTold, missed] = [false, 0];
          snapshot = await this.#read(gateway);
        }
        if (performance.now() < lookAt) continue;
        lookAt = nextLook();
        const { fingerprint } = await readSnapshot(gateway, this.#address, { keysOnly: true });
        this.#seen();
        await this.#lookAtDaemon(gateway);
        if (fingerprint === snapshot.fingerprint) continue;
        if (!isTold && ++missed > 1) throw new GraceError(`etcd at ${gateway.member} does not tell of changes`);
        snapshot = await this.#read(gateway);
      }
    } finally {
      over.abort();
    }
  }

  async #read(gateway: Gateway): Promise<Snapshot> {
    const snapshot = await readSnapshot(gateway, this.#address);
    this.applier.offer(snapshot);
    this.#seen();
    return snapshot;
  }

  /** Nothing newer was there just now. */
  #seen(): void {
    this.#seenAt = new Date();
    if (!this.#isStale) return;
    this.#isStale = false;
    this.#staleWhy = undefined;
    printNote(this.#context, `${this.#address.text} is followed again`);
    this.#tell();
  }

  /** No member could be asked. */
  #failed(error: unknown): void {
    if (this.#isStale) return;
    this.#isStale = true;
    const hint = error instanceof GraceError ? error.hint : undefined;
    this.#staleWhy = `${errorMessage(error)}${hint === undefined ? '' : ` (${hint})`}`;
    printError(this.#context, error); // and what runs goes on
    this.#tell();
  }

  #tell(): void {
    this.#teller.tell(
      this.#isStale
        ? { staleSince: this.#seenAt.toISOString(), problem: this.#staleWhy }
        : { problem: this.applier.problem ?? this.#reportProblem },
    );
  }

  async #lookAtDaemon(gateway: Gateway): Promise<void> {
    if (!this.#reporter) return;
    await this.#reporter.renew(gateway); // first: the daemon may keep who asks it waiting
    try {
      this.#otherwise = (await this.applier.isStillInForce()) ? undefined : 'the daemon has other rules';
    } catch (error) {
      this.#otherwise = errorMessage(error); // without a daemon no rules are in force
    }
  }

  async #report(gateway: Gateway, key: string): Promise<void> {
    const { inForce, problem } = this.applier;
    if (!this.#reporter || (inForce === null && problem === undefined)) return;
    const isSo = inForce !== null && problem === undefined && this.#otherwise === undefined;
    try {
      await this.#reporter.write(gateway, key, {
        inForce: inForce && { ...inForce, hash: isSo ? inForce.hash : null },
        daemon: this.#daemon,
        problem: problem ?? this.#otherwise,
      });
      this.#reportProblem = undefined;
    } catch (error) {
      const reportProblem = this.#reporter.refusedBy(error);
      if (reportProblem !== this.#reportProblem) printError(this.#context, error);
      this.#reportProblem = reportProblem;
    }
    this.#tell();
  }
}

function mustGoOn(ended: { why: unknown } | null): void {
  if (ended) throw ended.why;
}

/** Not all machines look at once. */
function nextLook(): number {
  return performance.now() + lookMs * (0.8 + 0.4 * Math.random());
}
