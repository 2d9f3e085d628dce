import type { Frontend, Upstream } from '../engine/engine.ts';
import { admissionOf } from '../engine/admission/admission.ts';
import { Hold } from '../engine/hold.ts';
import { slotsOf } from '../engine/slots.ts';
import type { Listener } from '../net/listener.ts';
import { Destination } from './destination.ts';
import type { CarriedStats } from './destination.ts';
import type { ChangeGate } from './gate.ts';
import type { Ledger } from './ledger.ts';
import type { ForwarderOptions } from './options.ts';
import { routingOf, upstreamShare } from './routing.ts';
import { Rule } from './rule.ts';
import type { RuleSpec } from './rule.ts';

/** What rules are opened with; no rule is, once `gate` is closed. */
export type RuleOpenerOptions = Pick<ForwarderOptions, 'engine' | 'openListener' | 'closeListener' | 'observe'> & {
  gate: ChangeGate;
  ledger: Ledger;
};

/** A rule, and the socket that it is served on. */
export type ServedRule = RuleSpec & {
  listener: Listener;
  carried?: CarriedStats;
  /** All its places are reserved for connections elsewhere. */
  isFull?: boolean;
  /** It is held from its first client on: so many may wait. */
  maxWaiting?: number | undefined;
};

/** Puts a rule in service: opens its listener, its upstream and its frontend, or leaves nothing open. */
export class RuleOpener {
  readonly #options: RuleOpenerOptions;
  /** What was counted of stored rules that are not served yet. */
  readonly #carried = new Map<string, CarriedStats>();

  constructor(options: RuleOpenerOptions) {
    this.#options = options;
  }

  /** What was counted of a rule, for when it is served. */
  carry(spec: RuleSpec, carried: CarriedStats): void {
    this.#carried.set(pairKey(spec), carried);
  }

  /** The rule was stopped before it was served. */
  forget(spec: RuleSpec): void {
    this.#carried.delete(pairKey(spec));
  }

  /** `check` may refuse the rule by throwing, before anybody is accepted. */
  async open(spec: RuleSpec, check: (listener: Listener) => Promise<void>): Promise<Rule> {
    const { src } = spec;
    const { openListener, closeListener } = this.#options;
    const listener = await openListener(src);
    try {
      await check(listener);
      return this.serve({ ...spec, listener });
    } catch (error) {
      closeListener(src, listener);
      throw error;
    }
  }

  /** Serve a rule on a listener, which stays the caller's when that throws. */
  serve({ src, dst, share, listener, isFull = false, maxWaiting, ...given }: ServedRule): Rule {
    this.#options.gate.mustBeOpen(); // opening the listener may have taken long
    const slots = slotsOf(src.endpoint);
    if (isFull) slots?.reserve(slots.limit);
    const opened: Destination[] = [];
    const hold = new Hold<Upstream>();
    if (maxWaiting !== undefined) hold.begin({ limit: maxWaiting });
    try {
      const routing = routingOf({ dst, share }, (each) => {
        const carried = each === dst && given.carried ? given.carried : this.#carried.get(pairKey({ src, dst: each }));
        const destination = this.openDestination({ src, dst: each }, carried);
        opened.push(destination);
        return destination;
      });
      const admission = admissionOf(src.endpoint);
      const frontend = this.openFrontend({ src, listener, routing, slots, admission, hold });
      for (const { spec } of opened) this.#carried.delete(pairKey({ src, dst: spec }));
      return new Rule({ src, listener, routing, slots, admission, hold, frontend });
    } catch (error) {
      for (const destination of opened) destination.forget();
      throw error;
    }
  }

  openDestination({ src, dst }: RuleSpec, carried?: CarriedStats): Destination {
    const { engine, ledger } = this.#options;
    const destination = new Destination(dst, engine.openUpstream(dst.endpoint), carried, (each) => ledger.close(each));
    ledger.open(src, destination);
    return destination;
  }

  openFrontend({
    src,
    listener,
    routing,
    slots,
    admission,
    hold,
  }: Pick<Rule, 'src' | 'listener' | 'routing' | 'slots' | 'admission' | 'hold'>): Frontend {
    const { engine, observe } = this.#options;
    return engine.openFrontend({
      listener,
      endpoint: src.endpoint,
      upstream: routing.current.upstream,
      share: upstreamShare(routing),
      observer: observe(src),
      slots,
      admission,
      hold,
    });
  }
}

function pairKey({ src, dst }: RuleSpec): string {
  return JSON.stringify([src.key, dst.key]);
}
