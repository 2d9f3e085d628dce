/**
 * TLS on one leg after its handshake: plain bytes for the relay on one side, records for the socket on the other, and what
 * records say of the connection itself.
 *
 * - A KeyUpdate that asks for ours is answered before the next byte that we send, as RFC 8446 (4.6.3) wants it, and
 *   with one for any number of them. Ours goes out by itself before a key has sealed more records than it may; it never
 *   asks for one, since an answer to it could come when nobody reads any more.
 * - close_notify ends the peer's direction, and ours is ended with one. A FIN without it is passed on as a FIN:
 *   Chromium never sends one. What a peer says after its close_notify means nothing (6.1).
 * - A record that does not authenticate, or has no business there, is answered with its alert, and ends the connection;
 *   plain bytes that came before it are still passed on.
 * - Records that carry nothing are taken at a limited rate, beyond which the leg is not read for a while: Java sends
 *   256 key updates a second in good faith, and none is worth an end.
 */
import { EPROTO, ENOBUFS } from '../errno.ts';
import { BLOCKED, BROKEN, SHUT } from '../connection-table.ts';
import type { Thread } from '../thread.ts';
import type { TlsClient } from '../messages.ts';
import type { Codec, Encoded } from '../codec.ts';
import { readSnapshot, writeSnapshot } from './snapshot.ts';
import type { Snapshot } from './snapshot.ts';
import { alertName, CLOSE_NOTIFY, DECODE_ERROR, FATAL, NO_RENEGOTIATION, USER_CANCELED, WARNING } from './alerts.ts';
import { IN, OUT } from './key-table.ts';
import type { KeyTable } from './key-table.ts';
import type { TlsFacts } from '../../engine.ts';
import { describeTruncation } from '../../words.ts';
import type { ProxyTls } from '../../proxy-fields.ts';
import { nameOfCipher, nameOfGroup, nameOfKey, nameOfSignature, opensslNameOf } from '../../tls-names.ts';
import { word } from './library.ts';
import type { Crypto, Pinned } from './library.ts';
import { KEY_UPDATE_MESSAGE, PostHandshake } from './messages.ts';
import {
  ALERT,
  APPLICATION_DATA,
  HANDSHAKE,
  HEADER_SIZE,
  LEAST_MAX_PLAIN,
  OVERHEAD,
  Records,
  UNEXPECTED_MESSAGE,
} from './records.ts';
import type { TicketReader } from './ticket-reader.ts';

/** Records that a key seals before the next one is taken (RFC 8446, 5.5: AES-GCM is safe for 2^24.5). */
const RECORDS_PER_KEY = 2 ** 23;
/** Records without plain bytes that a leg may send in a second before it is not read for a while. */
const IDLE_RECORDS_PER_SECOND = 1024;

/** What the TLS legs of one thread share. */
export class TlsLegs {
  readonly thread: Thread;
  readonly keys: KeyTable;
  readonly records: Records;
  /** Records as they were read. */
  readonly received: Pinned;
  /** Records that are to be sent. */
  readonly sealed: Pinned;
  /** `kernel.input`, where the relay has plain bytes. */
  readonly plain: Pinned;
  /** What we say ourselves. */
  readonly own: Pinned;
  readonly recordsPerKey: number;
  // One of each for all records, which would else be made for each: they hold until the next.
  readonly #toOpen: { readonly source: Pinned; from: number };
  readonly #opened: { readonly target: Pinned; at: number };
  readonly #toSeal: { readonly source: Pinned; readonly from: number; length: number };
  readonly #sealed: { readonly target: Pinned; at: number };
  readonly #encoded: Pinned & { length: number };

  constructor(
    thread: Thread,
    { crypto, keys, recordsPerKey = RECORDS_PER_KEY }: { crypto: Crypto; keys: KeyTable; recordsPerKey?: number },
  ) {
    this.thread = thread;
    this.keys = keys;
    this.records = new Records(crypto, keys);
    this.plain = crypto.pinned(thread.kernel.input);
    const size = this.plain.bytes.length;
    this.received = crypto.pin(size);
    this.sealed = crypto.pin(size + OVERHEAD * (Math.ceil(size / LEAST_MAX_PLAIN) + 3) + 64);
    this.own = crypto.pin(16);
    this.recordsPerKey = recordsPerKey;
    this.#toOpen = { source: this.received, from: 0 };
    this.#opened = { target: this.plain, at: 0 };
    this.#toSeal = { source: this.plain, from: 0, length: 0 };
    this.#sealed = { target: this.sealed, at: 0 };
    this.#encoded = { ...this.sealed, length: 0 };
  }

