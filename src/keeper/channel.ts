import { Socket } from 'node:net';
import { errorCode } from '../error.ts';
import { C } from '../sys/constants.ts';
import { closeFd, dupFd } from '../sys/descriptor.ts';
import { receiveMessage, sendMessage } from '../sys/message.ts';
import type { ReceivedMessage } from '../sys/message.ts';
import { isUnixEnd, openSocketPair, setSocketOption } from '../sys/socket.ts';
import { nextPause } from '../waiting.ts';
import type { PauseRange } from '../waiting.ts';

/**
 * One end of a channel. Messages and the descriptors that belong to them go over the datagram socket,
 * whole and in order. The stream tells that there is something to read, and that the other end is
 * gone: the runtimes can watch a stream, but cannot receive descriptors. On the stream, NUL is the
 * bell; anything else is a message that found no room elsewhere, on a line of its own.
 */
export type ChannelEnd = { stream: number; datagrams: number };

/** Longest message, in bytes. */
const maxMessageSize = 64 * 1024;
/** Most descriptors that go with a message. */
export const maxFds = 64;

/** Room for datagrams, in bytes: less than the stream has, so that their bells and a last word always fit there. */
const datagramRoom = 64 * 1024;

/** How long a sender waits for room before it tries again: at first, and at the longest. */
const retryMs: PauseRange = { first: 1, max: 250 };

/** Nothing wrong with the other end: it has not read what it was sent (it may be stopped), or the system is short of something. */
const passing: readonly (string | undefined)[] = ['EAGAIN', 'EWOULDBLOCK', 'ENOBUFS', 'ENOMEM', 'ETOOMANYREFS'];

/** A new channel; the ends are close-on-exec and the caller's. */
export function openChannel(): [ChannelEnd, ChannelEnd] {
  const [streamA, streamB] = openSocketPair('stream');
  try {
    const [datagramsA, datagramsB] = openSocketPair('datagram');
    return [
      { stream: streamA, datagrams: datagramsA },
      { stream: streamB, datagrams: datagramsB },
    ];
  } catch (error) {
    closeFd(streamA);
    closeFd(streamB);
    throw error;
  }
}

/** Close an end that no {@link Channel} owns. */
export function closeChannelEnd({ stream, datagrams }: ChannelEnd): void {
  closeFd(stream);
  closeFd(datagrams);
}

/** Whether these can be an end: whoever was given others in their place would speak into the void. */
export function isChannelEnd({ stream, datagrams }: ChannelEnd): boolean {
  return isUnixEnd(stream, 'stream') && isUnixEnd(datagrams, 'datagram');
}

/** The same end by other descriptors, which are close-on-exec and the caller's. */
export function copyChannelEnd({ stream, datagrams }: ChannelEnd): ChannelEnd {
  const copy = dupFd(stream);
  try {
    return { stream: copy, datagrams: dupFd(datagrams) };
  } catch (error) {
    closeFd(copy);
    throw error;
  }
}

/** What comes over a channel. */
export type ChannelEvents<Heard> = {
  /** `fds` are the receiver's to close. */
  onMessage(message: Heard, fds: number[]): void;
  /** The other end is gone, after its last message; once, and not when this end was closed. */
  onEnd(): void;
};

/** A message and the descriptors that go with it. */
export type Saying<Said> = { message: Said; fds: readonly number[] };

/** What waits for room; `discard` lets go of what it holds. */
type Waiting<Said> = { make: () => Saying<Said> | null; discard: () => void };

/** Talks over one end, which it owns from then on. It never blocks, and does not keep the process running. */
export class Channel<Said, Heard> {
  readonly end: ChannelEnd;
  readonly #socket: Socket;
  readonly #events: ChannelEvents<Heard>;
  readonly #waiting: Waiting<Said>[] = [];
  /** Received, and not yet told of. */
  readonly #inbox: ReceivedMessage[] = [];
  #retryTimer: NodeJS.Timeout | undefined;
  #pauseMs = retryMs.first;
  /** The line that has begun on the stream. */
  #line = '';
  #isOpen = true;

