/**
 * The life of the thread that shakes hands, with clients and with destinations, for all threads that move bytes: a burst of handshakes in one of
 * those would stall the bytes of all others by tens of milliseconds.
 *
 * No message is sent per client. A thread that has accepted one notes in the client's row of the key table who it is and
 * what for, and has the epoll of this thread watch it: the first event is the message. When the handshake is over, how it went is
 * in that row, with the keys, and the epoll of the other thread watches the client: again an event is the message. In
 * between, the client is this thread's alone; who wants it to end shuts its socket down, and waits.
 */
import { readClock } from '../clock.ts';
import { ConnectionTable } from '../connection-table.ts';
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLRDHUP, TCP_EVENTS } from '../epoll-events.ts';
import { EINTR } from '../errno.ts';
import { MAX_EVENTS, openKernel } from '../kernel.ts';
import { Mailbox } from '../mailbox.ts';
import type { HandshakeSettings, ThreadCommand, ThreadData } from '../messages.ts';
import { collectGarbage } from '../../../sys/garbage.ts';
import { ContextBook } from './context-book.ts';
import { FreedTickets } from './freed-tickets.ts';
import { Handshake } from './handshake.ts';
import type { Progress, Workshop } from './handshake.ts';
import { KeySchedule } from './key-schedule.ts';
import { DONE, FAILED, FOREIGN, GONE, KeyTable, LATE, MISNAMED, TOO_MANY, UNTRUSTED } from './key-table.ts';
import type { Outcome } from './key-table.ts';
import { openCrypto } from './library.ts';
import { Secrets } from './secrets.ts';
import { ServerHello } from './server-hello.ts';
import { openSsl } from './ssl-library.ts';

const MAX_WAIT_MS = 60_000;
/** The peer has said its last. */
const ENDING = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
/** Pause before a client is handed back again whom the system had no memory for. */
const RETRY_MS = 20;
/** Share of its time in which a handshake whose client speaks is not given up for another one. */
const SAFE_SHARE = 0.1;
const OUTCOMES = {
  done: DONE,
  foreign: FOREIGN,
  failed: FAILED,
  gone: GONE,
  untrusted: UNTRUSTED,
  misnamed: MISNAMED,
} as const satisfies Record<Exclude<Progress, 'waiting'>, Outcome>;

type Entry = {
  readonly handshake: Handshake;
  readonly context: bigint;
  readonly generation: number;
  readonly frontend: number;
  readonly timeoutMs: number;
  readonly until: number;
};

/** The loop of the calling thread. */
export class HandshakeLoop {
  readonly #workshop: Workshop;
  readonly #table: ConnectionTable;
  readonly #keys: KeyTable;
  readonly #mailbox: Mailbox;
  /** By descriptor, the oldest first. */
  readonly #entries = new Map<number, Entry>();
  /** The same by the time that they may take, so that of each the first is the one whose time is up first. */
  readonly #byTimeout = new Map<number, Map<number, Entry>>();
  /** Handshakes under way by the number of their frontend. */
  readonly #perFrontend = new Map<number, number>();
  /** Clients that could not be handed back yet, with their generations. */
  #owed = new Map<number, number>();
  #retryAt = Infinity;
  #now = readClock();
  #isStopped = false;
  readonly #limit: number;

