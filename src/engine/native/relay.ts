/** Bytes both ways, until both directions have ended. */
import { ENDINGS, errnosOf } from '../policy.ts';
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, UNIX_EVENTS } from './epoll-events.ts';
import { EAGAIN, EINTR, ENOBUFS, ENOMEM } from './errno.ts';
import { BULK_READ_SIZE, PIPE_SIZE, READ_SIZE } from './kernel.ts';
import {
  BLOCKED,
  BROKEN,
  CODED,
  ENDED,
  FROZEN,
  IS_UNIX,
  KIND_CLIENT,
  KIND_SERVER,
  LIMITED,
  READABLE,
  READ_TO_END,
  SHUT,
  SPLICING,
} from './connection-table.ts';
import { COPY_AFTER, Pipes, SPLICE_AFTER } from './pipes.ts';
import type { PipePart } from './pipes.ts';
import type { Thread } from './thread.ts';
import { Turns } from './turns.ts';
import { Wire } from './wire.ts';

/** Reads of one leg before the others have their turn. */
const READS_PER_TURN = 16;
/** The same of larger ones: as many bytes. */
const BULK_READS_PER_TURN = (READS_PER_TURN * READ_SIZE) / BULK_READ_SIZE;
/** So many well filled reads in a row, all of which were taken, are bulk. */
const BULK_AFTER = 2;
/** A write that failed so may succeed later; but for the first no event tells when. */
const PASSING: readonly number[] = [-EAGAIN, -EINTR, -ENOBUFS, -ENOMEM];

/** With these beside it, EPOLLRDHUP does not mean an end in order, or not all bytes before it come in one go. */
const END_EVENTS = EPOLLRDHUP | EPOLLERR | EPOLLPRI;
const ENDING_ERRNOS = errnosOf(ENDINGS);
const GOES_ON = { endsAfter: false };

/** Moves the bytes of the connections of one thread. What it reads and writes goes through `wire`, but for bulk, which is spliced. */
export class Relay {
  /** What it reads from and writes to. */
  readonly wire: Wire;
  readonly #thread: Thread;
  readonly #pipes: Pipes;
  /** What a leg has not taken yet: bytes of its own, or a part of a pipe. */
  readonly #leftovers = new Map<number, Uint8Array | PipePart>();
  readonly #turns: Turns;
  readonly #onTurn = { retry: (fd: number) => this.#retry(fd), read: (fd: number) => this.pump(fd) };

  constructor(thread: Thread) {
    this.#thread = thread;
    this.wire = new Wire(thread);
    this.#pipes = new Pipes(thread);
    this.#turns = new Turns(thread);
  }

  /** Both legs are there: send their preludes, and move what has come already. */
  begin(client: number): void {
    const { table } = this.#thread;
    const server = table.other(client);
    const generation = table.generation(server);
    if (table.has(server, BLOCKED)) this.#flush(server);
    if (table.generation(server) === generation && table.has(client, BLOCKED)) this.#flush(client);
    if (table.generation(server) === generation && table.has(client, READABLE)) this.pump(client);
    if (table.generation(server) === generation && table.has(server, READABLE)) this.pump(server);
  }

  /**
   * Both legs are there, the server is to be told something first: it goes in one packet with what the client has sent
   * already, which spares the server a wake-up.
   */
  beginWith(client: number, prelude: Uint8Array): void {
    const { table, kernel } = this.#thread;
    const server = table.other(client);
    if (!table.has(client, READABLE) || table.has(client, CODED) || table.has(server, CODED)) {
      this.setPrelude(server, prelude);
      return this.begin(client);
    }
    const generation = table.generation(server);
    kernel.input.set(prelude);
    const length = Math.max(0, kernel.receiveBehind(client, prelude.length)); // why there is none is read again
    if (length > 0) this.#count(client, length);
    const isAll = length > 0 && prelude.length + length < READ_SIZE && !table.has(client, READ_TO_END | IS_UNIX);
    if (isAll) table.clear(client, READABLE);
    const sent = kernel.sendInput(server, prelude.length + length);
    if (sent !== prelude.length + length)
      this.#notAllSent(client, server, sent, this.wire.rest(server, prelude.length + length, sent));
    if (table.generation(server) === generation) this.begin(client);
  }

