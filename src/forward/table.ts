import type { Upstream } from '../engine/engine.ts';
import { GraceError } from '../error.ts';
import { nearest } from '../nearest.ts';
import type { Hold } from '../engine/hold.ts';
import type { Listener } from '../net/listener.ts';
import type { Destination } from './destination.ts';
import { destinationsOf, percentOf } from './routing.ts';
import { Rule } from './rule.ts';
import type { RuleSpec, SourceSpec } from './rule.ts';

/** One destination with its connections in this process. */
export type DestinationView = {
  src: SourceSpec;
  destination: Destination;
  /** Whether new connections go there, or a share of them. */
  isCurrent: boolean;
  /** That share, where there are two. */
  percent: number | null;
  listener: Listener | null;
  /** Whether new clients wait, and how many; null: they do not come here. */
  hold: Hold<Upstream> | null;
};

/** A stored rule that cannot be served at the moment, why, and since when (ISO 8601). */
export type BrokenRule = { spec: RuleSpec; error: Error; since: string };

type Orphan = { src: SourceSpec; destination: Destination; hold: Hold<Upstream> | null };

/** Which rules there are, served or not, and whose connections outlive their rule. */
export class RuleTable {
  readonly #rules = new Map<string, Rule>();
  /** The same by the address that each listens on. */
  readonly #byAddress = new Map<string, Rule>();
  readonly #broken = new Map<string, BrokenRule>();
  /** Destinations of rules that stopped, while they still have connections. */
  readonly #orphans = new Map<Destination, Orphan>();

