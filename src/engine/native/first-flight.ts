/**
 * The last packet of a handshake, saved. A connect(2) is answered by the peer, and the kernel sends
 * an acknowledgement for the answer at once; told to hold it back (TCP_QUICKACK 0, tcp(7)), it lets
 * the acknowledgement ride on the first bytes, which spares a packet and the peer a wake-up.
 *
 * That is worth it where clients speak first. Where they do not, the acknowledgement is sent as soon
 * as every event of the round has been looked at, and further connects do without.
 */
import type { Thread, ThreadUpstream } from './thread.ts';
import { wayOf } from './way.ts';

const IPPROTO_TCP = 6;
const TCP_QUICKACK = 12;
/** How sure it can be that a destination's clients speak first; from the middle on it is believed. */
const SUREST = 7;
const BELIEVED_FROM = 4;

/** What a destination begins with. */
export const UNKNOWN_EAGERNESS = BELIEVED_FROM;

/** Decides for each connect of one thread whether its acknowledgement waits. */
export class FirstFlight {
  readonly #thread: Thread;
  /** Pairs of the descriptors of a server and its generation, for the connects that ended in this round. */
  #connected: number[] = [];

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** A socket is about to connect. */
  beforeConnect(fd: number, { eagerness }: ThreadUpstream): void {
    if (eagerness >= BELIEVED_FROM) this.#setQuickAck(fd, 0);
  }

  /** It is connected, and has its client. */
  connected(fd: number): void {
    this.#connected.push(fd, this.#thread.table.generation(fd));
  }

  /** After all events of a round: whoever has spoken has done so by now. */
  endRound(): void {
    if (this.#connected.length === 0) return;
    const connected = this.#connected;
    this.#connected = [];
    for (let at = 0; at < connected.length; at += 2) this.#look(connected[at]!, connected[at + 1]!);
  }

  #look(fd: number, generation: number): void {
    const { table } = this.#thread;
    if (table.generation(fd) !== generation) return;
    const client = table.other(fd);
    const upstream = wayOf(this.#thread, client);
    const hasSpoken = table.bytes(client) > 0;
    if (!hasSpoken && upstream.eagerness >= BELIEVED_FROM) this.#setQuickAck(fd, 1);
    upstream.eagerness = hasSpoken ? Math.min(SUREST, upstream.eagerness + 1) : Math.max(0, upstream.eagerness - 1);
  }

  #setQuickAck(fd: number, setting: 0 | 1): void {
    this.#thread.kernel.setOption(fd, IPPROTO_TCP, TCP_QUICKACK, setting);
  }
}