  /** Events of a leg that has its other one. */
  handle(fd: number, mask: number): void {
    const { table } = this.#thread;
    const generation = table.generation(fd);
    if (mask & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) table.set(fd, READABLE | READ_TO_END);
    else if (mask & EPOLLIN) table.set(fd, READABLE);
    if (mask & EPOLLERR && this.#isBeyondReading(fd)) return this.#abort(fd, this.#thread.kernel.takeError(fd));
    if (mask & EPOLLOUT && table.has(fd, BLOCKED)) {
      this.#flush(fd);
      if (table.generation(fd) !== generation) return;
    }
    if (table.has(fd, READABLE))
      this.pump(fd, { endsAfter: (mask & END_EVENTS) === EPOLLRDHUP && !table.has(fd, IS_UNIX | CODED) });
  }

  /** Whether an error of this leg would not be found by reading from it. */
  #isBeyondReading(fd: number): boolean {
    const { table } = this.#thread;
    return table.has(fd, ENDED) || table.has(table.other(fd), BLOCKED | BROKEN);
  }

  /**
   * Move what there is to read from a leg to its other one. With `endsAfter` the end has come too, so
   * that a read which takes less than it could has taken the last there is: TCP gives bytes that lie
   * before the end in one go, but for urgent ones.
   */
  pump(from: number, { endsAfter }: { endsAfter: boolean } = GOES_ON): void {
    const { table } = this.#thread;
    const { wire } = this;
    const to = table.other(from);
    if (table.has(from, ENDED | FROZEN) || table.has(to, BLOCKED | BROKEN)) return;
    if (table.has(from, SPLICING)) return this.#splice(from, to);
    const isCoded = table.has(from, CODED) || table.has(to, CODED);
    const isBulk = isCoded && !table.has(from, LIMITED) && table.inRow(from) >= BULK_AFTER;
    const size = table.has(from, LIMITED) ? Math.min(this.#bufferOf(from), READ_SIZE) : sizeOf(isBulk);
    for (let reads = 0; reads < (isBulk ? BULK_READS_PER_TURN : READS_PER_TURN); reads++) {
      const length = wire.receive(from, size);
      if (length <= 0) {
        if (length === -EINTR) continue;
        return this.#readEnded(from, to, length);
      }
      this.#count(from, length);
      const isLast = endsAfter && length < size;
      const sent = wire.send(to, length, isLast);
      if (sent !== length) return this.#notAllSent(from, to, sent, wire.rest(to, length, sent));
      if (isLast) return this.#readEnded(from, to, 0);
      if (isCoded) table.countInRow(from, length >= READ_SIZE / 2);
      if (length < size) {
        // One short read after a full one is how bulk looks when it is fetched as it comes.
        if (reads === 0 && !isCoded) table.countInRow(from, false);
        if (table.has(from, READ_TO_END | IS_UNIX) || !wire.isDrained(from)) continue;
        table.clear(from, READABLE);
        return;
      }
      if (!isCoded && table.countInRow(from, true) >= SPLICE_AFTER && this.#maySplice(from)) {
        table.countInRow(from, false);
        table.set(from, SPLICING);
        return this.#splice(from, to);
      }
    }
    this.#turns.enqueue(from);
  }

  /** Whether bytes that need not be seen on their way may go all at once, and there is a pipe for them. */
  #maySplice(from: number): boolean {
    const { table } = this.#thread;
    if (table.has(from, LIMITED) && this.#bufferOf(from) < READ_SIZE) return false;
    return this.#pipes.isUsable;
  }

  /** Most bytes kept of one direction of a connection that is limited. */
  #bufferOf(fd: number): number {
    const { table, frontends } = this.#thread;
    return frontends.get(table.frontend(table.clientOf(fd)))?.plan.bufferBytes ?? READ_SIZE;
  }

