import { createServer, connect } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { EventEmitter, once } from 'node:events';

export type Tally = {
  served: number;
  refused: number;
  /** Accepted, and then cut off: by a daemon that was killed. */ cut: number;
  slowestMs: number;
};

/** A server on 127.0.0.1 that greets and ends. */
export async function startGreeter(): Promise<{ port: number; server: Server }> {
  const server = createServer((socket) => {
    socket.on('error', () => {}); // a client may be gone
    socket.end('hello\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, server };
}

/** Clients that connect one after the other, until they are told to stop; each waits for a greeting. */
export class ConnectingClients {
  readonly tally: Tally = { served: 0, refused: 0, cut: 0, slowestMs: 0 };
  readonly #port: number;
  readonly #loops: Promise<void>[];
  readonly #counted = new EventEmitter();
  #isOver = false;

  constructor(port: number, { count = 4 }: { count?: number } = {}) {
    this.#port = port;
    this.#loops = Array.from({ length: count }, () => this.#loop());
  }

  /** Resolves when so many more have been served, or one was refused; rejects when that takes too long. */
  async served(more: number, { limitMs = 120_000 } = {}): Promise<void> {
    const goal = this.tally.served + more;
    const signal = AbortSignal.timeout(limitMs);
    while (this.tally.served < goal && this.tally.refused === 0) await once(this.#counted, 'count', { signal });
  }

  async stop(): Promise<Tally> {
    this.#isOver = true;
    await Promise.all(this.#loops);
    return this.tally;
  }

  async #loop(): Promise<void> {
    while (!this.#isOver) {
      const begin = performance.now();
      const how = await this.#once();
      this.tally[how]++;
      this.#counted.emit('count');
      this.tally.slowestMs = Math.max(this.tally.slowestMs, Math.round(performance.now() - begin));
    }
  }

  #once(): Promise<'served' | 'refused' | 'cut'> {
    return new Promise((resolve) => {
      let text = '';
      let isConnected = false;
      const socket = connect({ port: this.#port, host: '127.0.0.1' });
      socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      socket.on('connect', () => (isConnected = true));
      socket.on('error', () => {}); // 'close' follows
      socket.on('close', () => resolve(text === 'hello\n' ? 'served' : isConnected ? 'cut' : 'refused'));
    });
  }
}
