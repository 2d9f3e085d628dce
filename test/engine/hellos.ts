/** What clients of TLS say first. */
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { readClientHello } from '../../src/engine/client-hello.ts';

/** What a client of node:tls says first. */
export async function helloOf(options: tls.ConnectionOptions): Promise<Buffer> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = tls.connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    servername: 'www.example.com',
    ...options,
  });
  client.on('error', () => {});
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  let bytes = Buffer.alloc(0);
  while (readClientHello(bytes) === 'more')
    bytes = Buffer.concat([bytes, ((await once(socket, 'data')) as [Buffer])[0]]);
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

/** A record of the handshake. */
export function record(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([22, 3, 1, bytes.length >> 8, bytes.length & 255]), bytes]);
}

/** A message in records of so many bytes. */
export function inRecords(message: Buffer, size: number): Buffer {
  const parts = [];
  for (let at = 0; at < message.length; at += size) parts.push(record(message.subarray(at, at + size)));
  return Buffer.concat(parts);
}

/** What goes into a ClientHello that is put together by hand. */
export type HelloParts = {
  /** Bytes of the name, as they are; null: none. */
  name?: string | null;
  protocols?: readonly string[];
  /** Length of an extension that nobody knows. */
  padding?: number;
  /** Further extensions, whole. */
  extensions?: readonly Buffer[];
};

/** The message alone, without records. */
export function helloMessage({ name = null, protocols = [], padding = 0, extensions = [] }: HelloParts): Buffer {
  const vector = (size: 1 | 2 | 3, bytes: Uint8Array) => {
    const length = Buffer.alloc(size);
    length.writeUIntBE(bytes.length, 0, size);
    return Buffer.concat([length, bytes]);
  };
  const extension = (type: number, data: Uint8Array) =>
    Buffer.concat([Buffer.from([type >> 8, type & 255]), vector(2, data)]);
  const all = [...extensions];
  if (name !== null)
    all.push(extension(0, vector(2, Buffer.concat([Buffer.from([0]), vector(2, Buffer.from(name, 'latin1'))]))));
  if (protocols.length > 0)
    all.push(extension(16, vector(2, Buffer.concat(protocols.map((each) => vector(1, Buffer.from(each, 'latin1')))))));
  if (padding > 0) all.push(extension(21, Buffer.alloc(padding)));
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 7),
    vector(1, Buffer.alloc(32, 9)),
    vector(2, Buffer.from([0x13, 1, 0x13, 2])),
    vector(1, Buffer.from([0])),
    vector(2, Buffer.concat(all)),
  ]);
  return Buffer.concat([Buffer.from([1]), vector(3, body)]);
}

/** The same in one record, as a client sends it. */
export function rawHello(parts: HelloParts): Buffer {
  return inRecords(helloMessage(parts), 16_384);
}
