/** Handshakes of an engine, as its main thread sees them: one thread for all, and what it makes them with. */
import { writeFileSync } from 'node:fs';
import { readServerIdentity } from '../../../endpoint/files.ts';
import type { SslServer } from '../../../endpoint/model.ts';
import { readTicketKeys } from '../../../endpoint/ticket-keys.ts';
import { serverOffer, tlsVersions } from '../../../endpoint/versions.ts';
import { errorMessage, GraceError } from '../../../error.ts';
import { HANDSHAKE_TIMEOUT_MS, MAX_HANDSHAKES } from '../../policy.ts';
import { sessionIdContext } from '../../session-context.ts';
import type { TicketRing } from '../../ticket-ring.ts';
import { openFunctions } from '../../../sys/library.ts';
import { fdLimit } from '../../../sys/process.ts';
import type { FrontendPlan } from '../messages.ts';
import { Threads } from '../threads.ts';
import type { ThreadsOptions } from '../threads.ts';
import { KeyTable } from './key-table.ts';
import { openCrypto } from './library.ts';
import type { Crypto } from './library.ts';
import { openServerContext } from './server-context.ts';
import { findFlaw } from './self-test.ts';
import { openSsl } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

const EPOLL_CLOEXEC = 0o2000000n;
const MADV_DONTDUMP = 16n;
const PAGE = 4096n;
/** How often it is looked whether there is a new key of session tickets, in milliseconds: they are hours apart. */
const TICKET_LOOK_MS = 300_000;
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
  readonly #onFlaw: (flaw: string) => void;
  readonly #ssl: Ssl;
  readonly #crypto: Crypto;
  /** Keys of the legs of all threads. */
  readonly keys: KeyTable;
  readonly #epollFd: number;
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
    this.keys = KeyTable.open(Math.min(Number(fdLimit().hard), threads.table.capacity));
    const { functions, memory } = openFunctions(systemTable);
    // Keys are not to be found in a core file. The first page is of descriptors that no leg has.
    const start = (memory.addressOf(this.keys.bytes) + PAGE - 1n) & -PAGE;
    functions.madvise(start, BigInt(this.keys.bytes.length) - PAGE, MADV_DONTDUMP);
    keepMemoryFromCores();
    this.#epollFd = functions.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epollFd < 0) throw new GraceError('cannot start the thread of TLS handshakes: no descriptor is left');
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
    this.#threads.sendToAll({ type: 'seal-tickets', keys: this.#tickets.keys.map(ownCopy) });
  }

  /**
   * Read the files of an endpoint for handshakes to come.
   *
   * @returns the address of an SSL_CTX, for `free`
   * @throws EndpointError when a file is missing or unusable; GraceError when OpenSSL does not take what it has
   */
  openContext(endpoint: SslServer): bigint {
    const identity = readServerIdentity(endpoint);
    const ticketKeys = readTicketKeys(endpoint);
    const library = { ssl: this.#ssl, crypto: this.#crypto };
    let context: bigint;
    try {
      context = openServerContext(library, {
        identity,
        offer: serverOffer(endpoint),
        versions: tlsVersions(endpoint.sslmethod, endpoint.minTLS),
        sessionContext: sessionIdContext(endpoint, null),
      });
    } catch (error) {
      throw new GraceError(errorMessage(error), { cause: error });
    }
    if (!this.#isTested) this.#test(library, context);
    const settings = {
      timeoutMs: endpoint.handshakeTimeout ?? this.#timeoutMs,
      ticketKeys: ticketKeys && ticketKeys.map(ownCopy),
      server: null,
    };
    this.#threads.sendToAll({ type: 'use-context', context: Number(context), settings });
    return context;
  }

  /** Throws GraceError, and frees the context, when keys cannot be had here. */
  #test(library: { ssl: Ssl; crypto: Crypto }, context: bigint): void {
    const flaw = findFlaw(library, context);
    this.#isTested = flaw === null;
    if (flaw === null) return;
    this.#ssl.SSL_CTX_free(context);
    this.#onFlaw(flaw);
    throw new GraceError(flaw);
  }

  /** No client is on its way to a handshake that is made with it. */
  free(context: bigint): void {
    this.#threads.sendToAll({ type: 'forget-context', context: Number(context) });
    this.#ssl.SSL_CTX_free(context);
  }

  /** What threads need to know to have handshakes made with a context. */
  planOf(context: bigint): NonNullable<FrontendPlan['tls']> {
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
    return this.#threads.close();
  }
}

/** A key in memory of its own: what of a pool goes to another thread is the whole pool. */
function ownCopy(key: Uint8Array): Uint8Array {
  const own = new Uint8Array(new ArrayBuffer(key.length));
  own.set(key);
  return own;
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
