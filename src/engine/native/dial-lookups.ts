/** Dials that wait for the addresses of a name, or of a service: the main thread is asked once for all of a destination. */
import type { Dial } from './dial-state.ts';
import type { Resolved } from './messages.ts';
import type { ResolvedAddresses, Thread } from './thread.ts';

/** Those of one thread. */
export class DialLookups {
  readonly #thread: Thread;
  /** By the number of their upstream. */
  readonly #waiting = new Map<number, Dial[]>();

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** A dial needs the addresses of its upstream. */
  enter(dial: Dial): void {
    const { id } = dial.upstream.plan;
    const waiting = this.#waiting.get(id);
    if (waiting) return void waiting.push(dial);
    this.#waiting.set(id, [dial]);
    this.#thread.send({ type: 'resolve', upstream: id });
  }

  /** Whether a dial waits. */
  has(dial: Dial): boolean {
    return this.#waiting.get(dial.upstream.plan.id)?.includes(dial) === true;
  }

  /** The addresses have come, or there are none. Returns them with the dials that waited. */
  take({ upstream: id, addresses: sockaddrs, targets, freshMs, failure }: Resolved): {
    dials: readonly Dial[];
    addresses: ResolvedAddresses;
  } {
    const { kernel, upstreams, now } = this.#thread;
    const dials = this.#waiting.get(id) ?? [];
    this.#waiting.delete(id);
    const addresses = {
      addresses: sockaddrs.map((sockaddr) => kernel.address(sockaddr)),
      targets,
      until: now + freshMs,
    };
    const upstream = upstreams.get(id);
    if (upstream && failure === null) upstream.resolved = addresses;
    return { dials, addresses };
  }

  /** A dial waits no longer, if it did; when it was the last, nobody needs the addresses. */
  leave(dial: Dial): void {
    if (this.#waiting.size === 0) return;
    const { id } = dial.upstream.plan;
    const waiting = this.#waiting.get(id);
    if (!waiting?.includes(dial)) return;
    if (waiting.length > 1)
      return void this.#waiting.set(
        id,
        waiting.filter((each) => each !== dial),
      );
    this.#waiting.delete(id);
    this.#thread.send({ type: 'resolve-no-more', upstream: id });
  }

  /** An upstream has no clients any more, and will have none. */
  forget(upstreamId: number): void {
    this.#waiting.delete(upstreamId);
  }
}
