/** What either side of a handshake says last, and what it says first behind it, in pieces that are cut at will. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { until } from '../../../until.ts';
import { readAll, readBytes } from '../../peers.ts';

const CHANGE_CIPHER_SPEC = 20;

/** Types of the records that bytes consist of, and where the last of them begins; null: they do not end with a record. */
function recordsOf(bytes: Buffer): { types: number[]; last: number } | null {
  const types: number[] = [];
  let [at, last] = [0, 0];
  while (at + 5 <= bytes.length) {
    types.push(bytes[at]!);
    last = at;
    at += 5 + bytes.readUInt16BE(at + 3);
  }
  return at === bytes.length ? { types, last } : null;
}

/** Keeps what one side writes from its flight of that number on. */
class Flights {
  held: Buffer = Buffer.alloc(0);
  #number = 0;
  #hasHeard = true;
  readonly #last: number;
  #isHolding = true;
  #wake = () => {};

  constructor(last: number) {
    this.#last = last;
  }

  heard(): void {
    this.#hasHeard = true;
  }

  /** Returns what may go on at once. */
  say(bytes: Buffer): Buffer | null {
    if (this.#hasHeard) this.#number++;
    this.#hasHeard = false;
    if (this.#number < this.#last || !this.#isHolding) return bytes;
    this.held = Buffer.concat([this.held, bytes]);
    this.#wake();
    return null;
  }

  /** Wait until that is so of what is held. */
  async until(isSo: (held: Buffer) => boolean): Promise<void> {
    while (!isSo(this.held)) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  release(): void {
    this.#isHolding = false;
  }
}

/** How many bytes the socket of the other end of a connection on this machine has not read. */
function unreadBy(port: number | undefined, from: number | undefined): number {
  if (port === undefined || from === undefined) return 0; // it has been given up

  const ending = (value: number) => `:${value.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n')) {
    const [, local = '', remote = '', , queues = ''] = line.trim().split(/\s+/);
    if (local.endsWith(ending(port)) && remote.endsWith(ending(from)))
      return Number.parseInt(queues.split(':')[1]!, 16);
  }
  return 0;
}

/** Send bytes, cut there, as far as that is within them; each piece once the one before has been read, or `isTaken` says so of it. */
export async function sendCut(
  socket: Socket,
  bytes: Buffer,
  cuts: readonly number[],
  isTaken: (sent: number) => boolean | null,
): Promise<void> {
  let sent = 0;
  const within = cuts.filter((cut) => cut > 0 && cut < bytes.length).toSorted((a, b) => a - b);
  for (const cut of [...within, bytes.length]) {
    await new Promise<void>((resolve) => socket.write(bytes.subarray(sent, cut), () => resolve()));
    sent = cut;
    if (cut < bytes.length)
      await until('a piece has been read', () => isTaken(cut) ?? unreadBy(socket.remotePort, socket.localPort) === 0);
  }
}

/** A client that has made its last flight, and has not sent it. */
export type Poised = {
  client: TLSSocket;
  carrier: Socket;
  bytes: Buffer;
  /** Where in these what it says first begins; their end, where it may not speak yet. */
  boundary: number;
  session: Promise<Buffer>;
  /** What it writes from now on goes out. */
  release(): void;
};

/**
 * Shake hands up to the last flight.
 *
 * @param flight its number among the client's
 * @param first what is said at once behind it; null: the server has to answer it before
 */
export async function poise(
  address: net.NetConnectOpts,
  { flight, first, ...options }: tls.ConnectionOptions & { flight: number; first: Buffer | null },
): Promise<Poised> {
  const carrier = net.connect({ noDelay: true, allowHalfOpen: true, ...address } as net.NetConnectOpts);
  carrier.on('error', () => {});
  const flights = new Flights(flight);
  const stream = new Duplex({
    read() {},
    write(bytes: Buffer, _, done) {
      const out = flights.say(bytes);
      if (out !== null) carrier.write(out);
      done();
    },
    final(done) {
      carrier.end();
      done();
    },
  });
  carrier
    .on('data', (data: Buffer) => {
      flights.heard();
      stream.push(data);
    })
    .on('end', () => stream.push(null));
  const client = tls.connect({ socket: stream, servername: 'www.example.com', rejectUnauthorized: false, ...options });
  client.on('error', () => {});
  const session = new Promise<Buffer>((resolve) => client.once('session', resolve));
  if (first === null) {
    const isFinished = (held: Buffer) => recordsOf(held)?.types.at(-2) === CHANGE_CIPHER_SPEC;
    await flights.until(isFinished);
  } else {
    await once(client, 'secureConnect');
    client.write(first);
    await flights.until((held) => isData(held, first.length));
  }
  const bytes = flights.held;
  const boundary = first === null ? bytes.length : recordsOf(bytes)!.last;
  return { client, carrier, bytes, boundary, session, release: () => flights.release() };
}

/** Let one go on that was poised before its last flight, with an echo behind it: it hears what it said first, and the end. */
export async function letGoOn({ client, carrier, bytes, release }: Poised, first: Buffer): Promise<void> {
  carrier.write(bytes);
  release();
  assert.equal(await readBytes(client, first.length), first.toString());
  client.end();
  assert.equal(await readAll(client), '');
}

/** Whether the last record has that many bytes of data, sealed by any suite of ours. */
function isData(bytes: Buffer, size: number): boolean {
  const records = recordsOf(bytes);
  const overhead = records === null ? 0 : bytes.length - records.last - 5 - size;
  return [16, 17, 24].includes(overhead);
}

/**
 * A way to a server of TLS: what that says from a flight of its own on is cut into pieces, once it has said so many bytes
 * of data behind it.
 *
 * @param cuts of the bytes by where the data begins
 */
export async function openSlowWay(
  port: number,
  { flight, size, cuts }: { flight: number; size: number; cuts: (boundary: number) => readonly number[] },
): Promise<AsyncDisposable & { port: number }> {
  const sockets: Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, async (from) => {
    const onward = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    for (const socket of [from, onward]) sockets.push(socket.on('error', () => {}));
    from.on('close', () => onward.destroy());
    onward.on('close', () => from.destroySoon());
    const flights = new Flights(flight);
    from
      .on('data', (data: Buffer) => {
        flights.heard();
        onward.write(data);
      })
      .on('end', () => onward.end());
    const pass = (data: Buffer) => {
      const out = flights.say(data);
      if (out !== null) from.write(out);
    };
    onward.on('data', pass);
    await flights.until((held) => isData(held, size));
    flights.release();
    onward.pause().off('data', pass);
    // A thread that has given it up reads no more, and one that is being moved not yet.
    await sendCut(from, flights.held, cuts(recordsOf(flights.held)!.last), () => (from.closed ? true : null));
    onward.pipe(from);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