  /** The same without copying: through a pipe, which never holds bytes from one call to the next but for a leg that is blocked. */
  #splice(from: number, to: number): void {
    const { table } = this.#thread;
    const size = table.has(from, LIMITED) ? this.#bufferOf(from) : PIPE_SIZE;
    for (let reads = 0; reads < READS_PER_TURN; reads++) {
      const moved = this.#pipes.move(from, to, size);
      if (moved.read === 0 || (moved.read < 0 && moved.read !== -EINTR)) {
        // Before an urgent byte a splice finds nothing, or the end, for good; a read goes beyond it.
        const mayBeUrgent = moved.read === 0 || (moved.read === -EAGAIN && table.has(from, READ_TO_END));
        if (!moved.isUnsupported && !mayBeUrgent) return this.#readEnded(from, to, moved.read);
        table.clear(from, SPLICING);
        table.countInRow(from, false);
        return this.pump(from);
      }
      this.#count(from, Math.max(0, moved.read));
      if (moved.rest !== null) {
        if (PASSING.includes(moved.written)) {
          this.#block(to, moved.rest);
          return this.#starveUnlessTold(to, moved.written);
        }
        this.#pipes.discard(moved.rest);
        return this.#writeFailed(from, to);
      }
      if (table.countInRow(from, moved.isSmall) >= COPY_AFTER) {
        table.clear(from, SPLICING);
        table.countInRow(from, false);
        return this.pump(from);
      }
    }
    this.#turns.enqueue(from);
  }

  #count(from: number, length: number): void {
    const { table, upstreams, now } = this.#thread;
    table.addBytes(from, length, now);
    if (table.has(from, KIND_CLIENT)) upstreams.get(table.upstream(from))!.counters.addIn(length);
    else upstreams.get(table.upstream(table.other(from)))!.counters.addOut(length);
  }

  #readEnded(from: number, to: number, result: number): void {
    const { table } = this.#thread;
    if (result === -EAGAIN) return table.clear(from, READABLE);
    if (result === -ENOMEM || result === -ENOBUFS) return this.#turns.starve(from);
    if (result < 0) return this.#abort(from, -result);
    // What it sent before its writes began to fail has all been passed on.
    if (table.has(from, BROKEN)) return this.#abort(from, 0);
    table.set(from, ENDED);
    table.clear(from, READABLE);
    table.set(to, SHUT);
    if (table.has(to, CODED) && !this.#isCutOff(from)) {
      const sent = this.wire.sendFarewell(to);
      if (sent <= 0) return this.#notAllSent(from, to, sent, this.wire.rest(to, 0, sent));
    }
    this.#shut(to);
  }

  /** Whether a client is not to be told that this was all: its destination did not say so. Clients often leave without a word. */
  #isCutOff(from: number): boolean {
    return this.#thread.table.has(from, KIND_SERVER) && this.wire.isTruncated(from);
  }

  /** All that was for a leg has been written. The connection is over when that holds for both; else our direction towards it is. */
  #shut(to: number): void {
    const { table, kernel } = this.#thread;
    const from = table.other(to);
    if (table.has(to, ENDED) && !table.has(from, BLOCKED))
      return this.#thread.end(table.clientOf(to), { stage: 'relay', why: 'finished', reason: null, reset: false });
    kernel.endSending(to); // ENOTCONN: it was reset, of which its own event tells
  }

  /** A leg did not take all. */
  #notAllSent(from: number, to: number, sent: number, rest: Uint8Array): void {
    // Of a slow reader no more is kept than has to be.
    this.#thread.table.countInRow(from, false);
    if (sent < 0 && !PASSING.includes(sent)) return this.#writeFailed(from, to);
    this.#block(to, rest);
    this.#starveUnlessTold(to, sent);
  }

  #block(to: number, leftover: Uint8Array | PipePart): void {
    const { table } = this.#thread;
    this.#leftovers.set(to, leftover);
    table.set(to, BLOCKED);
    this.#askForRoom(to, true);
  }

  #askForRoom(fd: number, isWanted: boolean): void {
    const { table, kernel } = this.#thread;
    // Setting the events anew gives one at once if there is room by now.
    if (table.has(fd, IS_UNIX))
      kernel.rewatch(fd, isWanted ? UNIX_EVENTS | EPOLLOUT : UNIX_EVENTS, table.generation(fd));
  }

  /** A leg takes bytes again. */
  #flush(to: number): void {
    const { table } = this.#thread;
    const from = table.other(to);
    const leftover = this.#leftovers.get(to);
    if (leftover instanceof Uint8Array) {
      const sent = this.#thread.kernel.send(to, leftover);
      if (sent !== leftover.length) {
        this.#leftovers.delete(to);
        return this.#notAllSent(from, to, sent, leftover.slice(Math.max(0, sent)));
      }
    } else if (leftover) {
      const written = this.#pipes.write(leftover, to);
      if (leftover.length > 0) {
        if (PASSING.includes(written)) return this.#starveUnlessTold(to, written);
        this.#pipes.discard(leftover);
        this.#leftovers.delete(to);
        return this.#writeFailed(from, to);
      }
      this.#pipes.giveBack(leftover);
    }
    this.#leftovers.delete(to);
    table.clear(to, BLOCKED);
    this.#askForRoom(to, false);
    // It was a farewell.
    if (table.has(to, SHUT)) return this.#shut(to);
    if (table.has(from, READABLE)) this.pump(from);
  }

  /**
   * A leg takes no more. What its peer sent before is passed on still, as it would have arrived
   * without us; then the other leg is reset.
   */
  #writeFailed(from: number, to: number): void {
    const { table } = this.#thread;
    table.clear(to, BLOCKED);
    table.set(to, BROKEN);
    if (table.has(to, ENDED) || table.has(from, BROKEN)) return this.#abort(to, 0);
    table.set(to, READABLE | READ_TO_END);
    this.pump(to);
  }

  /** A leg failed: the other one is reset. */
  #abort(fd: number, errno: number): void {
    const { table } = this.#thread;
    const failure = table.has(fd, CODED) ? this.wire.failureOf(fd) : null;
    const isPeersEnding = failure === null && (errno === 0 || ENDING_ERRNOS.includes(errno));
    const failed = failure === null ? { failures: [{ address: -1, errno }] } : { text: failure };
    const reason = isPeersEnding ? null : failed;
    const peersEnding = table.has(fd, KIND_CLIENT) ? 'client-reset' : 'upstream-reset';
    this.#thread.end(table.clientOf(fd), {
      stage: 'relay',
      why: isPeersEnding || (failure !== null && this.wire.isTruncated(fd)) ? peersEnding : 'error',
      reason,
      reset: true,
    });
  }

  /** A write was not taken whole: an event tells when there is room, but not when there is memory. */
  #starveUnlessTold(to: number, result: number): void {
    if (result < 0 && result !== -EAGAIN) this.#turns.starve(to);
  }

  /** Whether legs wait for their next turn. */
  get hasQueue(): boolean {
    return this.#turns.hasQueue;
  }

  /** When `runQueue` has something to do of which no event tells. */
  get wakeAt(): number {
    return this.#turns.wakeAt;
  }

  /** Give those that wait their turn. */
  runQueue(): void {
    this.#turns.run(this.#onTurn);
  }

  #retry(fd: number): void {
    const { table } = this.#thread;
    const generation = table.generation(fd);
    if (table.has(fd, BLOCKED)) this.#flush(fd);
    if (table.generation(fd) === generation && table.has(fd, READABLE)) this.pump(fd);
  }

  /** A leg is about to be closed. */
  forget(fd: number): void {
    this.#turns.forget(fd);
    if (this.#thread.table.has(fd, CODED)) this.wire.forget(fd);
    const leftover = this.#leftovers.get(fd);
    if (leftover === undefined) return;
    this.#leftovers.delete(fd);
    if (!(leftover instanceof Uint8Array)) this.#pipes.discard(leftover);
  }

  /** What a frozen leg has not taken yet. A pipe is emptied into memory. */
  pendingOf(fd: number): Uint8Array {
    const leftover = this.#leftovers.get(fd);
    if (leftover === undefined) return new Uint8Array(0);
    if (leftover instanceof Uint8Array) return leftover;
    const bytes = this.#pipes.drain(leftover);
    this.#leftovers.set(fd, bytes);
    return bytes;
  }

  /** Bytes that a leg has to take before any others, as its socket carries them. Before `begin`. */
  setPrelude(fd: number, bytes: Uint8Array): void {
    if (bytes.length > 0) this.#block(fd, bytes);
  }

  close(): void {
    this.#pipes.close();
  }
}

function sizeOf(isBulk: boolean): number {
  return isBulk ? BULK_READ_SIZE : READ_SIZE;
}
