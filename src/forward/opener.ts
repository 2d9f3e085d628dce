import type { Frontend } from '../engine/engine.ts';
import { admissionOf } from '../engine/admission/admission.ts';
import { slotsOf } from '../engine/slots.ts';
import type { Listener } from '../net/listener.ts';
import { Destination } from './destination.ts';
import type { CarriedStats } from './destination.ts';
import type { ChangeGate } from './gate.ts';
import type { Ledger } from './ledger.ts';
import type { ForwarderOptions } from './options.ts';
import { Rule } from './rule.ts';
import type { RuleSpec } from './rule.ts';

/** What rules are opened with; no rule is, once `gate` is closed. */
export type RuleOpenerOptions = Pick<ForwarderOptions, 'engine' | 'openListener' | 'closeListener' | 'observe'> & {
  gate: ChangeGate;
  ledger: Ledger;
};

/** A rule, and the socket that it is served on. `isFull`: all its places are reserved for connections elsewhere. */
export type ServedRule = RuleSpec & { listener: Listener; carried?: CarriedStats; isFull?: boolean };

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

  async open({ src, dst }: RuleSpec): Promise<Rule> {
    const { openListener, closeListener } = this.#options;
    const listener = await openListener(src);
    try {
      return this.serve({ src, dst, listener });
    } catch (error) {
      closeListener(src, listener);
      throw error;
    }
  }

  /** Serve a rule on a listener, which stays the caller's when that throws. */
  serve({ src, dst, listener, isFull = false, ...given }: ServedRule): Rule {
    this.#options.gate.mustBeOpen(); // opening the listener may have taken long
    const key = pairKey({ src, dst });
    const destination = this.openDestination({ src, dst }, given.carried ?? this.#carried.get(key));
    const slots = slotsOf(src.endpoint);
    if (isFull) slots?.reserve(slots.limit);
    try {
      const admission = admissionOf(src.endpoint);
      const frontend = this.openFrontend({ src, listener, current: destination, slots, admission });
      this.#carried.delete(key);
      return new Rule({ src, listener, routing: { current: destination }, slots, admission, frontend });
    } catch (error) {
      destination.forget();
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
    current,
    slots,
    admission,
  }: Pick<Rule, 'src' | 'listener' | 'current' | 'slots' | 'admission'>): Frontend {
    const { engine, observe } = this.#options;
    return engine.openFrontend({
      listener,
      endpoint: src.endpoint,
      upstream: current.upstream,
      observer: observe(src),
      slots,
      admission,
    });
  }
}

function pairKey({ src, dst }: RuleSpec): string {
  return JSON.stringify([src.key, dst.key]);
}
