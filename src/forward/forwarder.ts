/**
 * The heart: which rules there are, what switching and stopping does to their connections, and who
 * still has to end. It opens nothing itself: listeners come from `openListener`, bytes are moved by
 * the engine, and every change is kept by `save` before it takes effect.
 */
import { innerEndpoint } from '../endpoint/inner.ts';
import type { ServerEndpoint, ServerExtras } from '../endpoint/model.ts';
import type { AdoptOptions, Frontend } from '../engine/engine.ts';
import { seatsOf } from '../engine/seats.ts';
import type { Listener } from '../net/listener.ts';
import { GraceError } from '../error.ts';
import { Destination } from './destination.ts';
import type { CarriedStats, DestinationSpec } from './destination.ts';
import { Gate } from './gate.ts';
import type { Held } from './held.ts';
import { Keeping } from './keeping.ts';
import type { RuleChange } from './keeping.ts';
import type { ForwarderOptions } from './options.ts';
import { Rule } from './rule.ts';
import { RuleTable, alreadyForwarded } from './table.ts';
import type { BrokenRule, DestinationView } from './table.ts';
import type { RuleSpec, SourceSpec } from './rule.ts';

export type { DestinationView } from './table.ts';

/**
 * All rules of a daemon: changes them one after the other, and knows every destination that still has
 * connections.
 */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #gate = new Gate();
  readonly #table = new RuleTable();
  /** What was counted of kept rules that are not served yet. */
  readonly #carried = new Map<string, CarriedStats>();
  readonly #keeping: Keeping;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#keeping = new Keeping({ save: (rules) => options.save(rules), changes: options.changes, gate: this.#gate, specs: () => this.specs });
  }

  get rules(): readonly Rule[] {
    return this.#table.rules;
  }

  get broken(): readonly BrokenRule[] {
    return this.#table.broken;
  }

  /** Every rule that is kept, served or not, in the order in which they were started. */
  get specs(): RuleSpec[] {
    return this.#table.specs;
  }

  get hasRules(): boolean {
    return !this.#table.isEmpty;
  }

  /**
   * Forward `src` to `dst`. Returns false when just this rule is being served already. A rule that is on
   * the address already is changed with `isUpsert`, without its socket being closed, and an error otherwise.
   */
  start({ src, dst }: RuleSpec, { isUpsert = false }: { isUpsert?: boolean } = {}): Promise<boolean> {
    return this.#gate.pass(src.listenKey, async () => {
      this.#mustBeFree(src);
      const existing = this.#table.sameAddress(src);
      if (existing) {
        const isSame = existing.src.key === src.key && existing.current.spec.key === dst.key;
        if (isSame && (src.name ?? existing.src.name) === existing.src.name) return await this.#listenAnew(existing);
        if (!isSame && !isUpsert) throw alreadyForwarded(existing, src);
        await this.#change(existing, { src, dst });
        return true;
      }
      const listener = await this.#options.openListener(src);
      try {
        await this.#options.check?.({ src, dst, listener }, this.rules);
        // Nobody is accepted before the rule is kept: whoever connects meanwhile waits in the queue.
        await this.#keep(
          (specs) => [...specs.filter((spec) => spec.src.listenKey !== src.listenKey), { src, dst }],
          () => this.#table.add(this.#serve({ src, dst, listener })),
        );
      } catch (error) {
        this.#options.closeListener(src, listener);
        throw error;
      }
      return true;
    });
  }

  /** A name is one rule's. */
  #mustBeFree({ name, listenKey }: SourceSpec): void {
    const other = name === undefined ? undefined : this.specs.find(({ src }) => src.name === name && src.listenKey !== listenKey);
    if (other) throw new GraceError(`the name ${name} is that of ${other.src.typed}`, { hint: `choose another, or first: grace stop ${name}` });
  }

  /** The rule listens as `src` says from now on, on the same socket, and sends new connections to `dst`. */
  async #change(rule: Rule, { src, dst }: RuleSpec): Promise<void> {
    if (rule.current.spec.key !== dst.key) await this.#route(rule, dst);
    const name = src.name ?? rule.src.name;
    const from = rule.src;
    const to = { ...src, ...(name === undefined ? {} : { name }) };
    if (from.key === to.key && from.name === name) return;
    const before = rule.seats;
    const fresh = seatsOf(to.endpoint);
    const limit = before?.limit;
    // The clients that are there count for another limit too; for the first one they do not, having no places.
    const seats = fresh && before ? before : fresh;
    if (fresh && before) before.limit = fresh.limit;
    // Clients wait in the queue of the socket meanwhile.
    if (from.key !== to.key) await rule.pause();
    let isDescribed = false;
    try {
      await this.#keep(
        (specs) => specs.map((each) => (each.src === from ? { src: to, dst: each.dst } : each)),
        () => {
          if (from.key !== to.key) {
            this.#options.describeListener?.(rule.listener, { from, to });
            isDescribed = true;
            rule.resume(this.#openFrontend({ src: to, listener: rule.listener, current: rule.current, seats }), seats);
          }
          this.#table.describe(rule, to);
        },
      );
    } catch (error) {
      if (before && limit !== undefined) before.limit = limit;
      if (from.key !== to.key) {
        await rule.pause();
        if (isDescribed) this.#describeBack(rule.listener, { from: to, to: from });
        rule.resume(this.#openFrontend({ src: from, listener: rule.listener, current: rule.current, seats: before }), before);
      }
      throw error;
    }
  }

  /** A change came to nothing. Whatever the socket cannot take back stays: the rule has to accept again in any case. */
  #describeBack(listener: Listener, change: { from: SourceSpec; to: SourceSpec }): void {
    try {
      this.#options.describeListener?.(listener, change);
    } catch {
      // Whoever asked for the change hears why it failed.
    }
  }

  /** Serve a kept rule again, with what was counted of it; one that cannot be served is kept, with its error, and does not throw. */
  async restore(spec: RuleSpec, carried?: CarriedStats): Promise<Error | null> {
    if (carried) this.#carried.set(pairKey(spec), carried);
    return this.#gate.pass(spec.src.listenKey, async () => (this.#table.sameAddress(spec.src) ? null : await this.#tryToOpen(spec)));
  }

  /** Try a rule again that could not be served, if it still is to be. Returns whether it is served now. */
  retry(spec: RuleSpec): Promise<boolean> {
    return this.#gate.pass(spec.src.listenKey, async () => {
      if (this.#table.getBroken(spec.src)?.spec !== spec) return false;
      return (await this.#tryToOpen(spec)) === null;
    });
  }

  /** Have a rule listen where its clients look for it, if that is lost. Returns whether it was. Throws what prevents it. */
  repair(src: SourceSpec): Promise<boolean> {
    return this.#gate.pass(src.listenKey, async () => {
      const rule = this.#table.get(src);
      return rule !== undefined && (await this.#listenAnew(rule));
    });
  }

  /** Whether a rule is being started, switched or stopped. */
  get isChanging(): boolean {
    return this.#gate.isBusy;
  }

  /**
   * Take over a rule with the listener it had in an earlier process. One with a limit accepts nobody
   * before `reserve` has said how many connections other processes have.
   */
  adopt({ src, dst }: RuleSpec, listener: Listener, carried: CarriedStats): void {
    this.#table.add(this.#serve({ src, dst, listener, carried, isFull: true }));
  }

  /** So many connections of each rule with a limit are other processes'. */
  reserve(countOf: (src: SourceSpec) => number): void {
    for (const { src, seats } of this.rules) seats?.reserve(countOf(src));
  }

  /** Whether places of a rule are reserved for connections of other processes. */
  get hasReserved(): boolean {
    return this.rules.some(({ seats }) => seats !== null && seats.reserved > 0);
  }

  /**
   * Connections of an earlier process come over: `adopt` is called with where they belong, which is
   * the destination of their rule, one that it had before, or one of a rule that was stopped. Throws
   * what `adopt` throws.
   */
  receive({ src, dst }: RuleSpec, since: string, adopt: (options: AdoptOptions) => void): void {
    const rule = this.#table.get(src);
    const known = this.#table.destination({ src, dst });
    const destination = known ?? new Destination(dst, this.#options.engine.openUpstream(dst.endpoint), { since, bytesIn: 0, bytesOut: 0 });
    const { idle: idleMs = null } = extrasOf(src.endpoint);
    try {
      const seats = rule?.seats ?? null;
      const before = destination.stats().connections;
      adopt({ upstream: destination.upstream, frontend: rule?.frontend ?? null, observer: this.#options.observe(src), idleMs, seats });
      // They have places of their own now.
      seats?.reserve(Math.max(0, seats.reserved - (destination.stats().connections - before)));
    } catch (error) {
      if (!known) destination.upstream.forget();
      throw error;
    }
    if (!known && rule) rule.addEarlier(destination);
    else if (!known) this.#table.addOrphan(src, destination);
    if (destination !== rule?.current) this.#watch(destination);
    this.#options.changes.notify();
  }

  /** What an earlier process counted of a destination in all. Returns whether it is known here. */
  carry(spec: RuleSpec, carried: CarriedStats): boolean {
    const destination = this.#table.destination(spec);
    destination?.carry(carried);
    return destination !== undefined;
  }

  /** What a process moved that has ended since, of a rule that is served here; of any other nothing is said any more. */
  add(pair: { srcKey: string; dstKey: string }, bytes: Pick<CarriedStats, 'bytesIn' | 'bytesOut'>): void {
    const view = this.views().find(({ src, destination }) => src.key === pair.srcKey && destination.spec.key === pair.dstKey);
    view?.destination.add(bytes);
  }

  /** Keep a rule that cannot be served at the moment. */
  keepBroken(spec: RuleSpec, error: Error): void {
    this.#table.addBroken(spec, error);
    this.#options.changes.notify();
  }

  /** Whether a switch of `src` to `dst` would change anything. Throws when there is no such rule. */
  isCurrent(src: SourceSpec, dst: DestinationSpec): boolean {
    const rule = this.#table.find(src);
    return rule instanceof Rule ? rule.current.spec.key === dst.key : rule.spec.dst.key === dst.key;
  }

  /** New connections of `src` go to `dst`; open ones stay. Returns false when they did already. */
  switch(src: SourceSpec, dst: DestinationSpec): Promise<boolean> {
    return this.#gate.pass(src.listenKey, async () => {
      const rule = this.#table.find(src);
      if (this.isCurrent(src, dst)) return false;
      if (!(rule instanceof Rule)) {
        const spec = { src: rule.spec.src, dst };
        await this.#keep(
          (specs) => specs.map((each) => (each === rule.spec ? spec : each)),
          () => this.keepBroken(spec, rule.error),
        );
        return true;
      }
      await this.#route(rule, dst);
      return true;
    });
  }

  async #route(rule: Rule, dst: DestinationSpec): Promise<void> {
    await this.#options.check?.({ src: rule.src, dst, listener: rule.listener }, this.rules);
    const open = () => new Destination(dst, this.#options.engine.openUpstream(dst.endpoint));
    const fresh = rule.earlier(dst.key) ? null : open();
    const previous = rule.current;
    try {
      await this.#keep(
        (specs) => specs.map((each) => (each.src === rule.src ? { src: each.src, dst } : each)),
        // Whether an earlier one still has connections is asked now: it may have drained while the change was kept.
        () => rule.route(rule.earlier(dst.key) ?? fresh ?? open()),
      );
    } finally {
      if (fresh && rule.current !== fresh) fresh.upstream.forget();
    }
    this.#watch(previous);
  }

  /** Stop a rule: new connections are refused from now on. Returns the destinations whose connections go on. */
  stop(src: SourceSpec): Promise<Destination[]> {
    return this.#gate.pass(src.listenKey, async () => {
      const rule = this.#table.find(src);
      const source = rule instanceof Rule ? rule.src : rule.spec.src;
      await this.#keep(
        (specs) => specs.filter((spec) => spec.src.key !== source.key),
        () => {
          this.#table.remove(source);
          if (!(rule instanceof Rule)) this.#carried.delete(pairKey(rule.spec));
        },
      );
      if (!(rule instanceof Rule)) return [];
      this.#orphan(rule);
      await this.#shut(rule);
      return this.#watchAll(rule);
    });
  }

  /**
   * Stop accepting on every rule, for ever: a change that has not been kept yet fails with the reason.
   * The rules stay kept. Returns all destinations with connections.
   */
  async stopAll(reason: Error): Promise<Destination[]> {
    this.#gate.close(reason);
    await this.#shutAll();
    await this.#keeping.settled; // a change that was being written down has taken effect
    await this.#shutAll();
    return this.views().map(({ destination }) => destination);
  }

  async #shutAll(): Promise<void> {
    const rules = this.#table.takeRules();
    for (const rule of rules) this.#orphan(rule);
    await Promise.all(rules.map((rule) => this.#shut(rule)));
    for (const rule of rules) this.#watchAll(rule);
  }

  /** Hold changes back while a successor is made from the snapshot of all rules. Rejects with the signal's reason. */
  async hold(options: { signal?: AbortSignal } = {}): Promise<Held> {
    const open = await this.#gate.shut(options);
    return {
      pause: async () => void (await Promise.all(this.rules.map((rule) => rule.pause()))),
      release: () => {
        open();
      },
      resume: () => {
        for (const rule of this.rules) rule.resume(this.#openFrontend(rule));
        open();
      },
      handOver: (reason) => {
        for (const rule of this.#table.takeRules()) {
          this.#orphan(rule);
          this.#watchAll(rule);
          rule.listener.close();
        }
        this.#table.forgetBroken();
        open(reason);
        this.#options.changes.notify();
      },
    };
  }

  /** Every destination: of each rule the current one first, then earlier ones that have connections; then those of stopped rules. */
  views(): DestinationView[] {
    return this.#table.views();
  }

  get connections(): number {
    return this.views().reduce((sum, { destination }) => sum + destination.stats().connections, 0);
  }

  /** The rule of this source, by meaning or else by the address it listens on. Throws when there is none. */
  find(src: SourceSpec): SourceSpec {
    const rule = this.#table.find(src);
    return rule instanceof Rule ? rule.src : rule.spec.src;
  }

  /** The source of the rule with this name. Throws when there is none (exit code 4). */
  named(name: string): SourceSpec {
    return this.#table.named(name);
  }

  async #tryToOpen(spec: RuleSpec): Promise<Error | null> {
    try {
      const rule = await this.#open(spec);
      this.#table.add(rule);
      this.#options.changes.notify();
      return null;
    } catch (error) {
      const problem = error instanceof Error ? error : new Error(String(error));
      this.keepBroken(spec, problem);
      return problem;
    }
  }

  async #open({ src, dst }: RuleSpec): Promise<Rule> {
    const listener = await this.#options.openListener(src);
    try {
      return this.#serve({ src, dst, listener });
    } catch (error) {
      this.#options.closeListener(src, listener);
      throw error;
    }
  }

  #serve({ src, dst, listener, isFull = false, ...rest }: RuleSpec & { listener: Listener; carried?: CarriedStats; isFull?: boolean }): Rule {
    this.#gate.mustBeOpen(); // opening the listener may have taken long
    const key = pairKey({ src, dst });
    const carried = rest.carried ?? this.#carried.get(key);
    const destination = new Destination(dst, this.#options.engine.openUpstream(dst.endpoint), carried);
    const seats = seatsOf(src.endpoint);
    if (isFull) seats?.reserve(seats.limit);
    try {
      const frontend = this.#openFrontend({ src, listener, current: destination, seats });
      this.#carried.delete(key);
      return new Rule({ src, listener, destination, seats, frontend });
    } catch (error) {
      destination.upstream.forget();
      throw error;
    }
  }

  /** Nobody comes to a listener that is lost; open connections stay. */
  async #listenAnew(rule: Rule): Promise<boolean> {
    const { isLost, openListener, closeListener, replaceListener, changes } = this.#options;
    if (!isLost?.(rule.listener)) return false;
    const listener = await openListener(rule.src);
    try {
      this.#gate.mustBeOpen();
      const frontend = this.#openFrontend({ src: rule.src, listener, current: rule.current, seats: rule.seats });
      await rule.pause();
      replaceListener?.(rule.moveTo(listener, frontend));
    } catch (error) {
      closeListener(rule.src, listener);
      throw error;
    }
    changes.notify();
    return true;
  }

  #openFrontend({ src, listener, current, seats }: Pick<Rule, 'src' | 'listener' | 'current' | 'seats'>): Frontend {
    return this.#options.engine.openFrontend({ listener, endpoint: src.endpoint, upstream: current.upstream, observer: this.#options.observe(src), seats });
  }

  #keep(change: RuleChange, apply: () => void): Promise<void> {
    return this.#keeping.keep(change, apply);
  }

  /** The rule is gone from here; its connections go on. */
  #orphan(rule: Rule): void {
    for (const destination of rule.destinations) this.#table.addOrphan(rule.src, destination);
    this.#options.changes.notify();
  }

  /** To be called when a rule that is gone accepts nobody any more. Returns its destinations. */
  #watchAll(rule: Rule): Destination[] {
    const destinations = [...rule.destinations];
    for (const destination of destinations) this.#watch(destination);
    return destinations;
  }

  /** It gets no new connections: when the last has ended, it is over, unless it is routed to again by then. */
  #watch(destination: Destination): void {
    void destination.upstream.drained().then(() => {
      if (destination.stats().connections === 0 && this.#table.forget(destination)) destination.upstream.forget();
      this.#options.changes.notify();
    });
  }

  async #shut(rule: Rule): Promise<void> {
    await rule.pause();
    this.#options.closeListener(rule.src, rule.listener);
  }
}

function pairKey({ src, dst }: RuleSpec): string {
  return JSON.stringify([src.key, dst.key]);
}

function extrasOf(endpoint: ServerEndpoint): ServerExtras {
  const inner = innerEndpoint(endpoint);
  return inner.type === 'stdio' ? {} : inner;
}