  get rules(): readonly Rule[] {
    return [...this.#rules.values()];
  }

  get broken(): readonly BrokenRule[] {
    return [...this.#broken.values()];
  }

  /** Every rule as it is, served or not, in the order in which they were started. */
  get specs(): RuleSpec[] {
    return [...this.rules.map(({ spec }) => spec), ...this.broken.map(({ spec }) => spec)];
  }

  /** Every rule as it is stored: where it goes for good. */
  get stored(): RuleSpec[] {
    return [...this.rules.map(({ stored }) => stored), ...this.broken.map(({ spec }) => spec)];
  }

  get isEmpty(): boolean {
    return this.#rules.size + this.#broken.size === 0;
  }

  /** The rule is served, also in place of one on the same address that was not. */
  add(rule: Rule): void {
    for (const [key, { spec }] of this.#broken) if (spec.src.listenKey === rule.src.listenKey) this.#broken.delete(key);
    this.#put(rule);
  }

  #put(rule: Rule): void {
    this.#rules.set(rule.src.key, rule);
    this.#byAddress.set(rule.src.listenKey, rule);
  }

  /** The rule cannot be served at the moment. */
  addBroken(spec: RuleSpec, error: Error): void {
    const { since } = this.#broken.get(spec.src.key) ?? { since: new Date().toISOString() };
    this.#broken.set(spec.src.key, { spec, error, since });
  }

  /** A rule that is served is described otherwise from now on; it keeps its place. */
  describe(rule: Rule, src: SourceSpec): void {
    const { rules } = this;
    rule.describe(src);
    this.#clear();
    for (const each of rules) this.#put(each);
  }

  #clear(): void {
    this.#rules.clear();
    this.#byAddress.clear();
  }

  /** The source of the rule with this name, or of one that was stopped and has connections left. Throws GraceError when there is none. */
  named(name: string): SourceSpec {
    const sources = [...this.specs, ...this.#orphans.values()].map(({ src }) => src);
    const found = sources.find((src) => src.name === name);
    if (!found) throw notForwarded({ typed: name }, this.specs);
    return found;
  }

  remove({ key }: SourceSpec): void {
    this.#broken.delete(key);
    const rule = this.#rules.get(key);
    this.#rules.delete(key);
    if (rule && this.#byAddress.get(rule.src.listenKey) === rule) this.#byAddress.delete(rule.src.listenKey);
  }

  /** All rules that are served, which are so no more. */
  takeRules(): readonly Rule[] {
    const { rules } = this;
    this.#clear();
    return rules;
  }

  forgetBroken(): void {
    this.#broken.clear();
  }

  /** `hold`: that of its rule, for whose end clients wait there. */
  addOrphan(src: SourceSpec, destination: Destination, hold: Hold<Upstream> | null = null): void {
    this.#orphans.set(destination, { src, destination, hold });
  }

  /** Those that wait for the end of a hold whose rule is served no more wait for another destination. */
  moveHold(hold: Hold<Upstream>, { src, destination }: { src: SourceSpec; destination: Destination }): void {
    for (const each of this.#orphans.values()) if (each.hold === hold) each.hold = null;
    const known = this.#orphans.get(destination);
    if (known) known.hold = hold;
    else this.addOrphan(src, destination, hold);
  }

  /** Where clients wait whose rule is served no more, or elsewhere. */
  heldOrphans(): { src: SourceSpec; destination: Destination; hold: Hold<Upstream> }[] {
    return [...this.#orphans.values()].flatMap(({ hold, ...rest }) => (hold?.isOn ? [{ ...rest, hold }] : []));
  }

  get({ key }: SourceSpec): Rule | undefined {
    return this.#rules.get(key);
  }

  getBroken({ key }: SourceSpec): BrokenRule | undefined {
    return this.#broken.get(key);
  }

  /** The rule that is served on the address of this source. */
  sameAddress(src: SourceSpec): Rule | undefined {
    return this.get(src) ?? this.#byAddress.get(src.listenKey);
  }

  /** The rule of this source, by meaning or else by the address it listens on. Throws GraceError when there is none. */
  find(src: SourceSpec): Rule | BrokenRule {
    const found =
      this.get(src) ??
      this.getBroken(src) ??
      this.sameAddress(src) ??
      this.broken.find(({ spec }) => spec.src.listenKey === src.listenKey);
    if (!found) throw notForwarded(src, this.specs);
    return found;
  }

  /** A destination that a rule has, had, or had before it was stopped. */
  destination({ src, dst }: RuleSpec): Destination | undefined {
    const orphan = [...this.#orphans.values()].find(
      (each) => each.src.key === src.key && each.destination.spec.key === dst.key,
    );
    return this.get(src)?.destination(dst.key) ?? orphan?.destination;
  }

  /** The destination of {@link views} with these keys. */
  viewed(srcKey: string, dstKey: string): Destination | undefined {
    const isMeant = ({ spec }: Destination) => spec.key === dstKey;
    const orphans = [...this.#orphans.values()].filter(
      ({ src, destination }) => src.key === srcKey && destination.stats().connections > 0,
    );
    return (
      this.#rules.get(srcKey)?.destinations.find(isMeant) ?? orphans.map(({ destination }) => destination).find(isMeant)
    );
  }

  /** Every destination: of each rule the current one first, then earlier ones that have connections; then those of stopped rules. */
  views(): DestinationView[] {
    const ofRules = this.rules.flatMap((rule) =>
      rule.destinations.map((destination) => ({
        src: rule.src,
        destination,
        isCurrent: destinationsOf(rule.routing).includes(destination),
        percent: percentOf(rule.routing, destination),
        listener: rule.listener,
        hold: destination === rule.current ? rule.hold : null,
      })),
    );
    const orphans = [...this.#orphans.values()].filter(({ destination }) => destination.stats().connections > 0);
    return [...ofRules, ...orphans.map((orphan) => ({ ...orphan, isCurrent: false, percent: null, listener: null }))];
  }

  /** Drop a destination that has drained, unless it is where a rule sends its clients now. Returns whether it is dropped. */
  forget(destination: Destination): boolean {
    for (const rule of this.#rules.values()) if (!rule.forget(destination)) return false;
    this.#orphans.delete(destination);
    return true;
  }
}

/** Sources that a hint names at most. */
const maxNamed = 5;

function notForwarded({ typed }: Pick<SourceSpec, 'typed'>, specs: readonly RuleSpec[]): GraceError {
  const sources = specs.map(({ src }) => src.typed);
  const named = specs.map(({ src }) => (src.name === undefined ? src.typed : `${src.name} (${src.typed})`));
  const guess = nearest(typed, [...specs.flatMap(({ src }) => src.name ?? []), ...sources]);
  const few = sources.length <= maxNamed ? `forwarded: ${named.join(', ')}` : 'see: grace ls';
  const hint = guess === undefined ? few : `did you mean ${guess}?`;
  return new GraceError(`${typed} is not forwarded`, {
    hint:
      sources.length === 0
        ? `nothing is; forward it with: grace start ${/^[\w.-]*[A-Za-z][\w.-]*$/.test(typed) ? 'SRC' : typed} DST`
        : hint,
    code: 'ERR_GRACE_NOT_FORWARDED',
  });
}

/** The address of a source is a rule's already, which leads elsewhere or listens otherwise. */
export function alreadyForwarded(rule: Rule, src: SourceSpec): GraceError {
  if (rule.src.key !== src.key) {
    return new GraceError(`${src.typed} is already forwarded, as ${rule.src.typed}`, {
      hint: `to change how it listens: grace start --switch ${src.typed} DST`,
    });
  }
  return new GraceError(`${src.typed} is already forwarded to ${rule.current.spec.typed}`, {
    hint: `to send new connections elsewhere: grace switch ${src.typed} DST`,
  });
}
