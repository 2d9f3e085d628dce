/**
 * PROXY headers of clients, in a thread. A client's is looked at in the socket until it is whole, and then taken to its
 * last byte: what follows is still the socket's, for the relay or the TLS handshake, and so is a header that is not
 * whole yet, which another process can go on to wait for.
 */
import { hostPort } from '../../endpoint/address.ts';
import { errorMessage } from '../../error.ts';
import { unmapIPv4 } from '../../sys/sockaddr.ts';
import { wordsOfSockaddr } from '../admission/address-key.ts';
import { mayBeSpokenFor } from '../header-plan.ts';
import type { HeaderPlan } from '../header-plan.ts';
import { PROXY_HEADER_TIMEOUT_MS } from '../policy.ts';
import type { PreludeSubject } from '../prelude.ts';
import { withOwnEnds } from '../proxy-header.ts';
import { MAX_PROXY_HEADER, readProxyHeader, toldSubject } from '../proxy-parser.ts';
import type { ReadHeader } from '../proxy-parser.ts';
import { readSubject, writeSubject } from '../spoken-for.ts';
import type { SpokenFor } from '../spoken-for.ts';
import { describeLateHeader, describeRefusal, describeStranger } from '../words.ts';
import { FROZEN, HEADING, IS_UNIX, READABLE, READ_TO_END } from './connection-table.ts';
import { EPOLLERR, EPOLLHUP, EPOLLRDHUP } from './epoll-events.ts';
import { EAGAIN, EINTR } from './errno.ts';
import { clientAddressOf, peerOf, setIPv4Peer, setPeer } from './peer.ts';
import { systemSubject } from './subject.ts';
import type { Thread } from './thread.ts';

/** Headers that are late are looked for no more often than this. */
const LOOK_MS = 20;

/** Of a client: what its destination is to be told, until it has been; and who spoke for it. */
type Told = { subject: PreludeSubject | null; via: string | null };

/** The headers of one thread. */
export class Headers {
  readonly #thread: Thread;
  /** Until when the header of a client may come. */
  readonly #until = new Map<number, number>();
  readonly #told = new Map<number, Told>();
  readonly #bytes: Buffer;
  /** When `runDue` has something to do. */
  wakeAt = Infinity;

  constructor(thread: Thread) {
    this.#thread = thread;
    const { buffer, byteOffset, length } = thread.kernel.input;
    this.#bytes = Buffer.from(buffer, byteOffset, length);
  }

