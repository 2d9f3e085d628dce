/** The destinations of an engine, in the main thread: those that were opened, and those among which the threads choose. */
import type { ClientEndpoint, DirectClient } from '../../endpoint/model.ts';
import type { Threads } from './threads.ts';
import type { NativeUpstream } from './upstream.ts';

/** What a number of the threads stands for. */
export type Destination = { readonly endpoint: ClientEndpoint; lastAddresses: readonly string[] };

type Way = { readonly endpoint: DirectClient; lastAddresses: readonly string[]; readonly of: number };

type Options = {
  threads: Threads;
  /** No thread dials for an upstream any more, nor will report anything of it. */
  onForgotten: (id: number) => void;
};

/**
 * Upstreams and their ways by their numbers in the threads. Each is remembered until every thread has reported all
 * that there is of it: who hears of the ends of connections asks for it until then.
 */
export class NativeUpstreams {
  readonly #threads: Threads;
  readonly #onForgotten: (id: number) => void;
  readonly #upstreams = new Map<number, NativeUpstream>();
  /** Destinations among which the threads choose, by their numbers, and what each is of. */
  readonly #ways = new Map<number, Way>();
  /** Of upstreams that are over, the threads that may still report something of them. */
  readonly #leaving = new Map<number, Set<number>>();
  #lastId = 0;

  constructor({ threads, onForgotten }: Options) {
    this.#threads = threads;
    this.#onForgotten = onForgotten;
  }

  /** A number for an upstream that is about to be made. */
  nextId(): number {
    return ++this.#lastId;
  }

  add(upstream: NativeUpstream): void {
    this.#upstreams.set(upstream.id, upstream);
  }

  /** Among others, this is a destination of that upstream. Returns its number. */
  addWay(endpoint: DirectClient, of: number): number {
    const id = this.nextId();
    this.#ways.set(id, { endpoint, lastAddresses: [], of });
    return id;
  }

  get(id: number): NativeUpstream | undefined {
    return this.#upstreams.get(id);
  }

  /** One of several destinations of an upstream. */
  way(id: number): Destination | undefined {
    return this.#ways.get(id);
  }

  get all(): Iterable<NativeUpstream> {
    return this.#upstreams.values();
  }

  /** How many are remembered, ways included. */
  get size(): number {
    return this.#upstreams.size + this.#ways.size;
  }

  /** What an upstream connects to, and each of its ways, by number. */
  endpointsOf({ id, endpoint }: NativeUpstream): [number, ClientEndpoint][] {
    const ways = [...this.#ways].filter(([, { of }]) => of === id);
    return [[id, endpoint], ...ways.map(([number, way]): [number, ClientEndpoint] => [number, way.endpoint])];
  }

  /** An upstream is over: the threads are to forget it. */
  forget(id: number): void {
    const { alive } = this.#threads;
    this.#leaving.set(id, new Set(alive));
    for (const thread of alive) this.#threads.send(thread, { type: 'forget-upstream', upstream: id });
    if (alive.length === 0) this.forgotten(null, id);
  }

  /** A thread, or none, has reported all that there is of an upstream. */
  forgotten(thread: number | null, id: number): void {
    const waiting = this.#leaving.get(id);
    if (thread !== null) waiting?.delete(thread);
    if (!waiting || waiting.size > 0) return;
    this.#leaving.delete(id);
    this.#upstreams.delete(id);
    this.#onForgotten(id);
    for (const [way, { of }] of this.#ways) if (of === id) this.#ways.delete(way);
  }

  /** A thread is gone, with the connections that it had. */
  lost(thread: number): void {
    for (const upstream of this.#upstreams.values()) upstream.forgetThread(thread);
    for (const id of this.#leaving.keys()) this.forgotten(thread, id);
  }
}
