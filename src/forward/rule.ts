import type { ServerEndpoint } from '../endpoint/model.ts';
import type { Frontend } from '../engine/engine.ts';
import type { Slots } from '../engine/slots.ts';
import type { Listener } from '../net/listener.ts';
import type { Destination, DestinationSpec } from './destination.ts';

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
export type RuleSpec = { src: SourceSpec; dst: DestinationSpec };

/** A rule that is being served: its listener, and its destinations with the current one first. */
export class Rule {
  #src: SourceSpec;
  #listener: Listener;
  #slots: Slots | null;
  #frontend: Frontend;
  #destinations: readonly Destination[];

  constructor(options: {
    src: SourceSpec;
    listener: Listener;
    frontend: Frontend;
    destination: Destination;
    slots?: Slots | null;
  }) {
    this.#src = options.src;
    this.#listener = options.listener;
    this.#slots = options.slots ?? null;
    this.#frontend = options.frontend;
    this.#destinations = [options.destination];
  }

  get listener(): Listener {
    return this.#listener;
  }

  /** Places for its clients, over all frontends that it has had; null: no limit. */
  get slots(): Slots | null {
    return this.#slots;
  }

  get src(): SourceSpec {
    return this.#src;
  }

  /** The same socket with another name or other parameters from now on. */
  describe(src: SourceSpec): void {
    this.#src = src;
  }

  get current(): Destination {
    return this.#destinations[0]!;
  }

  /** The current destination first, then the earlier ones that still have connections, newest first. */
  get destinations(): readonly Destination[] {
    return this.#destinations.filter((each, index) => index === 0 || each.stats().connections > 0);
  }

  /** An earlier destination with this key that still has connections. */
  earlier(key: string): Destination | undefined {
    return this.destinations.find((each) => each.spec.key === key);
  }

  /** Where clients of this rule come in now. */
  get frontend(): Frontend {
    return this.#frontend;
  }

  /** A destination that has connections of this rule still. */
  addEarlier(destination: Destination): void {
    this.#destinations = [this.current, destination, ...this.#destinations.slice(1)];
  }

  /** New connections go to `destination` from now on; open ones stay. */
  route(destination: Destination): void {
    this.#frontend.route(destination.upstream);
    this.#destinations = [destination, ...this.#destinations.filter((each) => each !== destination)];
  }

  /** Drop an earlier destination that has drained. Returns whether it had one. */
  forget(destination: Destination): boolean {
    const others = this.#destinations.filter((each, index) => index === 0 || each !== destination);
    const wasKnown = others.length < this.#destinations.length;
    this.#destinations = others;
    return wasKnown;
  }

  /** Read certificates again, for handshakes to come; throws GraceError and keeps the old ones. */
  reload(): void {
    this.#frontend.reload();
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

  /** Accept again, on a new frontend that routes to the current destination; with places of its own if they are given. */
  resume(frontend: Frontend, slots = this.#slots): void {
    this.#frontend = frontend;
    this.#slots = slots;
  }
}
