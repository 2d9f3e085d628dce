/** A server behind grace, which can be slow, and can crash and come back at the same address. */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { seedsOf } from '../../test/engine/soak-streams.ts';
import type { Accounts } from './accounts.ts';
import type { Pacer } from './pacer.ts';
import { takeProxyHeader } from './proxy-header.ts';
import { playServer } from './script.ts';
import { Side } from './side.ts';

/** First bytes of each connection, before its number in four bytes. */
const MAGIC = Buffer.from('soak');

/** What a client says first: its number. */
export function headOf(id: number): Buffer {
  const head = Buffer.alloc(MAGIC.length + 4);
  MAGIC.copy(head);
  head.writeUInt32BE(id, MAGIC.length);
  return head;
}

/** How a destination is made. */
export type DestinationOptions = {
  name: string;
  /** Where it listens; a port is chosen. */
  at: { host: string } | { path: string };
  /** Its clients are told of by a PROXY header. */
  isTold: boolean;
  /** Key and certificate; it speaks TLS. */
  identity: { key: string; cert: string } | null;
  accounts: Accounts;
  pacer: Pacer;
};

/** See the head of the file. */
export class Destination {
  readonly name: string;
  readonly #options: DestinationOptions;
  readonly #sockets = new Set<net.Socket>();
  #server: net.Server | null = null;
  #port = 0;
  #isSlow = false;

  constructor(options: DestinationOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** Where it listens, as a client endpoint of TCP or of a Unix socket. */
  get endpoint(): string {
    const { at } = this.#options;
    return 'path' in at ? `unix:${at.path}` : `tcp:${at.host}:${this.#port}`;
  }

  /** Its port, of a destination that has one. */
  get port(): number {
    return this.#port;
  }

  /** Listen, the second time where it did the first. */
  async open(): Promise<void> {
    const { at, identity } = this.#options;
    const take = (socket: net.Socket) => this.#take(socket);
    const server = identity
      ? tls.createServer({ ...identity, allowHalfOpen: true } as tls.TlsOptions, take).on('tlsClientError', () => {})
      : net.createServer({ allowHalfOpen: true, noDelay: true }, take);
    // Of TLS the socket below: one whose handshake is not done is no connection yet.
    server.on('connection', (socket: net.Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.listen({ ...('path' in at ? at : { ...at, port: this.#port }), backlog: 4096 });
    await once(server, 'listening');
    const address = server.address();
    if (typeof address === 'object' && address) this.#port = address.port;
    this.#server = server;
  }

  /** Stop listening and cut all connections off. */
  crash(): void {
    this.#server?.close();
    this.#server = null;
    for (const socket of this.#sockets) {
      if (this.#options.identity || 'path' in this.#options.at) socket.destroy();
      else socket.resetAndDestroy();
    }
  }

  /** Read nothing from now on, or go on reading. */
  beSlow(isSlow: boolean): void {
    this.#isSlow = isSlow;
    for (const socket of this.#sockets) socket[isSlow ? 'pause' : 'resume']();
  }

  #take(socket: net.Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {}); // the side, if there is one, tells of it
    if (this.#isSlow) socket.pause();
    const { isTold, accounts } = this.#options;
    let first = Buffer.alloc(0);
    let isSilent = true;
    const takeFirst = (data: Buffer) => {
      first = Buffer.concat([first, data]);
      const header = isTold ? takeProxyHeader(first) : { length: 0, client: null };
      if (!header || first.length < header.length + MAGIC.length + 4) return;
      isSilent = false;
      socket.off('data', takeFirst).off('close', forget);
      this.#serve(socket, { seenAs: header.client, first: first.subarray(header.length) });
    };
    const forget = () => void accounts.silent++;
    socket.on('data', takeFirst).once('close', forget).once('end', endIfSilent);
    function endIfSilent(): void {
      if (isSilent) socket.end();
    }
  }

  #serve(socket: net.Socket, { seenAs, first }: { seenAs: string | null; first: Buffer }): void {
    const { accounts, pacer } = this.#options;
    const entry = accounts.open.get(first.readUInt32BE(MAGIC.length));
    if (!entry || !first.subarray(0, MAGIC.length).equals(MAGIC) || entry.server) {
      // One that was lost may come late, when its client is long gone.
      if (!first.subarray(0, MAGIC.length).equals(MAGIC)) accounts.fail(`${this.name} got what nobody has sent`);
      else if (entry) accounts.fail(`${this.name} got connection ${entry.plan.id} a second time`);
      socket.destroy();
      return;
    }
    const { up, down } = seedsOf(entry.plan.id);
    entry.cameTo = this.name;
    entry.seenAs = seenAs;
    entry.server = new Side(socket, { sends: down, expects: up, first: first.subarray(MAGIC.length + 4) });
    void playServer(entry.server, entry.plan, pacer).then(() => entry.served.resolve());
  }
}
