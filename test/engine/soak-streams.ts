/**
 * Clients and a server that stream to each other what both can compute, so that a byte that is lost,
 * doubled or changed is found at once, and how long nothing came is known.
 */
import net from 'node:net';
import tls from 'node:tls';
import type { ConnectionOptions, TlsOptions } from 'node:tls';
import { once } from 'node:events';
import type { Address } from './peers.ts';

/** Byte `index` of the stream with this seed repeats after so many bytes, a prime: no shift by a buffer goes unseen. */
const PERIOD = 65_521;

/** Two periods of the stream of a seed, so that any stretch of up to one period is a part of it. */
function patternOf(seed: number): Buffer {
  const once_ = Buffer.alloc(PERIOD);
  let state = (seed * 2_654_435_761 + 12_345) >>> 0;
  for (let index = 0; index < PERIOD; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    once_[index] = state >>> 24;
  }
  return Buffer.concat([once_, once_]);
}

const patterns = new Map<number, Buffer>();
const SEEDS = 16;

export function pattern(seed: number): Buffer {
  const key = seed % SEEDS;
  let found = patterns.get(key);
  if (!found) patterns.set(key, (found = patternOf(key)));
  return found;
}

/** Checks what comes against the stream of a seed. */
export class Checker {
  received = 0;
  /** Offset of the first wrong byte; -1: none. */
  wrongAt = -1;
  lastAt = performance.now();
  worstGapMs = 0;
  readonly #pattern: Buffer;

  constructor(seed: number) {
    this.#pattern = pattern(seed);
  }

