/** Clients and backends of the engine's tests, on real sockets. */
import { once } from 'node:events';
import net from 'node:net';
import type { Socket } from 'node:net';
import { plainLeg, resetLeg } from '../../src/engine/portable/leg.ts';

export type Address = { host: string; port: number } | { path: string };

/** A backend that hands its connections to whoever asks next. */
export type Backend = AsyncDisposable & {
  readonly address: Address;
  /** Port of a TCP backend. */
  readonly port: number;
  /** The next connection, paused, with both directions ending on their own. */
  next(): Promise<Socket>;
  /** How many connections there were. */
  readonly accepted: number;
  close(): Promise<void>;
};

export async function openBackend(where: { host?: string; port?: number } | { path: string } = {}): Promise<Backend> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const sockets = new Set<Socket>();
  const ready: Socket[] = [];
  const asking: ((socket: Socket) => void)[] = [];
  let accepted = 0;
  server.on('connection', (socket) => {
    accepted++;
    socket.on('error', () => {});
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    const ask = asking.shift();
    if (ask) ask(socket);
    else ready.push(socket);
  });
  const target = 'path' in where ? where : { host: '127.0.0.1', port: 0, ...where };
  server.listen(target);
  await once(server, 'listening');
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const close = async () => {
    if (!server.listening) return;
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  return {
    address: 'path' in where ? where : { host: where.host ?? '127.0.0.1', port },
    port,
    next: () =>
      new Promise((resolve) => {
        const socket = ready.shift();
        if (socket) resolve(socket);
        else asking.push(resolve);
      }),
    get accepted() {
      return accepted;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** A backend that sends everything back, and ends when its client does. */
export async function openEcho(where?: { host?: string } | { path: string }): Promise<Backend> {
  const backend = await openBackend(where);
  void (async () => {
    for (;;) {
      const socket = await backend.next();
      socket.pipe(socket);
    }
  })();
  return backend;
}

/** Connect; both directions end on their own. */
export async function connectTo(address: Address, options: { localAddress?: string } = {}): Promise<Socket> {
  const socket = net.connect({ ...address, ...options, allowHalfOpen: true });
  socket.on('error', () => {});
  // An engine that resets it at once may be faster than the news of the connection.
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()).once('close', () => resolve()));
  return socket;
}

/** Everything until the end, without closing the other direction. */
export function readAll(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    if (socket.readableEnded) return resolve('');
    if (socket.closed) return reject(new Error('closed without an end'));
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('end', () => resolve(Buffer.concat(chunks).toString('latin1')));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed without an end')));
    socket.resume();
  });
}

/** Everything until the peer is gone, in whatever way; the socket is closed. */
export async function readToClose(socket: Socket): Promise<string> {
  // A peer's end may be read by the runtime before anybody asks, and is told only once.
  if (socket.readableEnded) socket.destroy();
  if (socket.destroyed) {
    await closed(socket);
    return '';
  }
  const chunks: Buffer[] = [];
  socket
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .once('end', () => socket.destroy())
    .resume();
  await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(chunks).toString('latin1');
}

/** Exactly this many bytes; the socket is paused again. */
export function readBytes(socket: Socket, count: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const take = () => {
      const chunk = socket.read(count) as Buffer | null;
      if (chunk === null) return;
      socket.off('readable', take).off('close', closed);
      resolve(chunk.toString('latin1'));
    };
    const closed = () => reject(new Error(`closed before ${count} bytes came`));
    if (socket.closed) return closed();
    socket.on('readable', take).once('close', closed);
    take();
  });
}

/** How a peer's end shows: an orderly one, or a reset. */
export function endingOf(socket: Socket): Promise<'end' | 'reset'> {
  return new Promise((resolve) => {
    if (socket.readableEnded) return resolve('end');
    if (socket.closed) return resolve('reset');
    socket.once('end', () => resolve('end'));
    socket.once('error', () => resolve('reset'));
    socket.once('close', () => resolve('reset'));
    socket.resume();
  });
}

export async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await once(socket, 'close');
}

/** Reset a TCP connection; close a Unix one. */
export function reset(socket: Socket): void {
  resetLeg(plainLeg(socket));
}
