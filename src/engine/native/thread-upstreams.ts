/** The destinations that a thread knows: opened, asked after, forgotten. */
import { Counters } from './counters.ts';
import type { DialLookups } from './dial-lookups.ts';
import { UNKNOWN_EAGERNESS } from './first-flight.ts';
import type { UpstreamPlan, UpstreamTls } from './thread-plans.ts';
import type { Thread, ThreadUpstream } from './thread.ts';

/** Keeps `thread.upstreams`. */
export class ThreadUpstreams {
  readonly #thread: Thread;
  readonly #lookups: DialLookups;

  constructor(thread: Thread, { lookups }: { lookups: DialLookups }) {
    this.#thread = thread;
    this.#lookups = lookups;
  }

  /** Connections to it will come. */
  open(plan: UpstreamPlan): void {
    const counters = new Counters(plan.counters, this.#thread.number);
    this.#open(plan, counters);
    for (const way of plan.sni?.ways ?? []) this.#open({ ...way.plan, counters: plan.counters, sni: null }, counters);
  }

  #open(plan: UpstreamPlan, counters: Counters): void {
    const { upstreams, kernel } = this.#thread;
    if (upstreams.has(plan.id)) return; // several names lead there
    upstreams.set(plan.id, {
      plan,
      counters,
      fixed: plan.addresses && {
        addresses: plan.addresses.map((sockaddr) => kernel.address(sockaddr)),
        targets: null,
        until: Infinity,
      },
      resolved: null,
      bindAddress: plan.bindAddress && kernel.address(plan.bindAddress),
      answeredLast: null,
      isWatched: false,
      isForgotten: false,
      eagerness: UNKNOWN_EAGERNESS,
    });
  }

  /** Its files were read again. Legs in the middle of their handshake go on with what they began with. */
  setTls(id: number, tls: UpstreamTls): void {
    const upstream = this.#thread.upstreams.get(id);
    if (upstream) upstream.plan = { ...upstream.plan, tls };
  }

  /** Report, now or later, that it has no connection left here. */
  watch(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream) return;
    upstream.isWatched = true;
    this.#reportIfDrained(id);
  }

  /** Nobody will name it again: forget it with its last connection, and report that. */
  forget(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream) return this.#thread.send({ type: 'upstream-forgotten', upstream: id });
    upstream.isForgotten = true;
    this.#forgetIfDone(id);
  }

  /** A connection of it has ended. */
  left(id: number): void {
    const upstream = this.#thread.upstreams.get(id)!;
    upstream.counters.countClosed();
    this.#lookIfDone(id, upstream);
  }

  /** A connection of it is another's from now on. */
  transferred(id: number): void {
    const upstream = this.#thread.upstreams.get(id)!;
    upstream.counters.countTransferred();
    this.#lookIfDone(id, upstream);
  }

  #lookIfDone(id: number, { isWatched, isForgotten }: Pick<ThreadUpstream, 'isWatched' | 'isForgotten'>): void {
    if (isWatched) this.#reportIfDrained(id);
    if (isForgotten) this.#forgetIfDone(id);
  }

  #reportIfDrained(id: number): void {
    const upstream = this.#thread.upstreams.get(id);
    if (!upstream || upstream.counters.connections > 0) return;
    upstream.isWatched = false;
    this.#thread.send({ type: 'drained', upstream: id });
  }

  #forgetIfDone(id: number): void {
    const { upstreams } = this.#thread;
    const upstream = upstreams.get(id);
    if (upstream?.counters.connections !== 0) return;
    for (const each of [id, ...(upstream.plan.sni?.ways ?? []).map(({ plan }) => plan.id)]) {
      upstreams.delete(each);
      this.#lookups.forget(each);
    }
    this.#thread.send({ type: 'upstream-forgotten', upstream: id });
  }
}
