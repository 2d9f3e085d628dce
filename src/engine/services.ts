/** Where a service is, as DNS says: answers are kept for their time, and the last good one while no server answers. */
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { canonicalHost } from '../endpoint/address.ts';
import type { SrvClient } from '../endpoint/model.ts';
import { errorCode, errorMessage, GraceError } from '../error.ts';
import { nextPause, unlessAborted, within } from '../waiting.ts';
import { askServers } from './dns/ask.ts';
import type { HostAddresses, SrvRecord } from './dns/packet.ts';
import { systemServers } from './dns/system-servers.ts';
import type { Names } from './lookup.ts';
import { NAME_FRESH_MS } from './policy.ts';

/** A target of a service, and its addresses, of which there is one at least. */
export type Target = {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly addresses: readonly string[];
};

/** Where a service is, and for how many milliseconds that need not be asked again. */
export type Whereabouts = { readonly targets: readonly Target[]; readonly freshMs: number };

/** Which service, and whom to ask for it, as its endpoint says. */
export type ServiceEndpoint = Pick<SrvClient, 'name' | 'server' | 'bindAddress'>;

/** A good answer, to be written down for a process that finds no name server. */
export type RememberedService = {
  readonly key: string;
  readonly records: readonly SrvRecord[];
  readonly addresses: Readonly<Record<string, readonly string[]>>;
};

/** What the answers of an earlier process were, and who hears of changes. */
export type ServicesOptions = {
  names: Names;
  remembered?: readonly RememberedService[];
  /** Good answers are others than before. */
  changed?: (services: readonly RememberedService[]) => void;
  /** No server answers for a name, and its last good answer is used, for this reason; null: that is over, or nobody connects to it any more. */
  troubled?: (name: string, why: string | null) => void;
  /** A server answers for it again. */
  recovered?: (name: string) => void;
  /** Whether anybody still connects by this key. Default: always. */
  isUsed?: (key: string) => boolean;
};

/** Shortest and longest time that an answer is kept, in milliseconds, whatever it says. */
const KEPT_MS = { min: 1000, max: 86_400_000 };
/** Longest that it is believed that there is no such name. */
const MAX_ABSENT_MS = 60_000;
/** So long a new answer is awaited before the last good one is used in its place; not at all while no server answers. */
const PATIENCE_MS = 200;
/** So long nobody is asked again for whom there is no answer at all, in milliseconds. */
const SPARED_MS = 250;
/** So long the last good answer is passed on while no server answers, in milliseconds. */
const STALE_MS = 250;
/** First and longest pause between two questions while no server answers. */
const RECHECK_MS = { first: 500, max: 5000 };
/** So many are written down before those are left out that nobody connects to any more. */
const MAX_REMEMBERED = 100;
/** Longest that the addresses of one target are awaited. */
const HOST_PATIENCE_MS = 3000;
/** Longest that a question goes on, with all servers silent. */
const ASK_LIMIT_MS = 30_000;

const NO_ANSWER = new GraceError('no answer in time', { code: 'EAI_AGAIN' });

type Answer = { records: readonly SrvRecord[]; until: number };

type Host = {
  addresses: readonly string[];
  /** Until when nobody needs to ask. */
  until: number;
  /** Why it has none, or why it was not told anew. */
  error: unknown;
  pending: Promise<void> | null;
};

type Service = {
  readonly key: string;
  readonly endpoint: ServiceEndpoint;
  good: Answer | null;
  /** There is decidedly none, which is no failure. */
  absent: { error: GraceError; until: number } | null;
  /** Addresses of its hosts when they were last known. */
  readonly hosts: Map<string, Host>;
  pending: Promise<Answer> | null;
  /** Why no server answered when they were last asked, and until when they are spared. */
  failure: { error: unknown; until: number } | null;
  /** The answer that is pending has not come in good time. */
  isLate: boolean;
  /** Asked again before a connection wants to know. */
  isRechecked: boolean;
};

/** What two endpoints have in common that ask the same of the same servers. */
export function serviceKey({ name, server, bindAddress }: ServiceEndpoint): string {
  const family = bindAddress === null ? 0 : isIP(bindAddress);
  return JSON.stringify([canonicalHost(name).replace(/\.$/, ''), family, server ?? 'system']);
}

/** The services that were asked for. One question at a time for each, whoever asks. */
export class Services {
  readonly #names: Names;
  readonly #services = new Map<string, Service>();
  readonly #remembered: Map<string, RememberedService>;
  readonly #changed: NonNullable<ServicesOptions['changed']>;
  readonly #troubled: NonNullable<ServicesOptions['troubled']>;
  readonly #recovered: NonNullable<ServicesOptions['recovered']>;
  readonly #isUsed: NonNullable<ServicesOptions['isUsed']>;

