/** Where a service is, as DNS says: answers are kept for their time, and the last good one while no server answers. */
import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { canonicalHost, wholeName } from '../endpoint/address.ts';
import { errorCode, errorMessage, GraceError } from '../error.ts';
import { nextPause, unlessAborted, within } from '../waiting.ts';
import type { TargetPlan } from './dial-order.ts';
import type { SrvRecord } from './dns/packet.ts';
import { systemServers } from './dns/system-servers.ts';
import type { Names } from './lookup.ts';
import { NAME_FRESH_MS } from './policy.ts';
import { ASK_LIMIT_MS, keptMs, PATIENCE_MS, ServiceHosts, SPARED_MS } from './service-hosts.ts';
import type { ServiceEndpoint } from './service-hosts.ts';
import { ServiceMemory } from './service-memory.ts';
import type { RememberedService } from './service-memory.ts';

/** A target of a service, and its addresses, of which there is one at least. */
export type Target = {
  readonly priority: number;
  readonly weight: number;
  readonly port: number;
  readonly addresses: readonly string[];
};

/** Where a service is, and for how many milliseconds that need not be asked again. */
export type Whereabouts = { readonly targets: readonly Target[]; readonly freshMs: number };

/** The addresses of all targets, one after the other. */
export function addressesOf(targets: readonly Target[]): { host: string; port: number }[] {
  return targets.flatMap(({ addresses, port }) => addresses.map((host) => ({ host, port })));
}

/** What is to be known of them to draw an order of those addresses. */
export function plansOf(targets: readonly Target[]): TargetPlan[] {
  return targets.map(({ priority, weight, addresses }) => ({ priority, weight, addresses: addresses.length }));
}

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

/** Longest that it is believed that there is no such name. */
const MAX_ABSENT_MS = 60_000;
/** So long the last good answer is passed on while no server answers, in milliseconds. */
const STALE_MS = 250;
/** First and longest pause between two questions while no server answers. */
const RECHECK_MS = { first: 500, max: 5000 };

type Answer = { records: readonly SrvRecord[]; until: number };

type Service = {
  readonly key: string;
  readonly endpoint: ServiceEndpoint;
  good: Answer | null;
  /** What the last who asked was told, for those who ask at once. */
  fresh: { targets: readonly Target[]; until: number } | null;
  /** There is decidedly none, which is no failure. */
  absent: { error: GraceError; until: number } | null;
  /** Addresses of its hosts when they were last known. */
  readonly hosts: ServiceHosts;
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
  return JSON.stringify([wholeName(name), family, server ?? 'system']);
}

/** The services that were asked for. One question at a time for each, whoever asks. */
export class Services {
  readonly #names: Names;
  readonly #services = new Map<string, Service>();
  readonly #memory: ServiceMemory;
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
    this.#memory = new ServiceMemory({ remembered, changed, isUsed });
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
    const { fresh } = service;
    const now = performance.now();
    if (fresh !== null && now < fresh.until) return { targets: fresh.targets, freshMs: fresh.until - now };
    const { records, until } = await unlessAborted(this.#answer(service), signal);
    const isPatient = !service.isRechecked && !service.isLate;
    const found = await unlessAborted(
      Promise.all(
        records.map(async (record) => ({ ...record, ...(await service.hosts.addresses(record.host, { isPatient })) })),
      ),
      signal,
    );
    if (service.good !== null)
      this.#memory.remember({ key: service.key, records: service.good.records, addresses: service.hosts.known });
    const targets = found.filter(({ addresses }) => addresses.length > 0);
    if (targets.length === 0) {
      const [first] = found;
      const why = first?.error ?? new GraceError('no answer in time', { code: 'EAI_AGAIN' });
      throw new GraceError(`none of its targets has an address: ${first?.host}: ${errorMessage(why)}`, {
        code: errorCode(why),
      });
    }
    const leftMs = until - performance.now();
    // One that is used past its time need not be asked for by every connection.
    const freshMs = leftMs > 0 ? Math.min(NAME_FRESH_MS, leftMs) : STALE_MS;
    service.fresh = { targets, until: performance.now() + freshMs };
    return { targets, freshMs };
  }

  /** Where the services are that somebody connects to, as far as has been asked: their targets, those that are tried first at the front. */
  get known(): { name: string; targets: (SrvRecord & { addresses: readonly string[] })[] }[] {
    return [...this.#services.values()]
      .filter(({ key }) => this.#isUsed(key))
      .map(({ endpoint: { name }, good, hosts: { known } }) => ({
        name,
        targets: (good?.records ?? [])
          .map((record) => ({ ...record, addresses: known[record.host] ?? [] }))
          .sort((a, b) => a.priority - b.priority || b.weight - a.weight),
      }));
  }

  #service(endpoint: ServiceEndpoint): Service {
    const key = serviceKey(endpoint);
    const known = this.#services.get(key);
    if (known) return known;
    for (const other of this.#services.values())
      if (other.pending === null && !this.#isUsed(other.key)) this.#services.delete(other.key);
    const before = this.#memory.get(key);
    const service: Service = {
      key,
      endpoint,
      good: before ? { records: before.records, until: 0 } : null,
      fresh: null,
      absent: null,
      hosts: new ServiceHosts({ endpoint, names: this.#names, known: before?.addresses ?? {} }),
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
      // Who leads to no service has none of it in memory.
      const { askServers } = await import('./dns/ask.ts');
      const reply = await askServers(canonicalHost(name), 'SRV', {
        servers: server ?? systemServers(),
        signal: AbortSignal.timeout(ASK_LIMIT_MS),
      });
      this.#answered(service);
      service.fresh = null;
      const nowhere = whyNowhere(reply);
      if (nowhere !== null) {
        service.absent = { error: nowhere, until: performance.now() + Math.min(MAX_ABSENT_MS, keptMs(reply.ttlS)) };
        service.good = null;
        throw nowhere;
      }
      service.absent = null;
      const records = reply.services.filter(({ host }) => host !== '');
      service.hosts.told(records, reply.known);
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
