/**
 * One handshake of a TLS server or client, by libssl over memory of its own. It is given the peer's bytes record by record and not
 * one more than it needs: they are looked at first, and taken from the socket as far as they went. So what a peer
 * sends right behind its Finished, as most clients do, is still in the socket for whoever reads there next.
 */
import { IPPROTO_TCP, TCP_QUICKACK } from '../../../sys/constants.ts';
import { EAGAIN } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { PLAIN_HTTP_ANSWER } from '../../words.ts';
import type { ContextBook, Server, TicketKey } from './context-book.ts';
import type { FreedTickets } from './freed-tickets.ts';
import { Hearing } from './hearing.ts';
import { TLS12 } from './key-table.ts';
import type { KeyTable } from './key-table.ts';
import { NO_APPLICATION_PROTOCOL } from './hello-choice.ts';
import { word } from './library.ts';
import type { Pinned } from './library.ts';
import { Outbox } from './outbox.ts';
import { RecordSplitter } from './record-splitter.ts';
import { countRecords } from './records.ts';
import type { Secrets } from './secrets.ts';
import type { ServerHello } from './server-hello.ts';
import { freeSsl, X509_VP_FLAG_LOCKED } from './ssl-library.ts';
import type { Ssl } from './ssl-library.ts';

const SSL_ERROR_WANT_READ = 2;
const ERR_LIB_SSL = 20;
const SSL_R_HTTP_REQUEST = 156;
const SSL_R_CERTIFICATE_VERIFY_FAILED = 134;
const SSL_CTRL_SET_TLSEXT_HOSTNAME = 55n;
const SSL_R_NO_APPLICATION_PROTOCOL = 235;
const NO_PROTOCOL = (ERR_LIB_SSL << 23) | SSL_R_NO_APPLICATION_PROTOCOL;
/** Of a peer that is a client. */
const NO_ADDRESS = new Uint8Array(0);
/** So many bytes of what came before may be the beginning of a key's name. */
const KEPT_BYTES = 15;

/**
 * Where a handshake stands. `waiting`: for bytes of the peer, or for room to send it some; `foreign`: done, and the records
 * are libssl's from now on; `untrusted`, `misnamed`: a server's certificate is not of an authority that is trusted, or not for its name.
 */
export type Progress = 'waiting' | 'done' | 'foreign' | 'failed' | 'gone' | 'untrusted' | 'misnamed';

/** What the handshakes of a thread share. */
export type Workshop = {
  readonly kernel: Kernel;
  readonly ssl: Ssl;
  readonly secrets: Secrets;
  readonly keys: KeyTable;
  readonly contexts: ContextBook;
  readonly hello: ServerHello;
  readonly freed: FreedTickets;
  /** Of libssl: how bytes are kept in memory. */
  readonly memoryMethod: bigint;
  readonly input: Pinned;
  readonly output: Pinned;
};

/** A handshake under way. */
export class Handshake {
  readonly #workshop: Workshop;
  readonly #fd: number;
  readonly #context: bigint;
  /** Chooses by the ClientHello; null: nothing is to be chosen. */
  readonly #hearing: Hearing | null;
  readonly #ssl: bigint;
  readonly #fromPeer: bigint;
  readonly #toPeer: bigint;
  /** Of what was given to libssl. */
  readonly #records = new RecordSplitter();
  readonly #outbox: Outbox;
  /** What the client's ticket was sealed with, until libssl has answered the ClientHello that it came in; null: with the newest key. */
  #ticketKey: TicketKey | null = null;
  /** The end of what the peer sent. */
  #last: Uint8Array = new Uint8Array(0);
  #isDone: Progress | null = null;
  /** Who the peer must be, where that is a server. */
  readonly #server: Server | null;
  /** Its address, for its sessions. */
  readonly #address: Uint8Array;
  /** When it was offered an earlier session, in milliseconds of Date; 0: it was offered none. */
  #offeredAt = 0;
  /** It had the key exchange ready that this server took last. */
  #hasPredicted = false;
  #hasBegun = false;
  #isKept = false;
  /** Whether the peer has said anything. */
  hasHeard = false;
  /** Error of libssl by its number, once it has failed; of a certificate that is not trusted, that of its verification. */
  error = 0;

