/**
 * Session tickets of TLS 1.3 come after the handshake (RFC 8446, section 4.6.1), when records are ours, and the secret that belongs to
 * them is in libssl alone: no function tells it. So the SSL of a handshake is kept until its tickets are there, which
 * mostly is with the first bytes that the server says, and is given the records that have them. Of a leg that gets none the
 * SSL is freed when many are kept, when nothing moves any more, or with the leg.
 */
import type { Library } from './identity.ts';
import { word } from './library.ts';
import type { Pinned } from './library.ts';
import type { Sessions } from './sessions.ts';
import type { SessionPool } from './session-pool.ts';
import { freeSsl } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

/** SSLs that are kept at once, of 20 to 40 kB each. */
const MAX_KEPT = 128;
/** Tickets that are taken of one leg. */
const MAX_TICKETS = 2;
const NEW_SESSION_TICKET = 4;

/** Those of one thread. */
export class TicketReaders {
  readonly ssl: Ssl;
  readonly sessions: Sessions;
  /** Where libssl would put what is no ticket. */
  readonly rest: Pinned;
  /** The oldest first. */
  readonly #readers = new Set<TicketReader>();

  constructor({ ssl, crypto, sessions }: Library & { sessions: Sessions }) {
    this.ssl = ssl;
    this.sessions = sessions;
    this.rest = crypto.pin(64);
  }

  /** Tickets are to come; the SSL is the reader's from now on. */
  open(handle: bigint, pool: SessionPool): TicketReader {
    const reader = new TicketReader(this, handle, pool);
    this.#readers.add(reader);
    const [oldest] = this.#readers;
    if (this.#readers.size > MAX_KEPT) oldest!.close();
    return reader;
  }

  forget(reader: TicketReader): void {
    this.#readers.delete(reader);
  }

  /** Nothing moves: what has not come will hardly come. */
  close(): void {
    for (const reader of this.#readers) reader.close();
  }
}

/** That of one leg. */
export class TicketReader {
  readonly #readers: TicketReaders;
  readonly #pool: SessionPool;
  readonly #fromPeer: bigint;
  /** 0: it is freed. */
  #handle: bigint;
  #tickets = 0;
  #session: bigint;

  constructor(readers: TicketReaders, handle: bigint, pool: SessionPool) {
    this.#readers = readers;
    this.#pool = pool;
    this.#handle = handle;
    this.#fromPeer = readers.ssl.SSL_get_rbio(handle);
    this.#session = readers.ssl.SSL_get_session(handle);
  }

  /**
   * A record came that has messages of the handshake, and is authentic; all records before it were given here too.
   *
   * @param record where it is as it came
   * @param content what is in it
   * @param isWithin whether that begins in the middle of a message
   */
  read(record: { address: bigint; size: number }, content: Uint8Array, isWithin: boolean): void {
    if (this.#handle === 0n) return;
    const { ssl, sessions, rest } = this.#readers;
    if (!isWithin && content[0] !== NEW_SESSION_TICKET) return this.close();
    ssl.ERR_clear_error();
    ssl.BIO_write(this.#fromPeer, record.address, word(record.size));
    ssl.SSL_read(this.#handle, rest.address, word(rest.bytes.length));
    ssl.ERR_clear_error();
    const session = ssl.SSL_get_session(this.#handle);
    if (session === this.#session) return;
    this.#session = session;
    sessions.keep(this.#handle, this.#pool);
    if (++this.#tickets === MAX_TICKETS) this.close();
  }

  /** All that came has been looked at. Where one ticket came, the others would have come with it. */
  settle(): void {
    if (this.#tickets > 0) this.close();
  }

  /** No ticket is taken any more. */
  close(): void {
    if (this.#handle === 0n) return;
    freeSsl(this.#readers.ssl, this.#handle);
    this.#handle = 0n;
    this.#readers.forget(this);
  }
}
