/** The last good answers about services, for a process that finds no name server. */
import type { SrvRecord } from './dns/packet.ts';

/** A good answer, to be written down. */
export type RememberedService = {
  /** See `serviceKey` of services.ts. */
  readonly key: string;
  readonly records: readonly SrvRecord[];
  /** Addresses by the host of a record. */
  readonly addresses: Readonly<Record<string, readonly string[]>>;
};

/** What an earlier process knew, and who hears of changes. */
export type ServiceMemoryOptions = {
  remembered: readonly RememberedService[];
  /** Good answers are others than before. */
  changed: (services: readonly RememberedService[]) => void;
  /** Whether anybody still connects by this key. */
  isUsed: (key: string) => boolean;
};

/** So many are remembered before those are left out that nobody connects to any more. */
const MAX_REMEMBERED = 100;

/** The good answers of this process and of those before it, by the key of the service. */
export class ServiceMemory {
  readonly #services: Map<string, RememberedService>;
  readonly #changed: ServiceMemoryOptions['changed'];
  readonly #isUsed: ServiceMemoryOptions['isUsed'];

  constructor({ remembered, changed, isUsed }: ServiceMemoryOptions) {
    this.#services = new Map(remembered.map((each) => [each.key, each]));
    this.#changed = changed;
    this.#isUsed = isUsed;
  }

  get(key: string): RememberedService | undefined {
    return this.#services.get(key);
  }

  /** Tells of it when a process that begins now would not go on with the same. */
  remember(now: RememberedService): void {
    const before = this.#services.get(now.key);
    if (before && sameMeaning(before) === sameMeaning(now)) return;
    this.#services.set(now.key, now);
    if (this.#services.size > MAX_REMEMBERED)
      for (const other of this.#services.keys())
        if (other !== now.key && !this.#isUsed(other)) this.#services.delete(other);
    this.#changed([...this.#services.values()]);
  }
}

/** Servers tell the same in another order each time. */
function sameMeaning({ records, addresses }: RememberedService): string {
  const hosts = Object.entries(addresses).map(([host, each]) => `${host} ${each.toSorted().join(' ')}`);
  return JSON.stringify([records.map((record) => JSON.stringify(record)).sort(), hosts.sort()]);
}
