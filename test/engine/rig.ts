import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Socket } from 'node:net';
import type { BindableServer, ClientEndpoint, TcpClient, UnixClient } from '../../src/endpoint/model.ts';
import type { Hold } from '../../src/engine/hold.ts';
import type { ConnectionEnd, Engine, EngineObserver, Frontend, Upstream } from '../../src/engine/engine.ts';
import type { Admission } from '../../src/engine/admission/admission.ts';
import type { Listener } from '../../src/net/listener.ts';
import { openListener } from '../../src/net/open.ts';
import { connectTo } from './peers.ts';
import type { Address, Backend } from './peers.ts';

/** What a test may set of an engine. */
export type EngineOptions = { handshakeTimeoutMs?: number; handshakeLimit?: number; lookMs?: number };
export type OpenEngine = (options?: EngineOptions) => Engine;

export type ForwardOptions = {
  to: ClientEndpoint;
  /** Properties of the source; by default it is plain. */
  from?: Partial<BindableServer>;
  /** What is listened on. */
  on?: 'tcp' | 'tcp6' | 'unix' | Listener;
  observer?: EngineObserver;
  admission?: Admission | null;
  hold?: Hold<Upstream>;
};

export type Forward = {
  readonly listener: Listener;
  readonly frontend: Frontend;
  readonly upstream: Upstream;
  readonly address: Address;
  /** A new client. */
  connect(options?: { localAddress?: string }): Promise<Socket>;
};

/** An engine with what a test forwards on it; disposing of it checks that everything comes to an end. */
export class Rig implements AsyncDisposable {
  readonly engine: Engine;
  /** The connections that ended, in order. */
  readonly ends: ConnectionEnd[] = [];
  readonly dir = mkdtempSync(join(tmpdir(), 'grace-engine-'));
  readonly #forwards: Forward[] = [];
  readonly #upstreams = new Set<Upstream>();
  readonly #clients = new Set<Socket>();
  readonly #waiting: (() => void)[] = [];
  #sockets = 0;

  constructor(openEngine: OpenEngine, options?: EngineOptions) {
    this.engine = openEngine(options);
  }

  path(): string {
    return join(this.dir, `${++this.#sockets}.sock`);
  }

  upstream(endpoint: ClientEndpoint): Upstream {
    const upstream = this.engine.openUpstream(endpoint);
    this.#upstreams.add(upstream);
    return upstream;
  }

  async forward({ to, from = {}, on = 'tcp', observer = {}, admission, hold }: ForwardOptions): Promise<Forward> {
    const listener = typeof on === 'string' ? await this.listen(on) : on;
    const upstream = this.upstream(to);
    const endpoint = { type: 'tcp', port: 0, interface: '', backlog: 50, ...from } as BindableServer;
    const frontend = this.engine.openFrontend({
      listener,
      endpoint,
      upstream,
      admission,
      observer: { connectionEnded: (end) => this.#ended(end), ...observer },
      hold,
    });
    const address = addressOf(listener);
    const forward: Forward = {
      listener,
      frontend,
      upstream,
      address,
      connect: async (options) => {
        const client = await connectTo(address, options);
        this.#clients.add(client);
        client.once('close', () => this.#clients.delete(client));
        return client;
      },
    };
    this.#forwards.push(forward);
    return forward;
  }

  listen(on: 'tcp' | 'tcp6' | 'unix'): Promise<Listener> {
    const spec =
      on === 'unix'
        ? ({ kind: 'unix', path: this.path(), mode: 0o600, backlog: 50 } as const)
        : ({ kind: 'tcp', host: on === 'tcp' ? '127.0.0.1' : '::1', port: 0, backlog: 50 } as const);
    return openListener(spec, { name: 'test' });
  }

  /** Resolves when so many connections have ended. */
  async endedConnections(count: number): Promise<ConnectionEnd[]> {
    while (this.ends.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.ends;
  }

  #ended(end: ConnectionEnd): void {
    this.ends.push(end);
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy();
    for (const { frontend, listener } of this.#forwards) {
      await frontend.stop();
      listener.close();
    }
    for (const upstream of this.#upstreams) {
      upstream.destroy();
      await upstream.drained();
    }
    await this.engine.close();
    rmSync(this.dir, { recursive: true });
  }
}

export function addressOf({ address }: Listener): Address {
  return address.family === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
}

/** A plain endpoint that leads to a backend or an address. */
export function to(target: Backend | Address, extras: Partial<TcpClient> & Partial<UnixClient> = {}): ClientEndpoint {
  const address = 'address' in target ? target.address : target;
  const { type: _, ...rest } = extras;
  return 'path' in address
    ? { type: 'unix', path: address.path, timeout: 5, lockfile: false, ...rest }
    : { type: 'tcp', ...address, timeout: 5, bindAddress: null, ...rest };
}