  take(data: Buffer): void {
    const now = performance.now();
    this.worstGapMs = Math.max(this.worstGapMs, now - this.lastAt);
    this.lastAt = now;
    for (let at = 0; at < data.length;) {
      const start = this.received % PERIOD;
      const part = data.subarray(at, at + PERIOD);
      if (this.wrongAt === -1 && part.compare(this.#pattern, start, start + part.length) !== 0)
        this.wrongAt = this.received;
      at += part.length;
      this.received += part.length;
    }
  }
}

/** Sends the stream of a seed, as fast as the peer takes it or a piece every so often, until it is ended. */
export class Sender {
  sent = 0;
  readonly #socket: net.Socket;
  readonly #pattern: Buffer;
  readonly #piece: number;
  readonly #pauseMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(socket: net.Socket, { seed, piece, pauseMs }: { seed: number; piece: number; pauseMs: number }) {
    this.#socket = socket;
    this.#pattern = pattern(seed);
    this.#piece = piece;
    this.#pauseMs = pauseMs;
    this.#send();
  }

  #send(): void {
    if (this.#isOver) return;
    const start = this.sent % PERIOD;
    const data = this.#pattern.subarray(start, start + this.#piece);
    this.sent += data.length;
    const next = () => (this.#timer = setTimeout(() => this.#send(), this.#pauseMs));
    if (this.#socket.write(data)) next();
    else this.#socket.once('drain', next);
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** Send no more, and end. Returns how much there was. */
  end(): number {
    this.stop();
    this.#socket.end();
    return this.sent;
  }
}

export type StreamServer = {
  address: Address;
  /** Connections that ever came to it, with `tls` those that have shaken hands. */
  readonly accepted: number;
  close(): Promise<void>;
};

/** Seeds of the two directions of a client. */
export const seedsOf = (id: number): { up: number; down: number } => ({ up: id, down: id + 7 });

/**
 * A server for `openStream`. A client says its number and the pace in eight bytes, and streams; the server streams back,
 * checks, and when the client has ended says in a last line how much came and what was wrong.
 */
export async function openStreamServer(
  address: Address = { host: '127.0.0.1', port: 0 },
  { tls: overTls }: { tls?: TlsOptions | undefined } = {},
): Promise<StreamServer> {
  const sockets = new Set<net.Socket>();
  const options = { allowHalfOpen: true, noDelay: true };
  let accepted = 0;
  const serve = (socket: net.Socket) => {
    accepted++;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    let head = Buffer.alloc(0);
    let checker: Checker | null = null;
    let sender: Sender | null = null;
    socket.on('data', (data: Buffer) => {
      if (checker) return checker.take(data);
      head = Buffer.concat([head, data]);
      if (head.length < 8) return;
      const { up, down } = seedsOf(head.readUInt32BE(0));
      checker = new Checker(up);
      sender = new Sender(socket, { seed: down, piece: head.readUInt16BE(4), pauseMs: head.readUInt16BE(6) });
      if (head.length > 8) checker.take(head.subarray(8));
    });
    socket.once('end', () => {
      const { received, wrongAt } = checker ?? { received: 0, wrongAt: -1 };
      const sent = sender?.sent ?? 0;
      const verdict = Buffer.alloc(24);
      verdict.writeDoubleBE(sent, 0);
      verdict.writeDoubleBE(received, 8);
      verdict.writeDoubleBE(wrongAt, 16);
      // After all that was written already.
      socket.write(verdict);
      sender?.end();
    });
  };
  const server =
    overTls === undefined ? net.createServer(options, serve) : tls.createServer({ ...options, ...overTls }, serve);
  if ('path' in address) server.listen({ path: address.path, backlog: 4096 });
  else server.listen({ ...address, backlog: 4096 });
  await once(server, 'listening');
  const bound = server.address();
  return {
    address:
      typeof bound === 'string' || bound === null ? { path: String(bound) } : { host: '127.0.0.1', port: bound.port },
    get accepted() {
      return accepted;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export type StreamResult = { bytesUp: number; bytesDown: number; worstGapMs: number; problem: string | null };

export type Stream = {
  socket: net.Socket;
  /** Bytes that have come so far. */
  readonly received: number;
  /** Longest time between two arrivals since the last call of this. */
  takeWorstGap(): number;
  /** End our direction, read to the end, and compare what both sides saw. */
  finish(): Promise<StreamResult>;
  /** Reset the connection. */
  abandon(): void;
};

/** A client of the server above. */
export async function openStream(
  address: Address,
  {
    id,
    piece = 4096,
    pauseMs = 20,
    tls: overTls,
  }: { id: number; piece?: number; pauseMs?: number; tls?: ConnectionOptions },
): Promise<Stream> {
  const plain = net.connect({ ...address, allowHalfOpen: true, noDelay: true });
  const socket = overTls === undefined ? plain : tls.connect({ ...overTls, socket: plain });
  await once(socket, overTls === undefined ? 'connect' : 'secureConnect');
  const head = Buffer.alloc(8);
  head.writeUInt32BE(id, 0);
  head.writeUInt16BE(piece, 4);
  head.writeUInt16BE(pauseMs, 6);
  socket.write(head);
  const { up, down } = seedsOf(id);
  const checker = new Checker(down);
  const sender = new Sender(socket, { seed: up, piece, pauseMs });
  // The last 24 bytes are the verdict and no part of the stream: always 24 are held back.
  let tail = Buffer.alloc(0);
  let error: Error | null = null;
  socket.on('data', (data: Buffer) => {
    const all = Buffer.concat([tail, data]);
    const length = Math.max(0, all.length - 24);
    if (length > 0) checker.take(all.subarray(0, length));
    tail = all.subarray(length);
  });
  socket.on('error', (reason) => (error = reason));
  return {
    socket,
    get received() {
      return checker.received;
    },
    takeWorstGap() {
      const gap = Math.max(checker.worstGapMs, performance.now() - checker.lastAt);
      checker.worstGapMs = 0;
      return gap;
    },
    abandon() {
      // Without an end before: closing with a reset fails while shutdown(2) is under way.
      sender.stop();
      socket.resetAndDestroy();
    },
    async finish() {
      // Node's TLS loses records that were read with one whose bytes it tells of at this moment, when it is ended then.
      await new Promise(setImmediate);
      const sent = sender.end();
      if (!socket.readableEnded && !socket.destroyed)
        await Promise.race([once(socket, 'end'), once(socket, 'close')]).catch(() => {}); // `error` has it
      socket.destroy();
      const [serverSent, serverReceived, serverWrongAt] =
        tail.length === 24 ? [0, 8, 16].map((at) => tail.readDoubleBE(at)) : [-1, -1, -1];
      const problem = error
        ? error.message
        : serverSent !== checker.received
          ? `${serverSent} bytes were sent down and ${checker.received} came`
          : serverReceived !== sent
            ? `${sent} bytes were sent up and ${serverReceived} came`
            : checker.wrongAt !== -1
              ? `wrong byte at ${checker.wrongAt} on the way down`
              : serverWrongAt !== -1
                ? `wrong byte at ${serverWrongAt} on the way up`
                : null;
      return { bytesUp: sent, bytesDown: checker.received, worstGapMs: checker.worstGapMs, problem };
    },
  };
}