  constructor(end: ChannelEnd, events: ChannelEvents<Heard>) {
    this.end = end;
    this.#events = events;
    try {
      setSocketOption(end.datagrams, C.SOL_SOCKET, C.SO_SNDBUF, datagramRoom);
      this.#socket = new Socket({ fd: end.stream, readable: true, writable: false });
    } catch (error) {
      closeChannelEnd(end); // the other end hears that nobody listens
      throw error;
    }
    this.#socket.setEncoding('utf8');
    this.#socket.on('data', (text: string) => this.#listen(text));
    this.#socket.on('error', () => {}); // 'close' tells
    this.#socket.on('close', () => this.#finish());
    this.#socket.unref();
    // The bell of what lies there may have been heard by another image of this process.
    setImmediate(() => this.#drain());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Whether something that was said waits for room still. */
  get isBehind(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * Say something, with descriptors if need be, which stay the caller's. It has been sent when this
   * returns, or is as soon as the other end reads again. To an end that is gone nothing can be said:
   * `onEnd` then tells.
   */
  send(message: Said, fds: readonly number[] = []): void {
    if (!this.#isOpen || (!this.isBehind && this.#trySend({ message, fds }))) return;
    const copies = fds.map((fd) => dupFd(fd));
    this.#wait({ make: () => ({ message, fds: copies }), discard: () => copies.forEach(closeFd) });
  }

  /** As `send`, of what is so at the moment at which it can be sent; nothing when that is null. */
  sendCurrent(make: () => Saying<Said> | null): void {
    if (!this.#isOpen) return;
    const saying = this.isBehind ? null : make();
    if (this.isBehind || (saying !== null && !this.#trySend(saying))) this.#wait({ make, discard() {} });
  }

  /** Say one last thing without descriptors, which is heard even if the other end begins to read after this process has ended. */
  sendLast(message: Said): void {
    if (!this.#isOpen) return;
    if (!this.isBehind) this.#trySend({ message, fds: [] });
    try {
      // There too: what lies in the one queue is lost when the other end says something to this one, which is gone.
      sendMessage(this.end.stream, new TextEncoder().encode(`\0${JSON.stringify(message)}\n`));
    } catch {
      // Gone.
    }
  }

  /** Say a list of names with their descriptors, in as many messages as it takes. */
  sendAll(entries: Iterable<readonly [name: string, fd: number]>, message: (names: string[]) => Said): void {
    const all = [...entries];
    for (let i = 0; i < all.length; i += maxFds) {
      const some = all.slice(i, i + maxFds);
      this.send(
        message(some.map(([name]) => name)),
        some.map(([, fd]) => fd),
      );
    }
  }

  /** Close this end; `onEnd` is not called. */
  close(): void {
    if (!this.#isOpen) return;
    this.#release();
    this.#socket.destroy();
  }

  /** Have the open channel keep the process running. */
  ref(): void {
    this.#socket.ref();
  }

  /** False: there is no room for it now. */
  #trySend({ message, fds }: Saying<Said>): boolean {
    // To send to an end that is gone empties the queue of this one, last words and all (unix_dgram_disconnected in Linux).
    this.#collect();
    if (this.#inbox.length > 0) setImmediate(() => this.#drain());
    try {
      sendMessage(this.end.datagrams, new TextEncoder().encode(JSON.stringify(message)), { fds });
      this.#ring();
    } catch (error) {
      if (passing.includes(errorCode(error))) return false;
      this.#socket.destroy();
    }
    return true;
  }

  #wait(waiting: Waiting<Said>): void {
    this.#waiting.push(waiting);
    this.#retryTimer ??= setTimeout(() => this.#retry(), this.#pauseMs).unref();
  }

  #retry(): void {
    this.#retryTimer = undefined;
    this.#pauseMs = nextPause(this.#pauseMs, retryMs);
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      const saying = next.make();
      if (saying !== null && !this.#trySend(saying)) break;
      this.#waiting.shift();
      next.discard();
      this.#pauseMs = retryMs.first;
    }
    if (this.isBehind) this.#retryTimer = setTimeout(() => this.#retry(), this.#pauseMs).unref();
  }

  #ring(): void {
    try {
      sendMessage(this.end.stream, new Uint8Array(1));
    } catch {
      // Full: bells enough are waiting to be heard. Gone: 'close' tells.
    }
  }

  #listen(text: string): void {
    this.#drain();
    const lines = `${this.#line}${text.replaceAll('\0', '')}`.split('\n');
    this.#line = lines.pop() ?? '';
    for (const line of lines) if (this.#isOpen) this.#deliver(line, []);
  }

  #drain(): void {
    this.#collect();
    for (let received = this.#inbox.shift(); received; received = this.#inbox.shift()) {
      this.#deliver(new TextDecoder().decode(received.data), received.fds);
    }
  }

  /** A handler that throws is a mistake, and one for whoever hears of those that nobody has caught: the next message, and the end, are told all the same. */
  #deliver(text: string, fds: number[]): void {
    try {
      this.#events.onMessage(JSON.parse(text) as Heard, fds);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #collect(): void {
    if (!this.#isOpen) return;
    try {
      for (;;) {
        const received = receiveMessage(this.end.datagrams, { size: maxMessageSize, maxFds });
        if (received === null || received.data.length === 0) return;
        this.#inbox.push(received);
      }
    } catch {
      // The other end is gone; 'close' tells.
    }
  }

  #finish(): void {
    if (!this.#isOpen) return;
    this.#drain();
    if (!this.#isOpen) return;
    this.#release();
    this.#events.onEnd();
  }

  #release(): void {
    this.#isOpen = false;
    clearTimeout(this.#retryTimer);
    for (const { discard } of this.#waiting.splice(0)) discard();
    for (const { fds } of this.#inbox.splice(0)) fds.forEach(closeFd);
    closeFd(this.end.datagrams);
  }
}
