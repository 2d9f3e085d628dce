/**
 * Which rules are held, by whom and for how long. A rule may have several holders: whoever ran `grace hold` with a
 * command is one until that has ended, and all who ran it without one are another. It is let go when the last one is.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { MovedError } from '../../control/server.ts';
import { GraceError, errorMessage } from '../../error.ts';
import type { Engine } from '../../engine/engine.ts';
import { RETRY_PAUSE_MS } from '../../engine/policy.ts';
import type { Changes } from '../../forward/changes.ts';
import type { Forwarder } from '../../forward/forwarder.ts';
import type { Rule, SourceSpec } from '../../forward/rule.ts';
import { nextPause } from '../../waiting.ts';
import type { HandedHold } from '../handover/messages.ts';
import type { Generations } from '../generations/generations.ts';
import type { Lifecycle } from '../lifecycle.ts';
import type { Log } from '../log/log.ts';
import { textOf } from './specs.ts';

/** Who holds without a command, all together. */
const byHand = '';

/** So long a holder may be away while one process takes over from another, in milliseconds. */
const returnWithinMs = 15_000;
/** One attempt to see whether a destination accepts again; it may be switched in the middle. In milliseconds. */
const attemptMs = 2000;
/** A server that was killed accepts until the system has taken it apart: what accepts has to do so again after so long, in milliseconds. */
const steadyMs = 200;

/** Who holds a rule. `timeoutMs`: so long its destination may take to accept again once it is gone. */
type Holder = { timeoutMs: number; isThere: boolean };

type Held = {
  src: SourceSpec;
  since: string;
  maxWaiting: number;
  /** When it ends in any case, by `performance.now()`. */
  endsAtMs: number | null;
  timer: NodeJS.Timeout | null;
  readonly holders: Map<string, Holder>;
};

/** What is asked of a hold. */
export type HoldOptions = {
  /** Of the client whose command runs meanwhile; undefined: no such client. */
  id: string | undefined;
  maxWaiting: number;
  /** It ends by itself after so many milliseconds. */
  maxTimeMs: number | undefined;
  timeoutMs: number;
};

/** How a rule was let go. */
export type Released = {
  /** False: others hold it still. */
  released: boolean;
  /** Clients that went on. */
  waiting: number;
  /** Why the destination does not accept, as far as is known. */
  problem: string | null;
};

/** The parts of the daemon that it works with. */
export type HoldsParts = {
  forwarder: Forwarder;
  engine: Pick<Engine, 'probe'>;
  changes: Changes;
  log: Log;
  generations: Pick<Generations, 'reports' | 'settleHeld'>;
  lifecycle: Pick<Lifecycle, 'phase' | 'isServing'>;
};

/** The held rules of a daemon. */
export class Holds {
  readonly #service: HoldsParts;
  /** By the address that the rule listens on, which stays when its parameters change. */
  readonly #held = new Map<string, Held>();
  /** Told already, of the processes that finish. */
  readonly #settled = new Set<string>();

  constructor(service: HoldsParts) {
    this.#service = service;
  }

  /** Since when a rule is held, ISO 8601; null: it is not. */
  since(src: SourceSpec): string | null {
    return this.#of(src)?.since ?? null;
  }

  /** Whether a rule is held, by this client. */
  isHeldBy(src: SourceSpec, id: string): boolean {
    return this.#of(src)?.holders.has(id) ?? false;
  }

