/**
 * Who may come in at one source: `allow` and `deny`, and how many connections and new connections one address may have
 * (`maxconnPer`, `ratePer`). Asked for each client before a byte of it is read; who is refused is reset and counted.
 * Made in the main thread, and again of its plan in the threads of the native engine, which count in the same memory.
 */
import { innerEndpoint } from '../../endpoint/inner.ts';
import type { BindableServer, ServerEndpoint } from '../../endpoint/model.ts';
import { filesOfNetworks, readNetworks, stampOfFiles } from '../../endpoint/networks.ts';
import type { Networks } from '../../endpoint/networks.ts';
import { printServer } from '../../endpoint/print.ts';
import { errorMessage } from '../../error.ts';
import { keyOfUser, keyOfWords } from './address-key.ts';
import type { AddressKey, AddressWords } from './address-key.ts';
import { AddressTable } from './address-table.ts';
import type { AddressEntry, AddressLimits } from './address-table.ts';
import { includesAddress } from './networks.ts';

/** Why a client was refused: `allow` or `deny`, `maxconnPer`, `ratePer`. */
const REFUSALS_OF_CLIENTS = ['denied', 'address-connections', 'address-rate'] as const;
/** One of {@link REFUSALS_OF_CLIENTS}. */
export type RefusalOfClient = (typeof REFUSALS_OF_CLIENTS)[number];

/** Those who may come, null for all, and those who may not. */
export type AdmittedNetworks = { allow: Networks | null; deny: Networks | null };

/** What a thread needs to ask the same. */
export type AdmissionPlan = {
  limits: AddressLimits;
  /** See address-table.ts; null: nothing is counted. */
  table: SharedArrayBuffer | null;
  counts: SharedArrayBuffer;
  networks: AdmittedNetworks;
};

/** Whom limits for one address concern: an IP address, or of a Unix socket the number of the user who connects (-1 if the system does not tell). */
export type ClientAddress = { words: AddressWords } | { words: null; user: number };

/**
 * That of a source: the given one, or its own; null where anybody may come. Throws EndpointError for a file of
 * networks that cannot be read.
 */
export function admissionOf(endpoint: ServerEndpoint, given?: Admission | null): Admission | null {
  return given === undefined ? openAdmission(endpoint, null) : given;
}

/** That of a source which is described otherwise from now on; what was counted stays. Throws as `admissionOf` does. */
export function openAdmission(endpoint: ServerEndpoint, before: Admission | null): Admission | null {
  const inner = innerEndpoint(endpoint);
  if (inner.type === 'stdio') return null;
  const { allow, deny, maxconnPer, ratePer } = inner;
  if (!allow && !deny && maxconnPer === undefined && ratePer === undefined) return null;
  const limits: AddressLimits = {
    maxConnections: maxconnPer ?? null,
    rate: ratePer === undefined ? null : { intervalMs: ratePer.perMs / ratePer.count, burst: ratePer.burst },
  };
  const isCounting = maxconnPer !== undefined || ratePer !== undefined;
  const files = filesOfNetworks([...(allow ?? []), ...(deny ?? [])]);
  const source = { stamp: () => stampOfFiles(files), read: () => networksOf(inner) };
  return new Admission({
    // Before they are read: what changes meanwhile is seen.
    source: files.length === 0 ? null : { ...source, stamped: source.stamp() },
    limits,
    table: isCounting ? (before?.plan.table ?? new AddressTable().memory) : null,
    counts: before?.plan.counts ?? new SharedArrayBuffer(8 * REFUSALS_OF_CLIENTS.length),
    networks: networksOf(inner),
  });
}

function networksOf(endpoint: BindableServer): AdmittedNetworks {
  const { allow, deny } = endpoint;
  const text = printServer(endpoint);
  return {
    allow: allow ? readNetworks(allow, { parameter: 'allow', text }) : null,
    deny: deny ? readNetworks(deny, { parameter: 'deny', text }) : null,
  };
}

/** Files of networks: what tells one state of them from another, which one was read, and how. */
type NetworksSource = { stamp: () => string; stamped: string; read: () => AdmittedNetworks };

/** Lets clients in or not. */
export class Admission {
  readonly #plan: AdmissionPlan;
  readonly #table: AddressTable | null;
  readonly #counts: BigInt64Array;
  readonly #source: NetworksSource | null;
  /** From this thread's clock to one that all threads have. */
  readonly #clockMs = monotonicMs() - performance.now();
  readonly #listening = new Set<(networks: AdmittedNetworks) => void>();

  /** Why files of networks were not read again, though they are not as they were; null if they were. */
  problem: string | null = null;

