import type { ServerEndpoint } from '../endpoint/model.ts';
import type { Frontend, Upstream } from '../engine/engine.ts';
import type { Admission } from '../engine/admission/admission.ts';
import type { Hold } from '../engine/hold.ts';
import type { Slots } from '../engine/slots.ts';
import type { Listener } from '../net/listener.ts';
import type { Destination } from './destination.ts';
import { destinationsOf, routingSpec, upstreamShare } from './routing.ts';
import type { Routing, RoutingSpec } from './routing.ts';
import type { Trial, TrialOutcome } from './trial.ts';

/** The source of a rule: a server endpoint as typed and what it means. */
export type SourceSpec = {
  typed: string;
  /** As typed, with relative paths made absolute. */
  absolute: string;
  /** Equal for endpoints that mean the same. */
  key: string;
  /** Equal for endpoints that would listen on the same address, whatever else they say. */
  listenKey: string;
  endpoint: ServerEndpoint;
  /** What people call the rule. */
  name?: string;
};

/** A rule as it is stored and handed over. */
export type RuleSpec = { src: SourceSpec } & RoutingSpec;

/** How many clients a rule takes, and who. */
type Doors = Pick<Rule, 'slots' | 'admission'>;

/** A rule that is being served: its listener, and its destinations those that get new connections first. */
export class Rule {
  #src: SourceSpec;
  #listener: Listener;
  #slots: Slots | null;
  #admission: Admission | null;
  readonly #hold: Hold<Upstream>;
  #frontend: Frontend;
  #routing: Routing;
  #trial: Trial | null = null;
  /** Newest first; drained ones are dropped in time. */
  #earlier: readonly Destination[] = [];

  constructor(options: {
    src: SourceSpec;
    listener: Listener;
    frontend: Frontend;
    routing: Routing;
    hold: Hold<Upstream>;
    slots?: Slots | null;
    admission?: Admission | null;
  }) {
    this.#src = options.src;
    this.#listener = options.listener;
    this.#slots = options.slots ?? null;
    this.#admission = options.admission ?? null;
    this.#hold = options.hold;
    this.#frontend = options.frontend;
    this.#routing = options.routing;
  }

  get listener(): Listener {
    return this.#listener;
  }

  /** Places for its clients, over all frontends that it has had; null: no limit. */
  get slots(): Slots | null {
    return this.#slots;
  }

  /** Who may come in, over all frontends that it has had; null: anybody. */
  get admission(): Admission | null {
    return this.#admission;
  }

  /** Whether its clients wait before they are dialled for. */
  get hold(): Hold<Upstream> {
    return this.#hold;
  }

  get src(): SourceSpec {
    return this.#src;
  }

  /** The same socket with another name or other parameters from now on. */
  describe(src: SourceSpec): void {
    this.#src = src;
  }

  /** Where new connections go. */
  get routing(): Routing {
    return this.#routing;
  }

  get current(): Destination {
    return this.#routing.current;
  }

  /** The switch that is not for good yet; null: there is none. */
  get trial(): Trial | null {
    return this.#trial;
  }

  /** The rule as it is served. */
  get spec(): RuleSpec {
    return { src: this.#src, ...routingSpec(this.#routing) };
  }

  /** The rule as it is stored: a switch on trial is not. */
  get stored(): RuleSpec {
    return { src: this.#src, ...routingSpec(this.#trial?.before ?? this.#routing) };
  }

  /** Those that get new connections, and those that get them again when the trial fails. */
  get routed(): readonly Destination[] {
    const before = this.#trial ? destinationsOf(this.#trial.before) : [];
    return [...new Set([...destinationsOf(this.#routing), ...before])];
  }

  /** Every one that it has, also without connections. */
  get known(): readonly Destination[] {
    return [...destinationsOf(this.#routing), ...this.#earlier];
  }

  /** Those that get new connections, the current one first, then the earlier ones that still have connections, newest first. */
  get destinations(): readonly Destination[] {
    return [...destinationsOf(this.#routing), ...this.#earlier.filter((each) => each.stats().connections > 0)];
  }

  /** A destination with this key that gets new connections, still has some, or may get some again. */
  destination(key: string): Destination | undefined {
    return [...this.destinations, ...this.routed].find((each) => each.spec.key === key);
  }

  /** Where clients of this rule come in now. */
  get frontend(): Frontend {
    return this.#frontend;
  }

  /** A destination that has connections of this rule still. */
  addEarlier(destination: Destination): void {
    this.#earlier = [destination, ...this.#earlier];
  }

  /** New connections, and those that a hold has wait, go there from now on; open ones stay. With `trial`, until that says otherwise; one that there was is over, with `outcome`. */
  route(
    routing: Routing,
    { trial = null, outcome = { result: 'superseded' } }: { trial?: Trial | null; outcome?: TrialOutcome } = {},
  ): void {
    this.#frontend.route(routing.current.upstream, upstreamShare(routing));
    // With a share, those that wait stay on their side.
    if (this.#hold.isOn && (routing.current !== this.current || upstreamShare(routing) === null))
      this.#hold.route(routing.current.upstream);
    const { known } = this;
    const routed = destinationsOf(routing);
    for (const each of routed) each.endDrain();
    this.#routing = routing;
    this.#earlier = known.filter((each) => !routed.includes(each));
    this.endTrial(outcome);
    this.#trial = trial;
  }

  /** Go on with a trial that began in another process. */
  adoptTrial(trial: Trial): void {
    this.#trial = trial;
    const routed = destinationsOf(this.#routing);
    this.#earlier = [...destinationsOf(trial.before).filter((each) => !routed.includes(each)), ...this.#earlier];
  }

  /** The trial, if there is one, is over: new connections go on to where they go now. */
  endTrial(outcome: TrialOutcome): void {
    this.#trial?.end(outcome);
    this.#trial = null;
  }

  /** Somebody else goes on with the trial, if there is one. */
  abandonTrial(reason: Error): void {
    this.#trial?.abandon(reason);
    this.#trial = null;
  }

  /** Drop an earlier destination that has drained. Returns false for one that gets new connections or may get some again. */
  forget(destination: Destination): boolean {
    // Asked of every rule for every destination that drains: nothing is made for the answer.
    const { current, share } = this.#routing;
    if (destination === current || destination === share?.destination) return false;
    if (this.#trial && destinationsOf(this.#trial.before).includes(destination)) return false;
    if (this.#earlier.includes(destination)) this.#earlier = this.#earlier.filter((each) => each !== destination);
    return true;
  }

  /** Read certificates again, for handshakes to come; returns why some are still the old ones. Throws GraceError and keeps all of them. */
  reload(): readonly string[] {
    return this.#frontend.reload();
  }

  /** Stop accepting; clients stay in the queue of the listener. */
  pause(): Promise<void> {
    return this.#frontend.stop();
  }

  /** Accept on another socket from now on. Returns the one before, which is the caller's. */
  moveTo(listener: Listener, frontend: Frontend): Listener {
    const before = this.#listener;
    this.#listener = listener;
    this.#frontend = frontend;
    return before;
  }

  /** Accept again, on a new frontend that routes to the current destination; with places and an admission of its own if they are given. */
  resume(frontend: Frontend, { slots = this.#slots, admission = this.#admission }: Partial<Doors> = {}): void {
    this.#frontend = frontend;
    this.#slots = slots;
    this.#admission = admission;
  }
}