  #rule({ listenKey }: SourceSpec): Rule | undefined {
    return this.#service.forwarder.rules.find(({ src }) => src.listenKey === listenKey);
  }

  #of(src: SourceSpec): Held | null {
    const held = this.#held.get(src.listenKey);
    if (!held) return null;
    if (this.#rule(src)?.hold.isOn) return held;
    this.#forget(held); // its rule was stopped
    return null;
  }

  #forget(held: Held): void {
    if (held.timer) clearTimeout(held.timer);
    if (this.#held.get(held.src.listenKey) === held) this.#held.delete(held.src.listenKey);
  }

  /** Have the clients of a rule wait. Returns false when they did already. Throws GraceError when it is not served. */
  async hold(src: SourceSpec, { id = byHand, maxWaiting, maxTimeMs, timeoutMs }: HoldOptions): Promise<boolean> {
    const known = this.#of(src);
    const isNew = await this.#service.forwarder.holding.begin(src, { maxWaiting });
    const held =
      (isNew ? null : (known ?? this.#of(src))) ?? this.#open(src, { since: new Date().toISOString(), maxWaiting });
    held.maxWaiting = maxWaiting;
    held.holders.set(id, { timeoutMs, isThere: true });
    if (maxTimeMs !== undefined) this.#limit(held, maxTimeMs);
    if (isNew) this.#service.log.info({ src: src.typed, maxWaiting }, 'rule held: its clients wait');
    return isNew;
  }

  #open(src: SourceSpec, { since, maxWaiting }: Pick<Held, 'since' | 'maxWaiting'>): Held {
    const held: Held = { src, since, maxWaiting, endsAtMs: null, timer: null, holders: new Map() };
    this.#held.set(src.listenKey, held);
    let isTold = false;
    this.#rule(src)?.hold.watch({
      filled: () => {
        if (isTold || this.#held.get(src.listenKey) !== held) return;
        isTold = true;
        this.#service.log.warn(
          { src: src.typed, maxWaiting: held.maxWaiting },
          'as many clients of a held rule wait as may; others wait in the queue of its listener',
        );
      },
    });
    return held;
  }

  #limit(held: Held, ms: number): void {
    if (held.timer) clearTimeout(held.timer);
    held.endsAtMs = performance.now() + ms;
    held.timer = setTimeout(() => void this.#end(held.src, 'its time is up').catch(() => {}), ms).unref(); // replaced: its successor ends it
  }

  /**
   * Let the clients of a rule go as soon as its destination accepts, or after so long in any case. With `id` only
   * that holder lets go. Rejects with GraceError when the rule is not held, with the signal's reason, and with
   * MovedError when another process serves now.
   */
  async release(
    src: SourceSpec,
    { id, timeoutMs, signal }: { id?: string | undefined; timeoutMs: number; signal: AbortSignal },
  ): Promise<Released> {
    const held = this.#of(src);
    if (!held) throw new GraceError(`${src.typed} is not held`, { hint: 'see: grace ls' });
    const problem = timeoutMs > 0 ? await this.#whenAccepting(held, { id, timeoutMs, signal }) : null;
    if (id !== undefined && held.holders.delete(id) && held.holders.size > 0) {
      this.#service.changes.notify();
      return { released: false, waiting: 0, problem: null };
    }
    const waiting = await this.#end(src, problem === null ? 'released' : `released, although ${problem}`);
    return { released: true, waiting, problem };
  }

  /** Resolves with null when the destination accepts, or nobody need wait for that any more; with why it does not when the time is up. */
  async #whenAccepting(
    held: Held,
    { id, timeoutMs, signal }: { id: string | undefined; timeoutMs: number; signal: AbortSignal },
  ): Promise<string | null> {
    const until = performance.now() + timeoutMs;
    let hasAccepted = false;
    for (let pauseMs = RETRY_PAUSE_MS.first; ; pauseMs = nextPause(pauseMs, RETRY_PAUSE_MS)) {
      if (this.#service.lifecycle.phase === 'replaced') throw new MovedError('this daemon was replaced by a newer one');
      const rule = this.#rule(held.src);
      const isLast = id === undefined || !held.holders.has(id) || held.holders.size === 1;
      if (!rule || this.#of(held.src) !== held || !isLast) return null;
      const { typed, endpoint } = rule.current.spec;
      try {
        const leftMs = Math.max(1, until - performance.now());
        await this.#service.engine.probe(endpoint, {
          signal: AbortSignal.any([signal, AbortSignal.timeout(Math.min(attemptMs, leftMs))]),
        });
        if (hasAccepted) return null;
        hasAccepted = true;
        await delay(steadyMs, undefined, { signal });
      } catch (error) {
        signal.throwIfAborted();
        hasAccepted = false;
        const leftMs = until - performance.now();
        if (leftMs <= 0) return `${typed} does not accept: ${errorMessage(error)}`;
        await delay(Math.min(pauseMs, leftMs), undefined, { signal });
      }
    }
  }

  async #end(src: SourceSpec, because: string): Promise<number> {
    const { forwarder, log, generations } = this.#service;
    const held = this.#of(src);
    const rule = this.#rule(src);
    // They came first; and once it is held here no longer, `follow` would count them.
    const place = rule && { src: textOf(rule.src), dst: textOf(rule.current.spec) };
    const older = place ? await generations.settleHeld({ ...place, isHeld: false }) : 0;
    const waiting = older + ((await forwarder.holding.release(src)) ?? 0);
    if (held) {
      this.#forget(held);
      log.info(
        { src: src.typed, waiting, heldMs: Math.max(0, Date.now() - Date.parse(held.since)), because },
        'rule released: its clients go on',
      );
    }
    return waiting;
  }

  /** A client whose command runs went away without a word: when nobody else holds the rule, it is let go. */
  lost(src: SourceSpec, id: string): void {
    const held = this.#of(src);
    const holder = held?.holders.get(id);
    if (!held || !holder) return;
    holder.isThere = false;
    void this.#whenStillAway(held, id, 0);
  }

  async #whenStillAway(held: Held, id: string, waitMs: number): Promise<void> {
    try {
      await delay(waitMs, undefined, { ref: false });
      while (this.#service.lifecycle.phase === 'starting') await this.#service.changes.next();
      const holder = held.holders.get(id);
      if (!holder || holder.isThere || this.#of(held.src) !== held) return;
      this.#service.log.warn({ src: held.src.typed }, 'whoever held a rule has gone');
      await this.release(held.src, { id, timeoutMs: holder.timeoutMs, signal: new AbortController().signal });
    } catch {
      // Another process serves now and does it, or the rule is no more.
    }
  }

  /** What a successor is told of a rule. */
  handOver(src: SourceSpec): HandedHold | null {
    const held = this.#of(src);
    if (!held) return null;
    return {
      since: held.since,
      maxWaiting: held.maxWaiting,
      ...(held.endsAtMs !== null && { leftMs: Math.max(0, held.endsAtMs - performance.now()) }),
      holders: [...held.holders].map(([id, { timeoutMs }]) => ({ id, timeoutMs })),
    };
  }

  /** A rule came over held. Its holders come too, or are taken for gone. */
  takeOver(src: SourceSpec, { since, maxWaiting, leftMs, holders }: HandedHold): void {
    const held = this.#open(src, { since, maxWaiting });
    if (leftMs !== undefined) this.#limit(held, leftMs);
    for (const { id, timeoutMs } of holders) {
      held.holders.set(id, { timeoutMs, isThere: id === byHand });
      if (id !== byHand) void this.#whenStillAway(held, id, returnWithinMs);
    }
  }

  /** Where a rule leads now, for those that wait for it in older processes. */
  async switched(src: SourceSpec): Promise<void> {
    const rule = this.#rule(src);
    if (!rule?.hold.isOn) return;
    const place = { src: textOf(rule.src), dst: textOf(rule.current.spec) };
    await this.#service.generations.settleHeld({ ...place, isHeld: true });
  }

  /** Let go in older processes what is held there and not here, as after a crash in between. Rejects with the signal's reason. */
  async follow(signal: AbortSignal): Promise<never> {
    for (;;) {
      for (const { pid, rows } of this.#service.generations.reports)
        for (const { srcKey, row } of rows) {
          if (row.held !== true) continue;
          const isHeldHere = this.#service.forwarder.rules.some(({ src, hold }) => src.key === srcKey && hold.isOn);
          const name = `${pid} ${srcKey}`;
          // The rules of one that was replaced are its successor's, held or not.
          const isOurs = this.#service.lifecycle.isServing;
          if (isHeldHere || !isOurs || this.#settled.has(name)) continue;
          this.#settled.add(name);
          await this.#service.generations.settleHeld({ srcKey, isHeld: false });
        }
      await this.#service.changes.next(signal);
    }
  }
}