  /** `source`: the files of networks; null where there are none. */
  constructor({ source = null, ...plan }: AdmissionPlan & { source?: NetworksSource | null }) {
    this.#plan = plan;
    this.#table = plan.table && new AddressTable(plan.table);
    this.#counts = new BigInt64Array(plan.counts);
    this.#source = source;
  }

  get plan(): AdmissionPlan {
    return this.#plan;
  }

  /** Whether somebody has to say `leave` for each that was let in. */
  get isCounting(): boolean {
    return this.#table !== null;
  }

  /** Let a client in, and count it; or say why not, and count that. */
  admit(address: ClientAddress): RefusalOfClient | null {
    const refusal = this.#refusalOf(address);
    if (refusal !== null) Atomics.add(this.#counts, REFUSALS_OF_CLIENTS.indexOf(refusal), 1n);
    return refusal;
  }

  #refusalOf(address: ClientAddress): RefusalOfClient | null {
    const { networks, limits } = this.#plan;
    if (address.words !== null && !isAdmitted(networks, address.words)) return 'denied';
    switch (this.#table?.enter(keyOf(address), limits, this.#now())) {
      case 'connections':
        return 'address-connections';
      case 'rate':
        return 'address-rate';
      default:
        return null;
    }
  }

  /** A connection came that another process let in. */
  add(address: ClientAddress): void {
    this.#table?.add(keyOf(address), this.#now());
  }

  /** One that was let in is gone. */
  leave(address: ClientAddress): void {
    this.#table?.leave(keyOf(address));
  }

  /** The clients that were refused, by reason, since the source has been served in this process. */
  get refused(): Readonly<Record<RefusalOfClient, number>> {
    const count = (reason: RefusalOfClient) => Number(Atomics.load(this.#counts, REFUSALS_OF_CLIENTS.indexOf(reason)));
    return Object.fromEntries(REFUSALS_OF_CLIENTS.map((reason) => [reason, count(reason)])) as Record<
      RefusalOfClient,
      number
    >;
  }

  /** What another process has to know of addresses, as one row of numbers; `isOwn`: of connections of this process alone. */
  addresses({ isOwn }: { isOwn: boolean }): number[] {
    return this.#table?.entries(this.#now(), { isOwn }).flat() ?? [];
  }

  /** What counts here, and is other processes': rows of numbers as `addresses` gives them. */
  setElsewhere(rows: readonly (readonly number[])[]): void {
    this.#table?.setElsewhere(rows.flatMap(entriesOf), this.#now());
  }

  get hasElsewhere(): boolean {
    return this.#table?.hasElsewhere ?? false;
  }

  /** A thread died: how many connections of which address it had is not known, and those of the others count for nobody. */
  forgetOwn(): void {
    this.#table?.forgetOwn();
  }

  /** Whether its networks are read from files. */
  get hasFiles(): boolean {
    return this.#source !== null;
  }

  /** Whether files of networks are not as they were when they were read, or could not be. */
  get isStale(): boolean {
    return this.#source !== null && this.#source.stamp() !== this.#source.stamped;
  }

  /** Read the files of networks again, for clients to come. Throws EndpointError and keeps what there was. */
  reload(): void {
    if (this.#source === null) return;
    this.#source.stamped = this.#source.stamp();
    try {
      this.setNetworks(this.#source.read());
      this.problem = null;
    } catch (error) {
      this.problem = errorMessage(error);
      throw error;
    }
  }

  setNetworks(networks: AdmittedNetworks): void {
    this.#plan.networks = networks;
    for (const listen of this.#listening) listen(networks);
  }

  /** Hear of networks that were read again. Returns what ends that. */
  onNetworks(listen: (networks: AdmittedNetworks) => void): () => void {
    this.#listening.add(listen);
    return () => this.#listening.delete(listen);
  }

  #now(): number {
    return performance.now() + this.#clockMs;
  }
}

function entriesOf(row: readonly number[]): AddressEntry[] {
  return Array.from({ length: Math.floor(row.length / 4) }, (_, index): AddressEntry => {
    const [high = 0, low = 0, connections = 0, aheadMs = 0] = row.slice(4 * index, 4 * index + 4);
    return [high, low, connections, aheadMs];
  });
}

function keyOf(address: ClientAddress): AddressKey {
  return address.words === null ? keyOfUser(address.user) : keyOfWords(address.words);
}

function isAdmitted({ allow, deny }: AdmittedNetworks, words: AddressWords): boolean {
  if (deny !== null && includesAddress(deny, words)) return false;
  return allow === null || includesAddress(allow, words);
}

function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}
