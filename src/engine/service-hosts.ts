/** The hosts of the targets of a service, and their addresses. */
import { isIP } from 'node:net';
import type { SrvClient } from '../endpoint/model.ts';
import { errorCode, GraceError } from '../error.ts';
import { within } from '../waiting.ts';
import type { HostAddresses, SrvRecord } from './dns/packet.ts';
import type { Names } from './lookup.ts';

/** Which service, and whom to ask for it, as its endpoint says. */
export type ServiceEndpoint = Pick<SrvClient, 'name' | 'server' | 'bindAddress'>;

/** Shortest and longest time that an answer is kept, in milliseconds, whatever it says. */
const KEPT_MS = { min: 1000, max: 86_400_000 };
/** So long a new answer is awaited before the last good one is used in its place; not at all while no server answers. */
export const PATIENCE_MS = 200;
/** So long nobody is asked again for whom there is no answer at all, in milliseconds. */
export const SPARED_MS = 250;
/** Longest that a question goes on, with all servers silent. */
export const ASK_LIMIT_MS = 30_000;

/** Longest that the addresses of one target are awaited. */
const HOST_PATIENCE_MS = 3000;

type Host = {
  addresses: readonly string[];
  /** Until when nobody needs to ask. */
  until: number;
  /** Why it has none, or why it was not told anew. */
  error: unknown;
  pending: Promise<void> | null;
};

/** What is known of the hosts of one service. One question at a time for each, whoever asks. */
export class ServiceHosts {
  readonly #endpoint: ServiceEndpoint;
  readonly #names: Names;
  readonly #hosts: Map<string, Host>;

  /** `known`: what an earlier process knew. */
  constructor({
    endpoint,
    names,
    known,
  }: {
    endpoint: ServiceEndpoint;
    names: Names;
    known: Readonly<Record<string, readonly string[]>>;
  }) {
    this.#endpoint = endpoint;
    this.#names = names;
    this.#hosts = new Map(Object.entries(known).map(([host, addresses]) => [host, hostOf(addresses)]));
  }

  /** Those that have an address. */
  get known(): Record<string, readonly string[]> {
    return Object.fromEntries(
      Array.from(this.#hosts, ([host, { addresses }]) => [host, addresses] as const).filter(
        ([, addresses]) => addresses.length > 0,
      ),
    );
  }

  /** These are its targets from now on, and some of their addresses came with that. */
  told(records: readonly SrvRecord[], known: ReadonlyMap<string, HostAddresses>): void {
    for (const host of this.#hosts.keys())
      if (!records.some((record) => record.host === host)) this.#hosts.delete(host);
    if (this.#endpoint.server === null) return; // as the system sees them, they may be others
    for (const { host } of records) {
      const addresses = known.get(host);
      if (addresses) this.#keep(this.#host(host), addresses);
    }
  }

  #host(name: string): Host {
    const known = this.#hosts.get(name) ?? hostOf([]);
    this.#hosts.set(name, known);
    return known;
  }

  /**
   * The addresses of a target, perhaps none, and then why. `isPatient`: what is new is awaited also where an
   * address is known.
   */
  async addresses(
    name: string,
    { isPatient }: { isPatient: boolean },
  ): Promise<{ addresses: readonly string[]; error: unknown }> {
    const host = this.#host(name);
    if (performance.now() < host.until) return host;
    const asked = (host.pending ??= this.#ask(name, host).finally(() => (host.pending = null)));
    const isKnown = host.addresses.length > 0;
    if (isKnown && !isPatient) return host;
    await within(asked, isKnown ? PATIENCE_MS : HOST_PATIENCE_MS);
    return host;
  }

  /** Never rejects: what it is told is written to the host. */
  async #ask(name: string, host: Host): Promise<void> {
    try {
      this.#keep(host, await this.#lookUp(name));
    } catch (error) {
      host.error = error;
      const isAbsent = errorCode(error) === 'ENOTFOUND';
      if (isAbsent) host.addresses = [];
      host.until = performance.now() + (isAbsent ? KEPT_MS.min : SPARED_MS);
    }
  }

  /** By the servers of the endpoint where it names some, else as any name of a host is looked up. */
  async #lookUp(host: string): Promise<HostAddresses> {
    const { server: servers, bindAddress } = this.#endpoint;
    const signal = AbortSignal.timeout(ASK_LIMIT_MS);
    if (servers === null) return { addresses: await this.#names.resolve(host, { bindAddress, signal }), ttlS: 0 };
    const { askServers } = await import('./dns/ask.ts');
    const families = bindAddress === null ? [4, 6] : [isIP(bindAddress)];
    const asked = await Promise.allSettled(
      families.map((family) => askServers(host, family === 4 ? 'A' : 'AAAA', { servers, signal })),
    );
    const replies = asked.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    const addresses = replies.flatMap((reply) => reply.addresses);
    if (addresses.length === 0) {
      // Servers that know addresses of one family may refuse to speak of the other: that is no trouble while there are some.
      const failed = asked.find((each) => each.status === 'rejected');
      throw failed?.reason ?? new GraceError('it has no address', { code: 'ENOTFOUND' });
    }
    const ttls = replies.filter((reply) => reply.addresses.length > 0).map(({ ttlS }) => ttlS);
    return { addresses, ttlS: Math.min(...ttls) };
  }

  #keep(host: Host, { addresses: all, ttlS }: HostAddresses): void {
    const family = this.#endpoint.bindAddress === null ? 0 : isIP(this.#endpoint.bindAddress);
    const addresses = all.filter((address) => family === 0 || isIP(address) === family);
    if (addresses.length === 0) return;
    // The system's answers are kept elsewhere.
    const until = performance.now() + (this.#endpoint.server === null ? 0 : keptMs(ttlS));
    Object.assign(host, { addresses, until, error: null });
  }
}

function hostOf(addresses: readonly string[]): Host {
  return { addresses, until: 0, error: null, pending: null };
}

/** How long an answer is kept that says it is good for so many seconds, in milliseconds. */
export function keptMs(ttlS: number): number {
  return Math.min(KEPT_MS.max, Math.max(KEPT_MS.min, ttlS * 1000));
}
