/** The listeners of the daemon: opened for rules, or given to its first generation by init. */
import type { BindableServer, ServerEndpoint, SystemdServer } from '../endpoint/model.ts';
import { GraceError } from '../error.ts';
import type { SourceSpec } from '../forward/rule.ts';
import { LISTEN_FDS_START } from '../net/inherit.ts';
import type { Environment } from '../net/inherit.ts';
import { adoptFd } from '../net/listener.ts';
import type { Listener } from '../net/listener.ts';
import { Net } from '../net/net.ts';
import type { ListenSpec } from '../net/open.ts';
import { removeSocketPath } from '../net/unix-path.ts';
import type { Handover } from './handover.ts';
import { listenerName } from './listener-name.ts';

/** A socket that init or another parent gave to the first generation, under the number it had there. */
export type GivenSocket = {
  listener: Listener;
  fd: number;
  /** Its place among systemd's sockets, from 0; null when it came as a bare descriptor. */
  index: number | null;
  name: string;
};

/** Name under which the lock of the state dir is passed to a successor. */
export const lockName = 'grace-lock';

export class Listeners {
  readonly net: Net;
  /** Every socket that was given, whether a rule uses it or not; they are handed on as long as the daemon lives. */
  readonly given: GivenSocket[];
  readonly #inherited: readonly Listener[];
  /** Port that a source with `port 0` had before, by the source's key. */
  readonly #chosenPorts = new Map<string, number>();

  constructor({ env, handover }: { env: Environment; handover: Handover | null }) {
    this.net = new Net({ env });
    const listeners = takeAll(this.net);
    this.#inherited = handover ? listeners : [];
    this.given = handover
      ? handover.sockets.map(({ listener, fd, index, name }) => ({ listener: this.#at(listener), fd, index, name }))
      : listeners.map((listener) => ({ listener, fd: listener.fd, index: listener.fd - LISTEN_FDS_START, name: listener.name }));
  }

  /** The listener of a rule that was handed over. */
  inherited(src: SourceSpec, index: number): Listener {
    const listener = this.#at(index);
    this.#remember(src, listener);
    return listener;
  }

  /** Descriptor of the lock that was handed over. */
  get lockFd(): number {
    const lock = this.net.extras.find(({ name }) => name === lockName);
    if (!lock) throw new GraceError('the daemon that is to be replaced did not pass its lock');
    return lock.fd;
  }

  #at(index: number): Listener {
    const listener = this.#inherited[index];
    if (!listener) throw new GraceError(`the daemon that is to be replaced did not pass listener ${index}`);
    return listener;
  }

  /** Listen as a source says. Throws GraceError when that cannot be. */
  async open(src: SourceSpec): Promise<Listener> {
    const endpoint = plain(src.endpoint);
    if (endpoint.type === 'systemd') return this.#findGiven(endpoint);
    if (endpoint.type === 'fd') return this.#giveFd(endpoint.fd);
    const listener = await this.#openFor(src, listenSpec(endpoint));
    this.#remember(src, listener);
    return listener;
  }

  /** With `port 0`, the port of last time if it is free. */
  async #openFor(src: SourceSpec, spec: ListenSpec): Promise<Listener> {
    const name = listenerName(src);
    const preferred = this.#chosenPorts.get(src.key);
    if (preferred !== undefined && spec.kind === 'tcp' && spec.port === 0) {
      try {
        return await this.net.listen({ ...spec, port: preferred }, { name });
      } catch (error) {
        if (!(error instanceof GraceError)) throw error; // taken by somebody else: any port will do
      }
    }
    return this.net.listen(spec, { name });
  }

  /** Nobody listens there any more. A socket that was given stays, for a later rule. */
  close(_src: SourceSpec, listener: Listener): void {
    if (this.given.some((socket) => socket.listener === listener)) return;
    removeSocketPath(listener);
    listener.close();
  }

  /** The port that the system chose for a source with `port 0`; undefined for any other. */
  chosenPort({ key, endpoint }: SourceSpec): number | undefined {
    return isPortChosen(endpoint) ? this.#chosenPorts.get(key) : undefined;
  }

  /** Use this port for a source with `port 0`, if it is free. */
  prefer({ key }: SourceSpec, port: number | undefined): void {
    if (port !== undefined) this.#chosenPorts.set(key, port);
  }

  #remember({ key, endpoint }: SourceSpec, { address }: Listener): void {
    if (isPortChosen(endpoint) && address.family !== 'unix') this.#chosenPorts.set(key, address.port);
  }

  #findGiven({ domain, index, name }: SystemdServer): Listener {
    const found = this.given.find((socket) => (index === null ? socket.name === name : socket.index === index));
    const wanted = index === null ? `named "${name}"` : `with index ${index}`;
    if (!found) {
      throw new GraceError(`no socket ${wanted} was passed to the daemon`, { hint: 'systemd sockets are passed to: grace daemon, run by a service with a socket unit' });
    }
    const { family } = found.listener.address;
    if (domain && domain !== family.toUpperCase()) throw new GraceError(`the socket ${wanted} is of the family ${family.toUpperCase()}, not ${domain}`);
    return found.listener;
  }

  #giveFd(fd: number): Listener {
    const known = this.given.find((socket) => socket.fd === fd);
    if (known) return known.listener;
    const listener = adoptFd(fd, { name: `fd-${fd}` });
    this.given.push({ listener, fd, index: null, name: listener.name });
    return listener;
  }
}

function takeAll(net: Net): Listener[] {
  const all: Listener[] = [];
  for (let next = net.takeInherited(() => true); next; next = net.takeInherited(() => true)) all.push(next);
  return all;
}

function plain(endpoint: ServerEndpoint): BindableServer {
  if (endpoint.type === 'haproxy') return endpoint.endpoint;
  if (endpoint.type === 'stdio') throw new GraceError('stdio: cannot be the source of a rule');
  return endpoint;
}

function isPortChosen(endpoint: ServerEndpoint): boolean {
  const inner = endpoint.type === 'haproxy' ? endpoint.endpoint : endpoint;
  return 'port' in inner && inner.port === 0;
}

function listenSpec(endpoint: Exclude<BindableServer, { type: 'systemd' | 'fd' }>): ListenSpec {
  if (endpoint.type === 'unix') {
    const { address: path, mode, backlog, lockfile } = endpoint;
    return { kind: 'unix', path, mode: Number.parseInt(mode, 8), backlog, lockfile };
  }
  const { type, interface: host, port, backlog } = endpoint;
  if (type === 'tcp6') return { kind: 'tcp', host, port, backlog, family: 'inet6' };
  return { kind: 'tcp', host, port, backlog, ...(type === 'tls' || host.includes(':') ? {} : { family: 'inet' as const }) };
}
