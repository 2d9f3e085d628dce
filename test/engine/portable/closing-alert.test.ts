/** The end of a client reaches a destination with TLS as such, however soon after the handshake it comes. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import { openPortableEngine } from '../../../src/engine/portable/engine.ts';
import { Rig } from '../rig.ts';
import { pemFiles, read, sslFrom, sslTo } from '../tls-peers.ts';

const pem = pemFiles();
/** Bytes of a record of TLS 1.3 that holds an alert and nothing else (RFC 8446, section 5.2): with its type and tag. */
const ALERT_RECORD = 5 + 2 + 1 + 16;

type Server = { port: number; lastRecords: Promise<number>[]; answers: EventEmitter };

/** A server with TLS, which says when it answers a ClientHello, and how long the last record was of each client that ended, so far. */
async function openServer(stack: AsyncDisposableStack): Promise<Server> {
  const lastRecords: Promise<number>[] = [];
  const answers = new EventEmitter();
  const behind = tls.createServer({ key: read(pem().key), cert: read(pem().fullChain) }, (socket) => {
    socket.on('error', () => {}).resume();
  });
  const front = net.createServer({ allowHalfOpen: true }, (client: Socket) => {
    const server = net.connect({
      port: (behind.address() as AddressInfo).port,
      host: '127.0.0.1',
      allowHalfOpen: true,
    });
    let sent = Buffer.alloc(0);
    lastRecords.push(
      new Promise((resolve) => {
        client.on('data', (part: Buffer) => void (sent = Buffer.concat([sent, part])));
        client.on('end', () => resolve(lastRecordOf(sent)));
      }),
    );
    for (const each of [client, server]) each.on('error', () => {});
    client.pipe(server).pipe(client);
    server.once('data', () => answers.emit('answer'));
  });
  for (const each of [behind, front]) {
    each.listen(0, '127.0.0.1');
    await once(each, 'listening');
    stack.defer(() => void each.close());
  }
  return { port: (front.address() as AddressInfo).port, lastRecords, answers };
}

function lastRecordOf(sent: Buffer): number {
  let last = 0;
  for (let at = 0; at < sent.length; at += last) last = 5 + sent.readUInt16BE(at + 3);
  return last;
}

test(
  'a client that ends with its handshake is no end cut off to a destination with TLS',
  { timeout: 120_000 },
  async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(new Rig(openPortableEngine));
    const server = await openServer(stack);
    const { address } = await rig.forward({ to: sslTo(server.port, pem()), from: sslFrom(pem()) });
    const connections = 80;
    for (let made = 0; made < connections; made++) {
      const client = tls.connect({
        ...address,
        rejectUnauthorized: false,
        maxVersion: 'TLSv1.2', // in 1.3 the tickets of the server let the client's end come later
      });
      client.on('error', () => {}).resume();
      // Both come to the engine in one turn.
      server.answers.once('answer', () => client.end());
      await once(client, 'close');
    }
    const lengths = await Promise.all(server.lastRecords);
    assert.equal(lengths.length, connections);
    assert.deepEqual([...new Set(lengths)], [ALERT_RECORD]);
  },
);
