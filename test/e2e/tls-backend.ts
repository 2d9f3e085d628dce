/** A server with TLS behind grace, of Node, for www.example.com. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { createServer } from 'node:tls';
import type { TlsOptions, TLSSocket } from 'node:tls';
import type { PemFiles } from '../endpoint/pem.ts';

/** Start it, until the test ends. Returns its port. */
export async function startTlsBackend(
  t: TestContext,
  { key, fullChain }: Pick<PemFiles, 'key' | 'fullChain'>,
  serve: (socket: TLSSocket) => void,
  options: TlsOptions = {},
): Promise<number> {
  const server = createServer({ key: readFileSync(key), cert: readFileSync(fullChain), ...options }, (socket) => {
    socket.on('error', () => {}); // a test may reset it
    serve(socket);
  });
  server.on('tlsClientError', () => {}); // a client that refuses it
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}