  /** Open the record there in `received`, to there in `plain`. Returns what Records.open does. */
  openRecord(fd: number, from: number, at: number): number {
    this.#toOpen.from = from;
    this.#opened.at = at;
    return this.records.open(fd, this.#toOpen, this.#opened);
  }

  /** Seal so many bytes of `plain`, to there in `sealed`. Returns where the records end. */
  sealPlain(fd: number, length: number, at: number): number {
    this.#toSeal.length = length;
    this.#sealed.at = at;
    return this.records.seal(fd, APPLICATION_DATA, this.#toSeal, this.#sealed);
  }

  /** The first so many bytes of `sealed`. */
  encoded(length: number): Encoded {
    this.#encoded.length = length;
    return this.#encoded;
  }

  /** A codec for a leg whose handshake is over, and whose keys are in the key table. */
  open(fd: number, options: LegOptions): TlsCodec {
    this.records.adopt(fd);
    return new TlsCodec(this, fd, options);
  }

  /** The same of a leg that comes from another process. */
  restore(fd: number, written: Uint8Array): TlsCodec {
    const snapshot = readSnapshot(written);
    const codec = this.open(fd, snapshot);
    codec.restore(snapshot);
    return codec;
  }
}

/** `isClient`: the peer is a server; `seesTruncation`: its end without a closing alert of TLS is a reset (`truncation=reset`); `tickets`: who is given those of the peer, and is ended with the leg. */
export type LegOptions = { isClient: boolean; seesTruncation?: boolean; tickets?: TicketReader | null };

/** TLS on one leg. Its keys are zeroed with it. */
export class TlsCodec implements Codec {
  readonly #legs: TlsLegs;
  readonly #fd: number;
  readonly #messages: PostHandshake;
  /** The beginning of a record whose rest is yet to come. */
  #partial: Uint8Array | null = null;
  #hasPeerEnded = false;
  #isFarewellSaid = false;
  /** A record that the socket did not take, and that goes before all that is sealed from now on. */
  #ahead: Uint8Array | null = null;
  /** The last read took less than it could. */
  #wasShort = false;
  /** A KeyUpdate of ours was asked for. */
  #isKeyUpdateDue = false;
  /** The alert that the next read is to be answered with; 0: none. */
  #alert = 0;
  /** Records without plain bytes in the second that began then. */
  #idleRecords = 0;
  #idleSince = 0;
  readonly #isClient: boolean;
  readonly #seesTruncation: boolean;
  /** Null: nobody waits for session tickets any more. */
  #tickets: TicketReader | null;
  failure: string | null = null;
  hasReadFin = false;
  isTruncated = false;

  constructor(legs: TlsLegs, fd: number, { isClient, seesTruncation = false, tickets = null }: LegOptions) {
    this.#legs = legs;
    this.#fd = fd;
    this.#isClient = isClient;
    this.#seesTruncation = seesTruncation;
    this.#tickets = tickets;
    this.#messages = new PostHandshake({ isClient });
  }

  get version(): 'TLSv1.3' | 'TLSv1.2' {
    return this.#legs.keys.isTls13(this.#fd) ? 'TLSv1.3' : 'TLSv1.2';
  }

  /** Whether its handshake went on with an earlier session. */
  get isResumed(): boolean {
    return this.#legs.keys.isResumed(this.#fd);
  }

  get tls(): TlsClient {
    const { version } = this;
    const { name, client } = this.#legs.keys.texts(this.#fd);
    return { version, name, ...(client !== null && client !== '' && { client }) };
  }

  get proxyTls(): ProxyTls {
    const { keys } = this.#legs;
    const { version, cipher } = this.agreed;
    const { name, protocol, client } = keys.texts(this.#fd);
    const { signature, keyType, bits, isResumed } = keys.shown(this.#fd);
    return {
      version,
      cipher: opensslNameOf(cipher),
      signature: nameOfSignature(signature),
      key: nameOfKey(keyType, bits),
      alpn: protocol ?? undefined,
      serverName: name ?? undefined,
      clientName: client,
      isResumed,
    };
  }

  get agreed(): TlsFacts {
    const { keys } = this.#legs;
    const group = nameOfGroup(keys.group(this.#fd));
    return {
      version: this.version,
      cipher: nameOfCipher(keys.suiteNumber(this.#fd)),
      ...(group !== null && { group }),
    };
  }

  snapshot(): Uint8Array | null {
    if (this.failure !== null || this.#alert !== 0) return null; // it is about to end
    this.#waitForNoTickets();
    return writeSnapshot({
      isClient: this.#isClient,
      hasPeerEnded: this.#hasPeerEnded,
      isFarewellSaid: this.#isFarewellSaid,
      isKeyUpdateDue: this.#isKeyUpdateDue,
      hasReadFin: this.hasReadFin,
      seesTruncation: this.#seesTruncation,
      message: this.#messages.within,
      partial: this.#partial ?? new Uint8Array(0),
      ahead: this.#ahead ?? new Uint8Array(0),
    });
  }

  /** Go on as another process left it. Before the first read or write. */
  restore({ hasPeerEnded, isFarewellSaid, isKeyUpdateDue, hasReadFin, message, partial, ahead }: Snapshot): void {
    this.#hasPeerEnded = hasPeerEnded;
    this.#isFarewellSaid = isFarewellSaid;
    this.#isKeyUpdateDue = isKeyUpdateDue;
    this.hasReadFin = hasReadFin;
    this.#messages.within = message;
    this.#partial = partial.length === 0 ? null : partial;
    this.#ahead = ahead.length === 0 ? null : ahead;
  }

  receive(size = Infinity): number {
    const { kernel } = this.#legs.thread;
    const { bytes } = this.#legs.received;
    for (;;) {
      if (this.failure !== null) return -EPROTO;
      if (this.#alert !== 0) return this.#fail(this.#alert);
      if (this.#hasPeerEnded) return 0;
      if (this.#isFlooding()) return -ENOBUFS;
      const kept = this.#partial?.length ?? 0;
      const room = Math.min(bytes.length - kept, size);
      const length = kernel.receiveAt(this.#fd, this.#legs.received.address + word(kept), room);
      this.#wasShort = length < room;
      if (length === 0) {
        this.hasReadFin = this.isTruncated = true;
        if (this.#seesTruncation) this.failure = describeTruncation(!this.#isClient);
        else this.#hasPeerEnded = true;
        continue;
      }
      if (length < 0) return length;
      if (this.#partial !== null) bytes.set(this.#partial);
      const plain = this.#open(kept + length);
      this.#tickets?.settle();
      if (plain > 0) return plain;
    }
  }

  get isDrained(): boolean {
    return this.#wasShort && this.#alert === 0 && this.failure === null && !this.#hasPeerEnded;
  }

  /** Open what was received; the plain bytes that were in it are at the beginning of `plain`. */
  #open(end: number): number {
    const { records, received } = this.#legs;
    this.#partial = null;
    let length = 0;
    for (let from = 0; from < end;) {
      const size = end - from < HEADER_SIZE ? Infinity : records.measure(this.#fd, received.bytes, from);
      if (size < 0) {
        this.#alert = -size;
        return length;
      }
      if (from + size > end) {
        this.#partial = received.bytes.slice(from, end);
        return length;
      }
      const alert = this.#legs.openRecord(this.#fd, from, length);
      if (this.#tickets !== null && alert === 0) this.#lookForTicket({ from, size }, length);
      this.#alert = alert === 0 ? this.#heed(length) : alert;
      if (this.#alert !== 0 || this.#hasPeerEnded || this.failure !== null) return length;
      if (records.type === APPLICATION_DATA) length += records.length;
      from += size;
    }
    return length;
  }

  /** A record was opened, to `at` of the plain bytes. Tickets come before all else that a server says, or are missed. */
  #lookForTicket({ from, size }: { from: number; size: number }, at: number): void {
    const { records, received, plain } = this.#legs;
    if (records.type !== HANDSHAKE) return this.#waitForNoTickets();
    const record = { address: received.address + word(from), size };
    this.#tickets!.read(record, plain.bytes.subarray(at, at + records.length), this.#messages.isWithin);
  }

  #waitForNoTickets(): void {
    this.#tickets?.close();
    this.#tickets = null;
  }

  /** What the record means whose content is there in `plain`. Returns the alert that it is to be answered with, or 0. */
  #heed(at: number): number {
    const { records, plain } = this.#legs;
    if (records.type === APPLICATION_DATA && records.length > 0)
      return this.#messages.isWithin ? UNEXPECTED_MESSAGE : 0;
    const content = plain.bytes.subarray(at, at + records.length);
    this.#idleRecords++;
    if (records.type === HANDSHAKE) {
      if (!records.isTls13(this.#fd)) return this.#refuseRenegotiation();
      return this.#messages.read(content, ({ isAnswerAsked }) => {
        records.update(this.#fd, IN);
        this.#isKeyUpdateDue ||= isAnswerAsked;
      });
    }
    if (this.#messages.isWithin) return UNEXPECTED_MESSAGE;
    return records.type === ALERT ? this.#heedAlert(content) : 0;
  }

  /** What TLS 1.2 answers a ClientHello or a HelloRequest with that it does not want; the connection goes on (RFC 5246, section 7.2.2). */
  #refuseRenegotiation(): number {
    const { table, kernel } = this.#legs.thread;
    if (this.#isFarewellSaid || this.#ahead !== null || table.has(this.#fd, BLOCKED | BROKEN | SHUT)) return 0;
    const { bytes, address, length } = this.#sealAlert(WARNING, NO_RENEGOTIATION);
    const sent = kernel.sendAt(this.#fd, address, length);
    if (sent !== length) this.#ahead = bytes.slice(Math.max(0, sent), length);
    return 0;
  }

  #heedAlert(content: Uint8Array): number {
    const [level, description = 0] = content;
    if (content.length !== 2) return DECODE_ERROR;
    if (description === CLOSE_NOTIFY) this.#hasPeerEnded = true;
    else if (description !== USER_CANCELED && (level !== WARNING || this.#legs.records.isTls13(this.#fd)))
      this.failure = `the peer ended TLS with the alert ${alertName(description)}`;
    return 0;
  }

  #isFlooding(): boolean {
    if (this.#idleRecords < IDLE_RECORDS_PER_SECOND) return false;
    const now = performance.now();
    if (now - this.#idleSince < 1000) return true;
    this.#idleSince = now;
    this.#idleRecords = 0;
    return false;
  }

  /** Tell the peer what was wrong, unless it is in the middle of a record that it has not taken yet. */
  #fail(alert: number): number {
    const { table, kernel } = this.#legs.thread;
    this.failure = `a TLS record of the peer was wrong: ${alertName(alert)}`;
    if (!this.#isFarewellSaid && !table.has(this.#fd, BLOCKED | BROKEN | SHUT)) {
      const { address, length } = this.#sealAlert(FATAL, alert);
      kernel.sendAt(this.#fd, address, length); // not taken: it has no room for it, or is gone
      this.#isFarewellSaid = true;
    }
    return -EPROTO;
  }

  encode(length: number, isLast = false): Encoded {
    const { records, sealed, recordsPerKey } = this.#legs;
    if (records.isTls13(this.#fd) && records.sealed(this.#fd) >= recordsPerKey) this.#isKeyUpdateDue = true;
    let at = 0;
    if (this.#ahead !== null) {
      sealed.bytes.set(this.#ahead);
      at = this.#ahead.length;
      this.#ahead = null;
    }
    if (this.#isKeyUpdateDue) {
      at = this.#sealOwn(HANDSHAKE, KEY_UPDATE_MESSAGE, at);
      records.update(this.#fd, OUT);
      this.#isKeyUpdateDue = false;
    }
    let end = this.#legs.sealPlain(this.#fd, length, at);
    if (isLast && !this.#isFarewellSaid) {
      this.#isFarewellSaid = true;
      end = this.#sealOwn(ALERT, [WARNING, CLOSE_NOTIFY], end);
    }
    return this.#legs.encoded(end);
  }

  /** Seal what we say ourselves. Returns where it ends. */
  #sealOwn(type: number, content: ArrayLike<number>, at: number): number {
    const { records, own, sealed } = this.#legs;
    own.bytes.set(content);
    return records.seal(this.#fd, type, { source: own, from: 0, length: content.length }, { target: sealed, at });
  }

  /** The same, behind what has to go before it. */
  #sealAlert(level: number, description: number): Encoded {
    const { sealed } = this.#legs;
    const at = this.#ahead?.length ?? 0;
    if (this.#ahead !== null) sealed.bytes.set(this.#ahead);
    this.#ahead = null;
    return this.#legs.encoded(this.#sealOwn(ALERT, [level, description], at));
  }

  farewell(): Encoded {
    if (this.#isFarewellSaid) return this.#legs.encoded(0);
    this.#isFarewellSaid = true;
    return this.#sealAlert(WARNING, CLOSE_NOTIFY);
  }

  close(): void {
    this.#waitForNoTickets();
    this.#partial = null;
    this.#legs.records.forget(this.#fd);
    this.#legs.keys.close(this.#fd);
  }
}
