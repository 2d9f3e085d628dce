import { emptyTally } from '../../src/engine/tally.ts';
import { GraceError } from '../../src/error.ts';
import { EndListeners } from '../../src/engine/end-listeners.ts';
import type { ConnectionEnd, EndListener, Engine, FrontendOptions, Upstream } from '../../src/engine/engine.ts';
import type { ClientEndpoint } from '../../src/endpoint/model.ts';
import type { Listener } from '../../src/net/listener.ts';

/** An upstream whose connections a test opens and ends by hand. */
export class FakeUpstream implements Upstream {
  readonly endpoint: ClientEndpoint;
  connections = 0;
  dialing = 0;
  /** Bytes that every connection has got; each has sent 10. */
  bytesOut = 0;
  #waiters: (() => void)[] = [];

  constructor(endpoint: ClientEndpoint) {
    this.endpoint = endpoint;
  }

  stats() {
    const { connections, dialing, bytesOut } = this;
    return { connections, dialing, bytesIn: connections * 10, bytesOut: connections * bytesOut };
  }

  reload(): void {}

  drained(): Promise<void> {
    return this.connections === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiters.push(resolve));
  }

  end(count = 1): void {
    this.connections -= count;
    if (this.connections > 0) return;
    for (const wake of this.#waiters.splice(0)) wake();
  }

  readonly #endListeners = new EndListeners();

  onEnd(listener: EndListener): () => void {
    return this.#endListeners.add(listener);
  }

  /** A connection of it ends so. */
  tellEnd(end: Partial<ConnectionEnd>): void {
    this.end();
    const whole = {
      peer: '127.0.0.1:1',
      via: null,
      upstream: this,
      stage: 'relay',
      error: null,
      reason: 'finished',
      startedMs: 0,
      connectMs: 0,
      tls: null,
      generation: null,
    } as const;
    this.#endListeners.tell({ ...whole, bytesIn: 0, bytesOut: 0, durationMs: 0, ...end });
  }

  isForgotten = false;

  forget(): void {
    this.isForgotten = true;
  }

  tally() {
    return emptyTally();
  }

  destroy(): number {
    const count = this.connections;
    if (count > 0) this.end(count);
    return count;
  }
}

/** An engine without sockets: a test asks `accept` for a new connection of a listener. */
export class FakeEngine implements Engine {
  readonly name = 'portable';
  readonly upstreams: FakeUpstream[] = [];
  readonly #routes = new Map<Listener, FakeUpstream>();

  openUpstream(endpoint: ClientEndpoint): FakeUpstream {
    const upstream = new FakeUpstream(endpoint);
    this.upstreams.push(upstream);
    return upstream;
  }

  openFrontend({ listener, upstream }: FrontendOptions) {
    this.#routes.set(listener, upstream as FakeUpstream);
    return {
      route: (next: Upstream) => void this.#routes.set(listener, next as FakeUpstream),
      reload: () => [],
      stop: () => {
        this.#routes.delete(listener);
        return Promise.resolve();
      },
    };
  }

  /** A client connects; returns the upstream it got. Throws when nobody accepts. */
  accept(listener: Listener): FakeUpstream {
    const upstream = this.#routes.get(listener);
    if (!upstream) throw new GraceError('nobody accepts');
    upstream.connections++;
    return upstream;
  }

  connections(): Promise<[]> {
    return Promise.resolve([]);
  }

  closeConnections(): Promise<number> {
    return Promise.resolve(0);
  }

  probe(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
