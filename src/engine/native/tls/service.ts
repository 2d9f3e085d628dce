/** Handshakes of an engine, as its main thread sees them: one thread for all, and what it makes them with. */
import { writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { EndpointError } from '../../../endpoint/error.ts';
import type { SslClient, SslServer, TlsClient, TlsServer } from '../../../endpoint/model.ts';
import { serverNameOf } from '../../../endpoint/server-name.ts';
import type { ServerParts } from '../../../endpoint/server-parts.ts';
import { errorMessage, GraceError } from '../../../error.ts';
import type { ClientFiles } from '../../client-files.ts';
import { HANDSHAKE_TIMEOUT_MS, MAX_HANDSHAKES } from '../../policy.ts';
import type { TicketRing } from '../../ticket-ring.ts';
import { openFunctions } from '../../../sys/library.ts';
import { fdLimit } from '../../../sys/process.ts';
import { compileSooner } from '../../../sys/tiering.ts';
import type { TlsPlan, UpstreamTls } from '../thread-plans.ts';
import { pinnedCopy } from '../pinned.ts';
import { Threads } from '../threads.ts';
import type { ThreadsOptions } from '../threads.ts';
import { openContextSet } from './context-set.ts';
import type { ContextSet } from './context-set.ts';
import { KeyTable } from './key-table.ts';
import { openCrypto } from './library.ts';
import type { Crypto } from './library.ts';
import { openClientContext } from './client-context.ts';
import { findClientFlaw } from './client-self-test.ts';
import { openSessionPlan, openSessionTotal } from './session-pool.ts';
import { openServerContext } from './server-context.ts';
import { findAlpnFlaw, findFlaw } from './self-test.ts';
import { openSsl } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';
import { TrustStores } from './trust-stores.ts';
import type { TrustStore } from './trust-stores.ts';

const EPOLL_CLOEXEC = 0o2000000n;
const MADV_DONTDUMP = 16n;
const PAGE = 4096n;
/** How often it is looked whether there is a new key of session tickets, in milliseconds: they are hours apart. */
const TICKET_LOOK_MS = 300_000;
/** So much longer than its dial a handshake with a destination lasts at most. */
const DESTINATION_GRACE_MS = 5000;
const systemTable = {
  epoll_create1: { args: ['word'], result: 'i32' },
  madvise: { args: ['word', 'word', 'word'], result: 'i32' },
} as const;

/** Limits of handshakes, for which policy.ts has the defaults. */
export type HandshakeLimits = { handshakeTimeoutMs?: number | undefined; handshakeLimit?: number | undefined };

/** The thread of handshakes. */
export class HandshakeService {
  readonly #limit: number;
  readonly #timeoutMs: number;
  readonly #tickets: TicketRing;
  readonly #ticketLook: NodeJS.Timeout;
  readonly #endTickets: () => void;
  /** Whether what it makes keys of has been seen to work. */
  #isTested = false;
  /** The same of protocols of ALPN. */
  #hasAlpn = false;
  /** The same of handshakes with destinations: undefined until tried, and null when nothing is wrong. */
  #clientFlaw: string | null | undefined = undefined;
  readonly #onFlaw: (flaw: string) => void;
  readonly #ssl: Ssl;
  readonly #crypto: Crypto;
  readonly #stores: TrustStores;
  /** By whom certificates are verified with an SSL_CTX, by its address. */
  readonly #trusts = new Map<number, TrustStore>();
  /** Keys of the legs of all threads. */
  readonly keys: KeyTable;
  readonly #epollFd: number;
  readonly #sessionTotal: SharedArrayBuffer = openSessionTotal();
  readonly #threads: Threads;

  /** Start it. Throws GraceError where the runtime has no OpenSSL that can be called. */
  constructor({
    threads,
    handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS,
    handshakeLimit = MAX_HANDSHAKES,
    tickets,
    onFlaw,
    ...options
  }: {
    threads: Threads;
    /** What seals session tickets where an endpoint has no keys of its own. */
    tickets: TicketRing;
    /** It must not be used, and why. */
    onFlaw: (flaw: string) => void;
  } & HandshakeLimits &
    Omit<ThreadsOptions, 'count' | 'onReport' | 'handshakes'>) {
    this.#limit = handshakeLimit;
    this.#timeoutMs = handshakeTimeoutMs;
    this.#tickets = tickets;
    this.#onFlaw = onFlaw;
    this.#ssl = openSsl();
    this.#crypto = openCrypto();
    this.#stores = new TrustStores({ ssl: this.#ssl, crypto: this.#crypto });
    this.keys = KeyTable.open(Math.min(Number(fdLimit().hard), threads.table.capacity));
    const { functions, memory } = openFunctions(systemTable);
    // Keys are not to be found in a core file. The first page is of descriptors that no leg has.
    const start = (memory.addressOf(this.keys.bytes) + PAGE - 1n) & -PAGE;
    functions.madvise(start, BigInt(this.keys.bytes.length) - PAGE, MADV_DONTDUMP);
    keepMemoryFromCores();
    this.#epollFd = functions.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epollFd < 0) throw new GraceError('cannot start the thread of TLS handshakes: no descriptor is left');
    compileSooner();
    this.#threads = new Threads({
      ...options,
      count: 1,
      table: threads.table,
      handshakes: {
        epollFd: this.#epollFd,
        keys: this.keys.memory,
        limit: handshakeLimit,
      },
      onReport: () => undefined,
    });
    this.#sealTickets();
    this.#endTickets = tickets.onChange(() => this.#sealTickets());
    this.#ticketLook = setInterval(() => void tickets.keys, TICKET_LOOK_MS).unref();
  }

  #sealTickets(): void {
    this.#threads.sendToAll({ type: 'seal-tickets', keys: this.#tickets.keys.map(pinnedCopy) });
  }

  /**
   * Prepare handshakes to come with what the files of an endpoint say.
   *
   * @returns the address of an SSL_CTX, for `free`
   * @throws GraceError when OpenSSL does not take it
   */
  openContext(endpoint: SslServer | TlsServer, parts: ServerParts): bigint {
    const { ticketKeys } = parts;
    const library = { ssl: this.#ssl, crypto: this.#crypto };
    let set: ContextSet;
    try {
      set = openContextSet(library, this.#stores, endpoint, parts);
    } catch (error) {
      throw error instanceof EndpointError ? error : new GraceError(errorMessage(error), { cause: error });
    }
    try {
      this.#test(library, set);
    } catch (error) {
      for (const context of set.all) this.#ssl.SSL_CTX_free(context);
      set.trust?.close();
      throw error;
    }
    if (set.trust !== null) this.#trusts.set(Number(set.first), set.trust);
    const settings = {
      timeoutMs: endpoint.handshakeTimeout ?? this.#timeoutMs,
      ticketKeys: ticketKeys && ticketKeys.map(pinnedCopy),
      server: null,
      hello: set.hello,
    };
    this.#threads.sendToAll({ type: 'use-context', context: Number(set.first), settings });
    return set.first;
  }

  /**
   * Prepare handshakes with a destination, with what has been read of its files.
   *
   * @returns what threads need to have them made; its context is for `free`
   * @throws GraceError when OpenSSL does not take what the files have
   */
  openDestination(endpoint: SslClient | TlsClient, { identity, authorities: read }: ClientFiles): UpstreamTls {
    const { checked, sent } = serverNameOf(endpoint);
    const authorities = endpoint.insecure ? null : (read ?? []);
    const library = { ssl: this.#ssl, crypto: this.#crypto };
    if (this.#clientFlaw === undefined) this.#clientFlaw = findClientFlaw(library);
    if (this.#clientFlaw !== null) throw new GraceError(`towards destinations: ${this.#clientFlaw}`);
    const trust = authorities === null ? null : this.#stores.open(authorities);
    let context: bigint;
    try {
      context = openClientContext(library, { trust: trust?.address ?? null, identity, alpn: endpoint.alpn ?? [] });
    } catch (error) {
      trust?.close();
      throw new GraceError(errorMessage(error), { cause: error });
    }
    if (trust !== null) this.#trusts.set(Number(context), trust);
    const sessions = openSessionPlan(this.#sessionTotal);
    const server = {
      sent,
      checked: authorities === null ? null : checked,
      isAddress: isIP(checked) !== 0,
      mayRenegotiate: identity !== null,
      sessions,
    };
    // Who dials ends a handshake sooner.
    const settings = { timeoutMs: endpoint.timeout * 1000 + DESTINATION_GRACE_MS, ticketKeys: [], server, hello: null };
    this.#threads.sendToAll({ type: 'use-context', context: Number(context), settings });
    return { epollFd: this.#epollFd, keys: this.keys.memory, context: Number(context), checked, sessions };
  }

  /** No other SSL_CTX can have this address before the thread of handshakes hears that this one is to be freed. */
  #distrust(context: number): void {
    this.#trusts.get(context)?.close();
    this.#trusts.delete(context);
  }

  /** Throws GraceError when keys cannot be had here, or no protocol can be agreed on. */
  #test(library: { ssl: Ssl; crypto: Crypto }, { first, hello, options }: ContextSet): void {
    if (!this.#isTested) {
      const plain = openServerContext(library, { ...options, stopsAtHello: false, clients: null });
      const flaw = findFlaw(library, plain);
      this.#ssl.SSL_CTX_free(plain);
      if (flaw !== null) this.#onFlaw(flaw);
      if (flaw !== null) throw new GraceError(flaw);
      this.#isTested = true;
    }
    if (this.#hasAlpn || (hello?.protocols ?? null) === null) return;
    const flaw = findAlpnFlaw(library, first);
    if (flaw !== null) throw new GraceError(flaw);
    this.#hasAlpn = true;
  }

  /** No leg is given away for a handshake with it any more. The thread of handshakes frees it after the last one. */
  free(context: number): void {
    this.#distrust(context);
    this.#threads.sendToAll({ type: 'forget-context', context });
  }

  /** What threads need to know to have handshakes made with a context. */
  planOf(context: bigint): Omit<TlsPlan, 'seesTruncation'> {
    return { epollFd: this.#epollFd, keys: this.keys.memory, context: Number(context), limit: this.#limit };
  }

  settled(): Promise<void> {
    return this.#threads.settled();
  }

  trimMemory(): void {
    this.#threads.sendToAll({ type: 'trim-memory' });
  }

  close(): Promise<void> {
    clearInterval(this.#ticketLook);
    this.#endTickets();
    for (const context of this.#trusts.keys()) this.#distrust(context);
    return this.#threads.close();
  }
}

/**
 * A core file of this process has its threads and registers, but none of its memory: libssl keeps keys of sessions in what
 * it has freed. The other way, PR_SET_DUMPABLE of prctl(2), would make /proc/PID root's: commands of the user whose daemon it is
 * could not see its executable and log any more.
 */
function keepMemoryFromCores(): void {
  try {
    writeFileSync('/proc/self/coredump_filter', '0x10'); // core(5): the headers of files alone
  } catch {
    // A kernel without cores has none, and no such file.
  }
}
