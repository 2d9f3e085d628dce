import { Socket } from 'node:net';
import { closeFd } from '../sys/descriptor.ts';
import { receiveMessage, sendMessage } from '../sys/message.ts';
import type { ReceivedMessage } from '../sys/message.ts';
import { openSocketPair, setSendTimeout } from '../sys/socket.ts';

/**
 * One end of a channel. Messages and the descriptors that belong to them go over the datagram socket,
 * whole and in order. The stream tells that there is something to read, and that the other end is
 * gone: the runtimes can watch a stream, but cannot receive descriptors.
 */
export type ChannelEnd = { stream: number; datagrams: number };

/** Longest message, in bytes. */
const longestMessage = 64 * 1024;
const mostFds = 64;

/** How long a sender waits for room; who does not read for so long is taken for dead. */
const sendTimeoutMs = 2000;

/** A new channel; the ends are close-on-exec and the caller's. */
export function openChannel(): [ChannelEnd, ChannelEnd] {
  const [streamA, streamB] = openSocketPair('stream');
  const [datagramsA, datagramsB] = openSocketPair('datagram');
  return [
    { stream: streamA, datagrams: datagramsA },
    { stream: streamB, datagrams: datagramsB },
  ];
}

export function closeChannelEnd({ stream, datagrams }: ChannelEnd): void {
  closeFd(stream);
  closeFd(datagrams);
}

export type ChannelEvents<Heard> = {
  /** `fds` are the receiver's to close. */
  onMessage(message: Heard, fds: number[]): void;
  /** The other end is gone, after its last message; once, and not when this end was closed. */
  onEnd(): void;
};

/** Talks over one end, which it owns from then on. It does not keep the process running. */
export class Channel<Said, Heard> {
  readonly end: ChannelEnd;
  readonly #socket: Socket;
  readonly #events: ChannelEvents<Heard>;
  #isOpen = true;

  constructor(end: ChannelEnd, events: ChannelEvents<Heard>) {
    this.end = end;
    this.#events = events;
    setSendTimeout(end.datagrams, sendTimeoutMs);
    this.#socket = new Socket({ fd: end.stream, readable: true, writable: false });
    this.#socket.on('data', () => this.#drain());
    this.#socket.on('error', () => {}); // 'close' tells
    this.#socket.on('close', () => this.#finish());
    this.#socket.unref();
    // The bell of what lies there may have been heard by another image of this process.
    setImmediate(() => this.#drain());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Say something, with descriptors if need be, which stay the caller's. It has been sent when this
   * returns. To an end that is gone, or does not read, nothing can be said: `onEnd` then tells.
   */
  say(message: Said, fds: readonly number[] = []): void {
    if (!this.#isOpen) return;
    try {
      sendMessage(this.end.datagrams, new TextEncoder().encode(JSON.stringify(message)), { fds, wait: true });
      this.#ring();
    } catch {
      this.#socket.destroy();
    }
  }

  /** Say a list of names with their descriptors, in as many messages as it takes. */
  sayAll(entries: Iterable<readonly [name: string, fd: number]>, message: (names: string[]) => Said): void {
    const all = [...entries];
    for (let i = 0; i < all.length; i += mostFds) {
      const some = all.slice(i, i + mostFds);
      this.say(message(some.map(([name]) => name)), some.map(([, fd]) => fd));
    }
  }

  /** Close this end; `onEnd` is not called. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeFd(this.end.datagrams);
    this.#socket.destroy();
  }

  /** Have the open channel keep the process running. */
  ref(): void {
    this.#socket.ref();
  }

  #ring(): void {
    try {
      sendMessage(this.end.stream, new Uint8Array(1));
    } catch {
      // Full: bells enough are waiting to be heard. Gone: 'close' tells.
    }
  }

  #drain(): void {
    while (this.#isOpen) {
      const received = this.#receive();
      if (received === null || received.data.length === 0) return;
      this.#events.onMessage(JSON.parse(new TextDecoder().decode(received.data)) as Heard, received.fds);
    }
  }

  #receive(): ReceivedMessage | null {
    try {
      return receiveMessage(this.end.datagrams, { size: longestMessage, maxFds: mostFds });
    } catch {
      return null; // the other end is gone; 'close' tells
    }
  }

  #finish(): void {
    if (!this.#isOpen) return;
    this.#drain();
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeFd(this.end.datagrams);
    this.#events.onEnd();
  }
}
