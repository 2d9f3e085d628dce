/**
 * Unix sockets on Deno. Its own servers and connections close the descriptor of each of them twice, one
 * call right after the other (seen in 2.9): in between, another thread may have been given the number, a
 * connection's of the native engine, say, which is then closed in its stead. What is adopted by its
 * descriptor is closed once: so they are connected and accepted here.
 */
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { closeFd } from '../sys/descriptor.ts';
import { waitUntilReadable } from '../sys/deno-poll.ts';
import { acceptSocket, connectSocket, openSocket, openSocketPair } from '../sys/socket.ts';
import type { Listener } from './listener.ts';

/** How long accepting rests when it has failed, in milliseconds. */
const restMs = 100;

type DenoUnixAcceptorOptions = {
  listener: Listener;
  accepted: (client: Socket) => void;
  failed: (error: Error) => void;
  isPaused?: boolean;
  opened?: () => void;
};

/** Accepts the clients of a listening Unix socket, as acceptor.ts has it. */
export class DenoUnixAcceptor {
  readonly #options: DenoUnixAcceptorOptions;
  readonly #fd: number;
  /** The first is closed to wake whoever waits for the second. */
  readonly #bell: readonly [number, number];
  readonly #finished: Promise<void>;
  #isOpen = true;

  constructor(options: DenoUnixAcceptorOptions) {
    this.#options = options;
    this.#fd = options.listener.dup();
    try {
      this.#bell = openSocketPair();
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
    this.#finished = this.#run();
  }

  close(): Promise<void> {
    if (this.#isOpen) {
      this.#isOpen = false;
      closeFd(this.#bell[0]);
    }
    return this.#finished;
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // nobody is told of anything before the constructor has returned
    this.#options.opened?.();
    while (this.#isOpen) {
      await waitUntilReadable([this.#fd, this.#bell[1]]);
      try {
        this.#acceptAll();
      } catch (error) {
        this.#options.failed(error instanceof Error ? error : new Error(String(error)));
        await delay(restMs);
      }
    }
    closeFd(this.#fd);
    closeFd(this.#bell[1]);
  }

  #acceptAll(): void {
    while (this.#isOpen) {
      const fd = acceptSocket(this.#fd);
      if (fd === null) return;
      this.#options.accepted(adoptUnix(fd, { isPaused: this.#options.isPaused ?? false }));
    }
  }
}

/**
 * Connect to a Unix socket. Each direction of it ends on its own.
 *
 * @throws SystemError: ENOENT, ECONNREFUSED, EACCES, EAGAIN when its queue is full; RangeError for a path that is too long.
 */
export function connectDenoUnix(path: string): Socket {
  const fd = openSocket('unix');
  try {
    connectSocket(fd, { family: 'unix', path });
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return adoptUnix(fd, { isPaused: false });
}

function adoptUnix(fd: number, { isPaused }: { isPaused: boolean }): Socket {
  // The types do not know of the last one, by which a server has its clients paused.
  const options = { fd, readable: true, writable: true, allowHalfOpen: true, pauseOnCreate: isPaused };
  try {
    return new Socket(options);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}