  constructor(data: ThreadData, settings: HandshakeSettings) {
    const kernel = openKernel({ epollFd: settings.epollFd });
    const crypto = openCrypto();
    const ssl = openSsl();
    this.#table = new ConnectionTable(data.table);
    this.#keys = new KeyTable(settings.keys);
    this.#limit = settings.limit;
    const schedule = new KeySchedule(crypto, this.#keys);
    this.#mailbox = new Mailbox(kernel, data);
    this.#workshop = {
      kernel,
      ssl,
      secrets: new Secrets({ ssl, crypto, keys: this.#keys, schedule }),
      keys: this.#keys,
      contexts: new ContextBook({ ssl, crypto }),
      hello: new ServerHello({ ssl, crypto }),
      freed: new FreedTickets({ ssl, crypto }),
      memoryMethod: ssl.BIO_s_mem(),
      input: crypto.pin(16_384),
      output: crypto.pin(65_536),
    };
  }

  /** Returns when the thread is told to stop. Throws when the system does not let it wait. */
  run(): void {
    const { kernel } = this.#workshop;
    kernel.watch(this.#mailbox.wakeFd, EPOLLIN, 0);
    while (!this.#isStopped) {
      const count = kernel.wait(this.#waitMs());
      if (count < 0 && count !== -EINTR) throw new Error(`epoll_wait failed with errno ${-count}`);
      this.#now = readClock();
      for (let index = 0; index < count; index++) this.#handle(kernel.eventFd(index), index);
      this.#runDue();
      // With more, who is ready is not known yet.
      if (count < MAX_EVENTS) this.#workshop.contexts.freeForgotten();
    }
    for (const { handshake } of this.#entries.values()) handshake.close();
    this.#workshop.contexts.close();
    kernel.closeEpoll();
  }

  #waitMs(): number {
    let next = this.#retryAt;
    for (const entries of this.#byTimeout.values()) {
      const [first] = entries.values();
      next = Math.min(next, first!.until);
    }
    return next === Infinity ? MAX_WAIT_MS : Math.min(MAX_WAIT_MS, Math.max(0, Math.ceil(next - this.#now)));
  }

  #handle(fd: number, event: number): void {
    if (fd === this.#mailbox.wakeFd) return this.#readMailbox();
    const { kernel } = this.#workshop;
    const generation = kernel.eventGeneration(event);
    // The thread that had it died, and the main thread has closed it.
    if (this.#table.generation(fd) !== generation) return this.#forget(fd);
    const entry = this.#entries.get(fd);
    if (entry !== undefined && entry.generation !== generation) this.#forget(fd);
    const known = this.#entries.get(fd) ?? this.#begin(fd, generation);
    if (known !== null) this.#proceed(fd, known, { hasEnded: (kernel.eventMask(event) & ENDING) !== 0 });
  }

  #readMailbox(): void {
    this.#mailbox.read((command) => this.#execute(command));
  }

  #execute(command: ThreadCommand): void {
    if (this.#workshop.contexts.execute(command)) return;
    if (command.type === 'stop') this.#isStopped = true;
    if (command.type === 'trim-memory') collectGarbage();
    if (command.type === 'answer') this.#mailbox.send({ type: 'answered', question: command.question });
  }

  #begin(fd: number, generation: number): Entry | null {
    const { contexts } = this.#workshop;
    const frontend = this.#table.frontend(fd);
    const context = this.#keys.context(fd);
    // A client may be faster than the message that tells what its handshake is made with.
    if (!contexts.has(context)) this.#readMailbox();
    if (!contexts.has(context)) return this.#giveBack(fd, generation, GONE);
    const timeoutMs = contexts.timeoutMs(context);
    const count = this.#perFrontend.get(frontend) ?? 0;
    // Those towards destinations are as many as clients wait for them.
    const isOver = count >= this.#limit && contexts.serverOf(context) === null;
    if (isOver && !this.#makeRoom(frontend)) return this.#giveBack(fd, generation, TOO_MANY);
    const entry: Entry = {
      handshake: new Handshake(this.#workshop, fd, context),
      context,
      generation,
      frontend,
      timeoutMs,
      until: this.#now + timeoutMs,
    };
    contexts.enter(context);
    this.#entries.set(fd, entry);
    const alike = this.#byTimeout.get(timeoutMs) ?? new Map<number, Entry>();
    this.#byTimeout.set(timeoutMs, alike.set(fd, entry));
    this.#perFrontend.set(frontend, (this.#perFrontend.get(frontend) ?? 0) + 1);
    return entry;
  }

  /**
   * Give one up, the oldest of those that have not said a word, or of all. Who comes in crowds must not keep others from finishing,
   * and what was spent on a handshake is not thrown away for another one: who speaks has a share of the time to finish in.
   * Returns whether there is room.
   */
  #makeRoom(frontend: number): boolean {
    let oldest: number | null = null;
    for (const [fd, { handshake, until, timeoutMs, frontend: its }] of this.#entries) {
      if (its !== frontend) continue;
      if (!handshake.hasHeard) return this.#giveUp(fd);
      if (until - (1 - SAFE_SHARE) * timeoutMs <= this.#now) oldest ??= fd;
    }
    return oldest !== null && this.#giveUp(oldest);
  }

  #giveUp(fd: number): true {
    this.#finish(fd, TOO_MANY);
    return true;
  }

  #proceed(fd: number, entry: Entry, peer: { hasEnded: boolean }): void {
    const progress = entry.handshake.proceed(peer);
    if (progress !== 'waiting') this.#finish(fd, OUTCOMES[progress], entry.handshake.error);
  }

  #finish(fd: number, outcome: Outcome, error = 0): void {
    const generation = this.#entries.get(fd)?.generation;
    this.#forget(fd);
    if (generation === undefined || this.#table.generation(fd) !== generation) return;
    this.#giveBack(fd, generation, outcome, error);
  }

  #giveBack(fd: number, generation: number, outcome: Outcome, error = 0): null {
    this.#workshop.kernel.unwatch(fd);
    this.#keys.setOutcome(fd, outcome, error);
    this.#handBack(fd, generation);
    return null;
  }

  #handBack(fd: number, generation: number): void {
    const { kernel } = this.#workshop;
    if (kernel.watchFrom(this.#keys.owner(fd), fd, TCP_EVENTS, generation) >= 0) return;
    this.#owed.set(fd, generation);
    this.#retryAt = this.#now + RETRY_MS;
  }

  #runDue(): void {
    for (const entries of this.#byTimeout.values()) {
      for (const [fd, { until }] of entries) {
        if (this.#now < until) break;
        this.#finish(fd, LATE);
      }
    }
    if (this.#now < this.#retryAt) return;
    const owed = this.#owed;
    this.#owed = new Map();
    this.#retryAt = Infinity;
    for (const [fd, generation] of owed) {
      if (this.#table.generation(fd) === generation) this.#handBack(fd, generation);
    }
  }

  #forget(fd: number): void {
    const entry = this.#entries.get(fd);
    if (entry === undefined) return;
    this.#entries.delete(fd);
    const alike = this.#byTimeout.get(entry.timeoutMs)!;
    alike.delete(fd);
    if (alike.size === 0) this.#byTimeout.delete(entry.timeoutMs);
    entry.handshake.close();
    this.#workshop.contexts.leave(entry.context);
    const left = this.#perFrontend.get(entry.frontend)! - 1;
    if (left === 0) this.#perFrontend.delete(entry.frontend);
    else this.#perFrontend.set(entry.frontend, left);
  }
}
