/**
 * Exchanges of a known number of bytes in each direction, of every kind that occurs between a client
 * and a server. What each sends is computed from a number, and both check every byte that comes.
 */
import net from 'node:net';
import { once } from 'node:events';
import { randomNumbers } from '../random.ts';
import type { Address } from './peers.ts';
import { Checker, pattern, seedsOf } from './soak-streams.ts';

export const kinds = [
  'both at once',
  'answer after the end',
  'end before the end',
  'client stalls',
  'server stalls',
  'client resets',
  'server resets',
] as const;
export type Kind = (typeof kinds)[number];

export type Exchange = { id: number; kind: Kind; bytesUp: number; bytesDown: number; stallMs: number };

/** The exchange of a number: most are small, some are megabytes. */
export function planExchange(seed: number, id: number): Exchange {
  const random = randomNumbers(Math.imul(seed, 1_000_003) + id);
  const size = () => Math.floor(2 ** (random() * 21));
  return {
    id,
    kind: kinds[Math.floor(random() * kinds.length)]!,
    bytesUp: size(),
    bytesDown: size(),
    stallMs: Math.floor(random() * 300),
  };
}

/** What one side saw. */
type Side = { received: number; wrongAt: number; ending: 'end' | 'reset' };

const HEAD_SIZE = 15;

function encode({ id, kind, bytesUp, bytesDown, stallMs }: Exchange): Buffer {
  const head = Buffer.alloc(HEAD_SIZE);
  head.writeUInt32BE(id, 0);
  head.writeUInt32BE(bytesUp, 4);
  head.writeUInt32BE(bytesDown, 8);
  head.writeUInt16BE(stallMs, 12);
  head.writeUInt8(kinds.indexOf(kind), 14);
  return head;
}

function decode(head: Buffer): Exchange {
  return {
    id: head.readUInt32BE(0),
    bytesUp: head.readUInt32BE(4),
    bytesDown: head.readUInt32BE(8),
    stallMs: head.readUInt16BE(12),
    kind: kinds[head.readUInt8(14)]!,
  };
}

/** Send so many bytes of a seed's stream, no faster than they are taken. */
async function send(socket: net.Socket, seed: number, bytes: number): Promise<void> {
  const source = pattern(seed);
  const period = source.length / 2;
  for (let sent = 0; sent < bytes && socket.writable;) {
    const start = sent % period;
    const piece = source.subarray(start, Math.min(start + 60_000, start + bytes - sent));
    sent += piece.length;
    if (!socket.write(piece))
      await new Promise<void>((resolve) => socket.once('drain', resolve).once('close', resolve));
  }
}

/** Check what comes until it has ended. */
function check(socket: net.Socket, checker: Checker): Promise<Side> {
  return new Promise((resolve) => {
    let hasEnded = false;
    socket.on('data', (data: Buffer) => checker.take(data));
    socket.on('error', () => {});
    socket.once('end', () => {
      hasEnded = true;
      // A reset after the end shows with the close.
      if (socket.writableEnded || !socket.writable) done();
      else socket.once('finish', done);
    });
    socket.once('close', done);
    function done(): void {
      resolve({ received: checker.received, wrongAt: checker.wrongAt, ending: hasEnded ? 'end' : 'reset' });
    }
  });
}

/** A reader that takes its time: the time is what is tested. */
async function stall(socket: net.Socket, milliseconds: number): Promise<void> {
  socket.pause();
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
  socket.resume();
}

export type ExchangeServer = AsyncDisposable & {
  address: Address;
  /** What the server saw of an exchange. */
  sideOf(id: number): Promise<Side>;
};

export async function openExchangeServer(): Promise<ExchangeServer> {
  const sides = new Map<number, PromiseWithResolvers<Side>>();
  const sideOf = (id: number) => {
    const known = sides.get(id) ?? Promise.withResolvers<Side>();
    sides.set(id, known);
    return known;
  };
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void serve(socket));
  const serve = async (socket: net.Socket) => {
    socket.on('error', () => {});
    let head = Buffer.alloc(0);
    while (head.length < HEAD_SIZE) {
      const piece = (socket.read(HEAD_SIZE - head.length) ?? socket.read()) as Buffer | null;
      if (piece) head = Buffer.concat([head, piece]);
      else if (socket.destroyed) return;
      else await new Promise<void>((resolve) => socket.once('readable', resolve).once('close', resolve));
    }
    const { id, kind, bytesUp, bytesDown, stallMs } = decode(head);
    const { up, down } = seedsOf(id);
    const checked = check(socket, new Checker(up));
    if (kind === 'server stalls') void stall(socket, stallMs);
    if (kind === 'answer after the end')
      await new Promise<void>((resolve) => socket.once('end', resolve).once('close', resolve));
    if (kind === 'server resets') {
      await send(socket, down, bytesDown >> 1);
      socket.resetAndDestroy();
    } else {
      await send(socket, down, bytesDown);
      socket.end();
    }
    const side = await checked;
    if (kind !== 'server resets' && side.received < bytesUp)
      await new Promise<void>((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));
    sideOf(id).resolve(side);
  };
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 });
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    address: { host: '127.0.0.1', port },
    sideOf: (id) => sideOf(id).promise,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

/** Carry an exchange out. Resolves with what was wrong; null: nothing. */
export async function carryOut(exchange: Exchange, address: Address, server: ExchangeServer): Promise<string | null> {
  const { id, kind, bytesUp, bytesDown, stallMs } = exchange;
  const { up, down } = seedsOf(id);
  const socket = net.connect({ ...address, allowHalfOpen: true, noDelay: true });
  await once(socket, 'connect');
  socket.write(encode(exchange));
  const first = new Promise<void>((resolve) => socket.once('data', () => resolve()).once('close', resolve));
  const checked = check(socket, new Checker(down));
  if (kind === 'client stalls') void stall(socket, stallMs);
  if (kind === 'end before the end')
    await new Promise<void>((resolve) => socket.once('end', resolve).once('close', resolve));
  if (kind === 'client resets') {
    // Not before the server has the connection: it would never come there.
    await Promise.all([first, send(socket, up, bytesUp >> 1)]);
    socket.resetAndDestroy();
  } else {
    await send(socket, up, bytesUp);
    if (!socket.destroyed) socket.end();
  }
  const client = await checked;
  // The server may never have had it.
  if (client.ending === 'reset' && !kind.endsWith('resets')) return 'the client saw a reset';
  const far = await server.sideOf(id);
  socket.destroy();
  const wrong = [client.wrongAt, far.wrongAt].find((at) => at !== -1);
  if (wrong !== undefined) return `wrong byte at ${wrong}`;
  if (kind === 'client resets') return far.ending === 'reset' ? null : 'the server saw an end instead of a reset';
  if (kind === 'server resets') return client.ending === 'reset' ? null : 'the client saw an end instead of a reset';
  if (far.ending === 'reset') return 'the server saw a reset';
  if (client.received !== bytesDown) return `${bytesDown} bytes were sent down and ${client.received} came`;
  return far.received === bytesUp ? null : `${bytesUp} bytes were sent up and ${far.received} came`;
}