  constructor({
    names,
    remembered = [],
    changed = () => {},
    troubled = () => {},
    recovered = () => {},
    isUsed = () => true,
  }: ServicesOptions) {
    this.#names = names;
    this.#remembered = new Map(remembered.map((each) => [each.key, each]));
    this.#changed = changed;
    this.#troubled = troubled;
    this.#recovered = recovered;
    this.#isUsed = isUsed;
  }

  /**
   * Where a service is. Rejects with GraceError when it is nowhere (code ENOTFOUND) or when no server
   * says where (EAI_AGAIN), or with the signal's reason.
   */
  async resolve(endpoint: ServiceEndpoint, signal: AbortSignal): Promise<Whereabouts> {
    const service = this.#service(endpoint);
    const { records, until } = await unlessAborted(this.#answer(service), signal);
    const found = await unlessAborted(
      Promise.all(records.map(async (record) => ({ ...record, ...(await this.#addresses(service, record.host)) }))),
      signal,
    );
    this.#remember(service);
    const targets = found.filter(({ addresses }) => addresses.length > 0);
    if (targets.length === 0) {
      const [first] = found;
      throw new GraceError(
        `none of its targets has an address: ${first?.host}: ${errorMessage(first?.error ?? NO_ANSWER)}`,
        {
          code: errorCode(first?.error ?? NO_ANSWER),
        },
      );
    }
    const leftMs = until - performance.now();
    // One that is used past its time need not be asked for by every connection.
    const freshMs = leftMs > 0 ? Math.min(NAME_FRESH_MS, leftMs) : STALE_MS;
    return { targets, freshMs };
  }

  #service(endpoint: ServiceEndpoint): Service {
    const key = serviceKey(endpoint);
    const known = this.#services.get(key);
    if (known) return known;
    for (const other of this.#services.values())
      if (other.pending === null && !this.#isUsed(other.key)) this.#services.delete(other.key);
    const before = this.#remembered.get(key);
    const service: Service = {
      key,
      endpoint,
      good: before ? { records: before.records, until: 0 } : null,
      absent: null,
      hosts: new Map(Object.entries(before?.addresses ?? {}).map(([host, addresses]) => [host, hostOf(addresses)])),
      pending: null,
      failure: null,
      isLate: false,
      isRechecked: false,
    };
    this.#services.set(key, service);
    return service;
  }

  #answer(service: Service): Promise<Answer> {
    const { good, absent } = service;
    const now = performance.now();
    if (absent !== null && now < absent.until) return Promise.reject(absent.error);
    if (good === null) {
      if (service.failure !== null && now < service.failure.until) return Promise.reject(service.failure.error);
      return this.#ask(service);
    }
    // While no server answers, a timer asks.
    if (now < good.until || service.isRechecked || service.isLate) return Promise.resolve(good);
    const onLate = () => {
      service.isLate = service.pending !== null;
      return good;
    };
    return within(this.#ask(service), PATIENCE_MS, { onLate });
  }

  #ask(service: Service): Promise<Answer> {
    if (service.pending !== null) return service.pending;
    const pending = this.#askServers(service).finally(() => {
      service.pending = null;
      service.isLate = false;
    });
    pending.catch(() => {}); // nobody may be left who waits
    return (service.pending = pending);
  }

  async #askServers(service: Service): Promise<Answer> {
    const { name, server } = service.endpoint;
    try {
      const reply = await askServers(canonicalHost(name), 'SRV', {
        servers: server ?? systemServers(),
        signal: AbortSignal.timeout(ASK_LIMIT_MS),
      });
      this.#answered(service);
      const nowhere = whyNowhere(reply);
      if (nowhere !== null) {
        const keptMs = Math.min(MAX_ABSENT_MS, Math.max(KEPT_MS.min, reply.ttlS * 1000));
        service.absent = { error: nowhere, until: performance.now() + keptMs };
        service.good = null;
        throw nowhere;
      }
      service.absent = null;
      const records = reply.services.filter(({ host }) => host !== '');
      for (const host of service.hosts.keys())
        if (!records.some((record) => record.host === host)) service.hosts.delete(host);
      if (server !== null)
        for (const { host } of records) {
          const known = reply.known.get(host);
          if (known) this.#keepHost(service, this.#host(service, host), known);
        }
      return (service.good = { records, until: performance.now() + keptMs(reply.ttlS) });
    } catch (error) {
      if (service.absent?.error === error) throw error;
      this.#failed(service, error);
      if (service.good === null) throw error;
      return service.good;
    }
  }

  /** Goes on as before, says so once, and asks again until one answers. */
  #failed(service: Service, error: unknown): void {
    service.failure = { error, until: performance.now() + SPARED_MS };
    if (service.good === null) return;
    this.#troubled(service.endpoint.name, errorMessage(error));
    if (!service.isRechecked) void this.#recheck(service);
  }

  async #recheck(service: Service): Promise<void> {
    service.isRechecked = true;
    for (let pauseMs = RECHECK_MS.first; service.failure !== null; pauseMs = nextPause(pauseMs, RECHECK_MS)) {
      await delay(pauseMs, undefined, { ref: false });
      if (!this.#isUsed(service.key)) {
        service.failure = null;
        this.#troubled(service.endpoint.name, null);
        break;
      }
      await this.#ask(service).catch(() => {}); // told already
    }
    service.isRechecked = false;
  }

  #answered(service: Service): void {
    if (service.failure === null) return;
    service.failure = null;
    if (!service.isRechecked) return;
    this.#troubled(service.endpoint.name, null);
    this.#recovered(service.endpoint.name);
  }

