/** TLS clients and backends of the engine's tests. */
import { after } from 'node:test';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { SslClient, SslServer, TlsClient, TlsServer } from '../../src/endpoint/model.ts';
import { openGate } from '../../src/engine/portable/gate.ts';
import { plainLeg, resetLeg } from '../../src/engine/portable/leg.ts';
import type { Gate } from '../../src/engine/portable/leg.ts';
import { makePemFiles } from '../endpoint/pem.ts';
import type { PemFiles } from '../endpoint/pem.ts';
import type { Address } from './peers.ts';

/** The suites whose records the native engine has, as Node calls them: three of TLS 1.3 and then three of 1.2. */
export const OWN_SUITES: readonly string[] = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
];

/** The files of one test file, made when first asked for and removed after its tests. */
export function pemFiles(): () => PemFiles {
  let files: PemFiles | undefined;
  after(() => files?.remove());
  return () => (files ??= makePemFiles());
}

export function read(path: string): string {
  return readFileSync(path, 'utf8');
}

/** A source that presents the certificate for www.example.com with its chain. */
export function sslFrom(pem: PemFiles, extras: Partial<SslServer> = {}): Partial<SslServer> {
  return {
    type: 'ssl',
    port: 0,
    privateKey: pem.key,
    certKey: pem.fullChain,
    sslmethod: null,
    interface: '',
    backlog: 50,
    extraCertChain: null,
    dhParameters: null,
    ...extras,
  };
}

export function tlsFrom(path: string, extras: Partial<TlsServer> = {}): Partial<TlsServer> {
  return { type: 'tls', path, port: 0, interface: '127.0.0.1', backlog: 50, ...extras };
}

/** A destination that trusts the test's root. */
export function sslTo(port: number, pem: PemFiles, extras: Partial<SslClient> = {}): SslClient {
  return {
    type: 'ssl',
    host: '127.0.0.1',
    port,
    timeout: 5,
    bindAddress: null,
    hostname: null,
    certKey: null,
    privateKey: null,
    caCertsDir: pem.caDir,
    ...extras,
  };
}

export function tlsTo(port: number, pem: PemFiles, extras: Partial<TlsClient> = {}): TlsClient {
  return {
    type: 'tls',
    host: '127.0.0.1',
    port,
    timeout: 5,
    bindAddress: null,
    certificate: null,
    privateKey: null,
    trustRoots: pem.caDir,
    endpoint: null,
    ...extras,
  };
}

/** Connect and shake hands, after other bytes perhaps; rejects when that fails. Both directions end on their own. */
export async function connectTls(
  address: Address,
  options: tls.ConnectionOptions,
  before?: Uint8Array,
): Promise<TLSSocket> {
  const carrier = net.connect({ ...address, allowHalfOpen: true });
  carrier.on('error', () => {});
  if (before) carrier.write(before);
  // A client needs what the engine needs to read from Deno's TLS as it likes.
  const { stream, gate } = openGate(plainLeg(carrier));
  const socket = tls.connect({ socket: stream, servername: 'www.example.com', ...options });
  await new Promise<void>((resolve, reject) => {
    socket
      .once('secureConnect', resolve)
      .once('error', reject)
      .once('close', () => reject(new Error('closed during the handshake')));
  });
  socket.on('error', () => {});
  carriers.set(socket, carrier);
  if (gate) gates.set(socket, gate);
  return socket;
}

const carriers = new WeakMap<TLSSocket, net.Socket>();
const gates = new WeakMap<TLSSocket, Gate>();

/** Stop reading from a client. */
export function stallTls(socket: TLSSocket): void {
  const gate = gates.get(socket);
  if (gate) gate.pause();
  else socket.pause();
}

export function resumeTls(socket: TLSSocket): void {
  gates.get(socket)?.resume();
  socket.resume();
}

/** Reset the TCP connection under a client's TLS. */
export function resetTls(socket: TLSSocket): void {
  const carrier = carriers.get(socket);
  if (carrier) resetLeg({ ...plainLeg(carrier), socket });
}

/** End the TCP connection under a client's TLS without a closing alert. */
export function truncateTls(socket: TLSSocket): void {
  carriers.get(socket)?.end();
}

export type TlsBackend = AsyncDisposable & {
  readonly port: number;
  readonly server: tls.Server;
  next(): Promise<TLSSocket>;
  /** End the TCP connection under one of its sockets without a closing alert. */
  truncate(socket: TLSSocket): void;
};

export async function openTlsBackend(options: tls.TlsOptions): Promise<TlsBackend> {
  const server = tls.createServer({ allowHalfOpen: true, ...options } as tls.TlsOptions);
  const ready: TLSSocket[] = [];
  const asking: ((socket: TLSSocket) => void)[] = [];
  const sockets = new Set<net.Socket>();
  // The TCP ones: one whose peer left in the middle of the handshake would stay.
  server.on('connection', (socket: net.Socket) => sockets.add(socket));
  server.on('tlsClientError', (_, socket) => socket.destroy());
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {});
    const ask = asking.shift();
    if (ask) ask(socket);
    else ready.push(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as net.AddressInfo).port,
    server,
    next: () =>
      new Promise((resolve) => {
        const socket = ready.shift();
        if (socket) resolve(socket);
        else asking.push(resolve);
      }),
    truncate({ remotePort }) {
      for (const carrier of sockets) if (carrier.remotePort === remotePort) carrier.end();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
