/** Handshakes of an engine, as its main thread sees them: one thread for all, and what it makes them with. */
import { readServerIdentity } from '../../../endpoint/files.ts';
import type { SslServer } from '../../../endpoint/model.ts';
import { errorMessage, GraceError } from '../../../error.ts';
import { HANDSHAKE_TIMEOUT_MS, MAX_HANDSHAKES } from '../../policy.ts';
import { openFunctions } from '../../../sys/library.ts';
import { fdLimit } from '../../../sys/process.ts';
import type { FrontendPlan } from '../messages.ts';
import { Threads } from '../threads.ts';
import type { ThreadsOptions } from '../threads.ts';
import { KeyTable } from './key-table.ts';
import { openCrypto } from './library.ts';
import type { Crypto } from './library.ts';
import { openServerContext } from './server-context.ts';
import { openSsl } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

const EPOLL_CLOEXEC = 0o2000000n;
const MADV_DONTDUMP = 16n;
const PAGE = 4096n;
const systemTable = {
  epoll_create1: { args: ['word'], result: 'i32' },
  madvise: { args: ['word', 'word', 'word'], result: 'i32' },
} as const;

/** Limits of handshakes, for which policy.ts has the defaults. */
export type HandshakeLimits = { handshakeTimeoutMs?: number | undefined; handshakeLimit?: number | undefined };

/** The thread of handshakes. */
export class HandshakeService {
  readonly #limit: number;
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
    ...options
  }: { threads: Threads } & HandshakeLimits & Omit<ThreadsOptions, 'count' | 'onReport' | 'handshakes'>) {
    this.#limit = handshakeLimit;
    this.#ssl = openSsl();
    this.#crypto = openCrypto();
    this.keys = KeyTable.open(Math.min(Number(fdLimit().hard), threads.table.capacity));
    const { functions, memory } = openFunctions(systemTable);
    // Keys are not to be found in a core file. The first page is of descriptors that no leg has.
    const start = (memory.addressOf(this.keys.bytes) + PAGE - 1n) & -PAGE;
    functions.madvise(start, BigInt(this.keys.bytes.length) - PAGE, MADV_DONTDUMP);
    this.#epollFd = functions.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epollFd < 0) throw new GraceError('cannot start the thread of TLS handshakes: no descriptor is left');
    this.#threads = new Threads({
      ...options,
      count: 1,
      table: threads.table,
      handshakes: {
        epollFd: this.#epollFd,
        keys: this.keys.memory,
        timeoutMs: handshakeTimeoutMs,
        limit: handshakeLimit,
      },
      onReport: () => undefined,
    });
  }

  /**
   * Read the files of an endpoint for handshakes to come.
   *
   * @returns the address of an SSL_CTX, for `free`
   * @throws EndpointError when a file is missing or unusable; GraceError when OpenSSL does not take what it has
   */
  openContext(endpoint: SslServer): bigint {
    const identity = readServerIdentity(endpoint);
    try {
      return openServerContext({ ssl: this.#ssl, crypto: this.#crypto }, { identity, sslmethod: endpoint.sslmethod });
    } catch (error) {
      throw new GraceError(errorMessage(error), { cause: error });
    }
  }

  /** No client is on its way to a handshake that is made with it. */
  free(context: bigint): void {
    this.#ssl.SSL_CTX_free(context);
  }

  /** What threads need to know to have handshakes made with a context. */
  planOf(context: bigint): NonNullable<FrontendPlan['tls']> {
    return { epollFd: this.#epollFd, keys: this.keys.memory, context: Number(context), limit: this.#limit };
  }

  trimMemory(): void {
    this.#threads.sendToAll({ type: 'trim-memory' });
  }

  close(): Promise<void> {
    return this.#threads.close();
  }
}