  #host({ hosts }: Service, host: string): Host {
    const known = hosts.get(host) ?? hostOf([]);
    hosts.set(host, known);
    return known;
  }

  async #addresses(service: Service, name: string): Promise<Pick<Host, 'addresses' | 'error'>> {
    const host = this.#host(service, name);
    if (performance.now() < host.until) return host;
    const asked = (host.pending ??= this.#askHost(service, name, host).finally(() => (host.pending = null)));
    const isKnown = host.addresses.length > 0;
    if (isKnown && (service.isRechecked || service.isLate)) return host;
    await within(asked, isKnown ? PATIENCE_MS : HOST_PATIENCE_MS);
    return host;
  }

  /** Never rejects: what it is told is written to the host. */
  async #askHost(service: Service, name: string, host: Host): Promise<void> {
    try {
      this.#keepHost(service, host, await this.#lookUp(service, name));
    } catch (error) {
      host.error = error;
      const isAbsent = errorCode(error) === 'ENOTFOUND';
      if (isAbsent) host.addresses = [];
      host.until = performance.now() + (isAbsent ? KEPT_MS.min : SPARED_MS);
    }
  }

  /** By the servers of the endpoint where it names some, else as any name of a host is looked up. */
  async #lookUp({ endpoint: { server: servers, bindAddress } }: Service, host: string): Promise<HostAddresses> {
    const signal = AbortSignal.timeout(ASK_LIMIT_MS);
    if (servers === null) return { addresses: await this.#names.resolve(host, { bindAddress, signal }), ttlS: 0 };
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

  #keepHost({ endpoint }: Service, host: Host, { addresses: all, ttlS }: HostAddresses): void {
    const family = endpoint.bindAddress === null ? 0 : isIP(endpoint.bindAddress);
    const addresses = all.filter((address) => family === 0 || isIP(address) === family);
    if (addresses.length === 0) return;
    // The system's answers are kept elsewhere.
    const until = performance.now() + (endpoint.server === null ? 0 : keptMs(ttlS));
    Object.assign(host, { addresses, until, error: null });
  }

  /** Told when a process that begins now would not go on with the same. */
  #remember(service: Service): void {
    const { key, good, hosts } = service;
    if (good === null) return;
    const addresses = Object.fromEntries(
      good.records.flatMap(({ host }) => {
        const known = hosts.get(host);
        return known && known.addresses.length > 0 ? [[host, known.addresses]] : [];
      }),
    );
    const before = this.#remembered.get(key);
    const now = { key, records: good.records, addresses };
    if (before && sameMeaning(before) === sameMeaning(now)) return;
    this.#remembered.set(key, now);
    if (this.#remembered.size > MAX_REMEMBERED)
      for (const other of this.#remembered.keys())
        if (other !== key && !this.#isUsed(other)) this.#remembered.delete(other);
    this.#changed([...this.#remembered.values()]);
  }
}

function hostOf(addresses: readonly string[]): Host {
  return { addresses, until: 0, error: null, pending: null };
}

function keptMs(ttlS: number): number {
  return Math.min(KEPT_MS.max, Math.max(KEPT_MS.min, ttlS * 1000));
}

/** Why an answer leads nowhere; null: it leads somewhere. */
function whyNowhere({ services, hasName }: { services: readonly SrvRecord[]; hasName: boolean }): GraceError | null {
  if (!hasName) return new GraceError('there is no such name in DNS (ENOTFOUND)', { code: 'ENOTFOUND' });
  if (services.length === 0) return new GraceError('the name has no SRV record (ENOTFOUND)', { code: 'ENOTFOUND' });
  // RFC 2782: the service is decidedly not available at this domain.
  if (services.every(({ host }) => host === ''))
    return new GraceError('the service is not offered there: its SRV record names no host', { code: 'ENOTFOUND' });
  return null;
}

/** Servers tell the same in another order each time. */
function sameMeaning({ records, addresses }: RememberedService): string {
  const hosts = Object.entries(addresses).map(([host, each]) => `${host} ${each.toSorted().join(' ')}`);
  return JSON.stringify([records.map((record) => JSON.stringify(record)).sort(), hosts.sort()]);
}