  constructor(workshop: Workshop, fd: number, context: bigint) {
    const { ssl, kernel, memoryMethod, contexts } = workshop;
    this.#workshop = workshop;
    this.#fd = fd;
    this.#outbox = new Outbox(kernel, fd);
    this.#context = context;
    this.#ssl = ssl.SSL_new(context);
    // Its host names are the key log: see server-context.ts.
    ssl.X509_VERIFY_PARAM_set_inh_flags(ssl.SSL_get0_param(this.#ssl), X509_VP_FLAG_LOCKED);
    this.#fromPeer = ssl.BIO_new(memoryMethod);
    this.#toPeer = ssl.BIO_new(memoryMethod);
    ssl.SSL_set_bio(this.#ssl, this.#fromPeer, this.#toPeer);
    this.#server = contexts.serverOf(context);
    const plan = contexts.helloPlan(context);
    this.#hearing = plan && new Hearing(workshop.hello, plan, { handshake: this.#ssl, context });
    if (this.#server === null) ssl.SSL_set_accept_state(this.#ssl);
    else ssl.SSL_set_connect_state(this.#ssl);
    this.#address = this.#server === null ? NO_ADDRESS : kernel.peerAddress(fd);
    if (this.#server !== null) this.#introduce(this.#server);
  }

  /** What a client says of itself, and of whom it wants to speak to. */
  #introduce({ sent, pool }: Server): void {
    const { ssl, contexts } = this.#workshop;
    if (sent !== null) ssl.SSL_ctrl(this.#ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0n, sent.address);
    this.#hasPredicted = contexts.keyShares.predict(this.#ssl, pool);
    if (contexts.sessions.offer(this.#ssl, pool, this.#address)) this.#offeredAt = Date.now();
  }

  /** Go on as far as it goes. `hasEnded`: no event will tell that the peer has ended its direction, or more. */
  proceed({ hasEnded }: { hasEnded: boolean }): Progress {
    if (!this.#outbox.sendKept()) return 'gone';
    while (this.#outbox.isEmpty) {
      if (this.#isDone !== null) return this.#isDone;
      const progress = this.#begin() ?? this.#read(hasEnded);
      if (progress !== 'done' && progress !== 'foreign') return progress;
      this.#isDone = progress;
    }
    return 'waiting';
  }

  /** A client speaks first. */
  #begin(): Progress | null {
    if (this.#hasBegun || this.#server === null) return null;
    this.#hasBegun = true;
    const progress = this.#advance();
    return progress === 'waiting' && this.#outbox.isEmpty ? null : progress;
  }

  #read(toEnd: boolean): Progress {
    const { kernel, input } = this.#workshop;
    for (;;) {
      const available = kernel.peekAt(this.#fd, input.address, input.bytes.length);
      if (available === -EAGAIN) return 'waiting';
      if (available <= 0) return 'gone';
      this.hasHeard = true;
      const { taken, progress } = this.#feed(available);
      kernel.receiveAt(this.#fd, input.address, taken);
      if (progress !== 'waiting' || !this.#outbox.isEmpty) return progress;
      // Of bytes that come after a read that found no more, an event tells.
      if (available < input.bytes.length && !toEnd) return progress;
    }
  }

  /** Give libssl of the first so many bytes of `input` what it wants: a record, and again one, until it has enough. */
  #feed(available: number): { taken: number; progress: Progress } {
    const { ssl, input } = this.#workshop;
    let taken = 0;
    while (taken < available) {
      const size = this.#records.follow(input.bytes, taken, available);
      this.#listen(taken, taken + size);
      ssl.BIO_write(this.#fromPeer, input.address + word(taken), word(size));
      taken += size;
      if (!this.#records.isOther && !this.#records.isWhole) continue;
      this.#records.startNext();
      const progress = this.#advance();
      if (progress !== 'waiting' || !this.#outbox.isEmpty) return { taken, progress };
    }
    return { taken, progress: 'waiting' };
  }

  /** The peer says these bytes of `input`. */
  #listen(from: number, to: number): void {
    const { contexts, input } = this.#workshop;
    const isTicketSought = this.#ticketKey === null && contexts.hasOlder(this.#context);
    if (this.#hearing === null && !isTicketSought) return;
    const bytes = input.bytes.subarray(from, to);
    this.#hearing?.listen(bytes);
    if (isTicketSought) this.#lookForTicket(bytes);
  }

  #lookForTicket(bytes: Uint8Array): void {
    const whole = this.#last.length === 0 ? bytes : Buffer.concat([this.#last, bytes]);
    this.#ticketKey = this.#workshop.contexts.findOlder(this.#context, whole);
    this.#last = Uint8Array.from(whole.subarray(-KEPT_BYTES));
  }

  #advance(): Progress {
    const { ssl, secrets, contexts, freed } = this.#workshop;
    contexts.load(this.#context, this.#ticketKey);
    if (this.#server === null) freed.makeRoom(this.#ssl);
    ssl.ERR_clear_error();
    const result = this.#hearing === null ? ssl.SSL_do_handshake(this.#ssl) : this.#hearing.step();
    if (this.#server === null) freed.zero(this.#ssl);
    if (result === null) return this.#refuse();
    if (result === 1) {
      if (!this.#isForItsName()) return 'misnamed';
      const sealed = this.#flush();
      if (sealed === null) return 'gone';
      // Behind what is not cut into records there may be more that nobody would find.
      if (this.#records.isOther) return 'failed';
      if (this.#server !== null) return this.#takeAsClient(this.#server);
      return secrets.take(this.#ssl, this.#fd, { isServer: true, sealed }) ? 'done' : 'failed';
    }
    const isWaiting = ssl.SSL_get_error(this.#ssl, BigInt.asUintN(64, BigInt(result))) === SSL_ERROR_WANT_READ;
    if (!isWaiting) this.error = Number(ssl.ERR_peek_last_error() & 0xffff_ffffn);
    if (this.#flush() === null) return 'gone';
    if (isWaiting) return 'waiting';
    if (this.#server === null && isReason(this.error, SSL_R_HTTP_REQUEST))
      this.#outbox.send(Buffer.from(PLAIN_HTTP_ANSWER));
    if (!isReason(this.error, SSL_R_CERTIFICATE_VERIFY_FAILED)) return 'failed';
    this.error = Number(ssl.SSL_get_verify_result(this.#ssl));
    return 'untrusted';
  }

  /** What we have sealed so far has been sealed with keys of the handshake alone. */
  #takeAsClient(server: Server): Progress {
    const { ssl, secrets, keys, kernel, contexts } = this.#workshop;
    // Before its session tickets come: see prompt-acks.ts.
    kernel.setOption(this.#fd, IPPROTO_TCP, TCP_QUICKACK, 1);
    const isOld = ssl.SSL_version(this.#ssl) === TLS12;
    this.#keepSession(server, { isOld });
    contexts.keyShares.note(this.#ssl, server.pool, { wasPredicted: this.#hasPredicted });
    const isOurs =
      !(isOld && server.mayRenegotiate) && secrets.take(this.#ssl, this.#fd, { isServer: false, sealed: 0 });
    // Tickets of TLS 1.3 are to come yet: see ticket-reader.ts.
    this.#isKept = !isOurs || (!isOld && server.pool.hasRoom);
    if (isOurs && !isOld) secrets.zeroInside(this.#ssl, this.#fd);
    keys.setHandle(this.#fd, this.#isKept ? this.#ssl : 0n);
    return isOurs ? 'done' : 'foreign';
  }

  /** The server is who it must be. */
  #keepSession({ pool, checked }: Server, { isOld }: { isOld: boolean }): void {
    const { ssl, keys, contexts } = this.#workshop;
    const { sessions } = contexts;
    const isResumed = ssl.SSL_session_reused(this.#ssl) === 1;
    if (this.#offeredAt > 0) pool.note(this.#offeredAt, { isTaken: isResumed });
    if (this.#offeredAt > 0 && !isResumed) sessions.drop(pool, this.#address);
    if (isResumed) keys.setResumed(this.#fd);
    else sessions.note(this.#ssl, this.#address, { isVerified: checked !== null });
    if (isOld && !isResumed) sessions.keep(this.#ssl, pool);
  }

  /** Whether a server's certificate is for the name that it must be for. libssl itself does not ask: see server-context.ts. */
  #isForItsName(): boolean {
    const { ssl } = this.#workshop;
    if (this.#server === null || this.#server.checked === null) return true;
    const { checked, isAddress } = this.#server;
    const certificate = ssl.SSL_get1_peer_certificate(this.#ssl);
    if (certificate === 0n) return false;
    const length = word(checked.bytes.length - 1);
    const result = isAddress
      ? ssl.X509_check_ip_asc(certificate, checked.address, 0n)
      : ssl.X509_check_host(certificate, checked.address, length, 0n, 0n);
    ssl.X509_free(certificate);
    return result === 1;
  }

  /** It knows no protocol of ours. */
  #refuse(): Progress {
    this.error = NO_PROTOCOL;
    this.#outbox.send(NO_APPLICATION_PROTOCOL);
    return 'failed';
  }

  /** Send what libssl has to say. Returns of how many records it was; null when the peer is gone. */
  #flush(): number | null {
    const { ssl, output } = this.#workshop;
    const room = output.bytes.length;
    let records = 0;
    let length: number;
    do {
      length = ssl.BIO_read(this.#toPeer, output.address, word(room));
      if (length <= 0) return records;
      records += countRecords(output.bytes.subarray(0, length));
      this.#ticketKey = null;
      if (!this.#outbox.sendFrom(output, length)) return null;
    } while (length === room);
    return records;
  }

  /** It is over, however it went. */
  close(): void {
    const { ssl, secrets, contexts } = this.#workshop;
    // The session may be why.
    if (this.#offeredAt > 0 && this.#isDone === null) contexts.sessions.drop(this.#server!.pool, this.#address);
    secrets.forget(this.#ssl);
    if (this.#isKept) return;
    freeSsl(ssl, this.#ssl);
  }
}

function isReason(error: number, reason: number): boolean {
  return error >>> 23 === ERR_LIB_SSL && (error & 0x7f_ffff) === reason;
}