  /** A client was accepted, whose address is in `kernel.peer`: wait for its header. Returns false for one who may not send any, and has been ended. */
  begin(client: number, header: HeaderPlan): boolean {
    if (!mayBeSpokenFor(header, wordsOfSockaddr(this.#thread.kernel.peer))) {
      this.#refuse(client, describeStranger(peerOf(this.#thread, client)));
      return false;
    }
    this.#wait(client, header.timeoutMs);
    return true;
  }

  #wait(client: number, leftMs: number): void {
    const { table, now } = this.#thread;
    table.set(client, HEADING);
    this.#until.set(client, now + leftMs);
    this.wakeAt = Math.min(this.wakeAt, now + Math.max(leftMs, LOOK_MS));
  }

  /** Events of a client whose header has not come. Returns whether it has now, and the client may go on. */
  handle(client: number, mask: number): boolean {
    const { table } = this.#thread;
    const isOver = (mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0;
    // A Unix client that has sent all and closed hangs up, too, and what it sent is to be delivered.
    const hasLeft = (mask & (table.has(client, IS_UNIX) ? EPOLLERR : EPOLLERR | EPOLLHUP)) !== 0;
    const found = this.#read(client);
    if (found === 'gone' || (found === 'more' && isOver) || hasLeft) return this.#leave(client);
    if (found === 'more') return false;
    if ('failure' in found) return this.#refuse(client, found.failure);
    if (isOver) table.set(client, READABLE | READ_TO_END);
    return this.#admit(client, found);
  }

  #read(client: number): 'more' | 'gone' | { failure: string } | ReadHeader {
    const { kernel, table } = this.#thread;
    const length = kernel.peek(client, MAX_PROXY_HEADER + 1);
    if (length === -EAGAIN || length === -EINTR) return 'more';
    if (length <= 0) return 'gone';
    try {
      const header = readProxyHeader(this.#bytes.subarray(0, length));
      if (header === null) return 'more';
      if (kernel.take(client, header.length) !== header.length) return 'gone';
      // Of what came with it no event will tell.
      if (length > header.length) table.set(client, READABLE);
      return header;
    } catch (error) {
      return { failure: errorMessage(error) };
    }
  }

  /** It is whom its header tells of, from now on, also for the limits of its address. */
  #admit(client: number, header: ReadHeader): boolean {
    const { table, frontends } = this.#thread;
    const { block } = header;
    const isIPv4 = block?.length === 12;
    const ends = isIPv4 ? null : header.ends;
    const subject = toldSubject(header, 'unknown');
    const via = ends === null && !isIPv4 ? null : peerOf(this.#thread, client);
    if (isIPv4) setIPv4Peer(this.#thread, client, block);
    else if (ends !== null)
      setPeer(this.#thread, client, hostPort({ ...ends.client, host: unmapIPv4(ends.client.host) }));
    if (subject !== 'unknown') this.#told.set(client, { subject, via });
    const refusal =
      frontends.get(table.frontend(client))?.admission?.admit(clientAddressOf(this.#thread, client)) ?? null;
    if (refusal !== null) {
      this.#thread.end(client, {
        stage: 'handshake',
        why: refusal,
        reason: { text: describeRefusal(refusal) },
        reset: true,
      });
      return false;
    }
    this.#until.delete(client);
    table.clear(client, HEADING);
    return true;
  }

  #refuse(client: number, text: string): false {
    this.#thread.end(client, { stage: 'handshake', why: 'proxy-refused', reason: { text }, reset: true });
    return false;
  }

  #leave(client: number): false {
    this.#thread.end(client, { stage: 'handshake', why: 'client-gone', reason: null, reset: true });
    return false;
  }

  /** End those whose header is late. */
  runDue(): void {
    const { now, table, frontends } = this.#thread;
    if (now < this.wakeAt) return;
    this.wakeAt = Infinity;
    for (const [client, until] of this.#until) {
      // Another process is about to wait for it; if not, it is looked at again when it goes on here.
      if (table.has(client, FROZEN)) continue;
      if (now < until) this.wakeAt = Math.min(this.wakeAt, Math.max(until, now + LOOK_MS));
      else {
        const { timeoutMs = PROXY_HEADER_TIMEOUT_MS } = frontends.get(table.frontend(client))?.plan.header ?? {};
        this.#refuse(client, describeLateHeader(timeoutMs));
      }
    }
  }

  /** A frozen client goes on here. */
  thaw(client: number): void {
    const until = this.#until.get(client);
    if (until !== undefined) this.wakeAt = Math.min(this.wakeAt, until);
  }

  /** What the destination of a client is to be told. */
  subjectOf(client: number): PreludeSubject {
    const subject = this.#told.get(client)?.subject;
    if (!subject) return systemSubject(this.#thread, client);
    return withOwnEnds(subject, () => systemSubject(this.#thread, client));
  }

  /** It is connected, and will not be told again. */
  told(client: number): void {
    const told = this.#told.get(client);
    if (!told) return;
    told.subject = null;
    if (told.via === null) this.#told.delete(client);
  }

  /** Who spoke for a client; null: nobody who was not it. */
  viaOf(client: number): string | null {
    return this.#told.get(client)?.via ?? null;
  }

  /** What another engine, or another process, is to know of a client. */
  describe(client: number): SpokenFor {
    const { now } = this.#thread;
    const { subject, via } = this.#told.get(client) ?? { subject: null, via: null };
    const until = this.#until.get(client);
    return {
      ...(via !== null && { via }),
      ...(subject !== null && { told: writeSubject(subject) }),
      ...(until !== undefined && { headerLeftMs: Math.max(0, until - now) }),
    };
  }

  /** A client comes from another process, of whom that was described. */
  adopt(client: number, { via, told, headerLeftMs }: SpokenFor): void {
    if (headerLeftMs !== undefined) this.#wait(client, headerLeftMs);
    if (via === undefined && told === undefined) return;
    this.#told.set(client, { subject: told === undefined ? null : readSubject(told), via: via ?? null });
  }

  /** A client is about to be closed. */
  forget(client: number): void {
    this.#until.delete(client);
    this.#told.delete(client);
  }
}
