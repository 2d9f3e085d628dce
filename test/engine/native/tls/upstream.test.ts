/** TLS of destinations in the threads of the native engine: what all engines do is in tls-client-suite.ts. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import { fieldAt } from '../../../../src/engine/tally.ts';
import { until } from '../../../until.ts';
import { openNativeTls } from '../../native-engine.ts';
import { endingOf, openBackend, readAll, readBytes } from '../../peers.ts';
import { Rig } from '../../rig.ts';
import { connectTls, openTlsBackend, pemFiles, read, sslFrom, sslTo } from '../../tls-peers.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const identity = () => ({ key: read(pem().key), cert: read(pem().fullChain) });

for (const isBoth of [false, true]) {
  test(
    `a server of a suite whose records are not ours is served ${isBoth ? 'clients with TLS' : 'plain clients'}, and does not move`,
    options,
    async () => {
      await using rig = new Rig(openNativeTls);
      await using backend = await openTlsBackend({
        ...identity(),
        ciphers: 'ECDHE-ECDSA-AES128-SHA256',
        maxVersion: 'TLSv1.2',
      });
      const { address, upstream, connect } = await rig.forward({
        to: sslTo(backend.port, pem()),
        ...(isBoth && { from: sslFrom(pem()) }),
      });
      const client = isBoth ? await connectTls(address, { ca: read(pem().root) }) : await connect();
      const peer = await backend.next();
      peer.write('hello');
      assert.equal(await readBytes(client, 5), 'hello');
      const [listed] = await rig.engine.connections([upstream]);
      assert.equal(listed?.upstreamTls?.cipher, 'TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256');
      const sent = randomBytes(3_000_000);
      const received = readAll(peer);
      client.end(sent);
      assert.ok((await received) === sent.toString('latin1'));
      assert.equal((await (rig.engine as NativeEngine).mover.freeze(upstream, 10)).length, 0);
      const answer = readAll(client);
      peer.end(sent);
      assert.ok((await answer) === sent.toString('latin1'));
      assert.equal((await rig.endedConnections(1))[0]?.error, null);
      assert.equal(upstream.tally()[fieldAt('tls upstream TLSv1.2')], 1);
    },
  );
}

test('an upstream that is cut off is an end to a plain client, and none of TLS to one with TLS', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using backend = await openTlsBackend(identity());
  const plain = await rig.forward({ to: sslTo(backend.port, pem()) });
  const both = await rig.forward({ to: sslTo(backend.port, pem()), from: sslFrom(pem()) });
  const first = await plain.connect();
  const firstPeer = await backend.next();
  firstPeer.write('cut off');
  assert.equal(await readBytes(first, 7), 'cut off');
  backend.truncate(firstPeer);
  assert.equal(await endingOf(first), 'end');
  first.end();
  for (const isTruncated of [true, false]) {
    const carrier = net.connect({ ...(both.address as { host: string; port: number }), allowHalfOpen: true });
    const client = tls.connect({ socket: carrier, servername: 'www.example.com', ca: read(pem().root) });
    await once(client, 'secureConnect');
    const peer = await backend.next();
    peer.write('the answer');
    assert.equal(await readBytes(client, 10), 'the answer');
    const before = carrier.bytesRead;
    const ended = once(client, 'end');
    client.resume();
    if (isTruncated) backend.truncate(peer);
    else peer.end();
    await ended;
    assert.equal(carrier.bytesRead > before, !isTruncated, 'only an end that was announced is announced');
    client.destroy();
    peer.destroy();
  }
});

test('a destination is told of its client before TLS begins, again for each try', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using backend = await openBackend();
  await using behind = await openTlsBackend(identity());
  const { connect } = await rig.forward({
    to: sslTo(backend.port, pem(), { host: 'localhost', hostname: 'www.example.com', proxy: 'v1', retry: 30_000 }),
  });
  const client = await connect();
  const { localPort } = client;
  const headers: string[] = [];
  /** Up to the end of the header; what came behind it goes back. */
  const readHeader = async () => {
    const socket = await backend.next();
    let all = Buffer.alloc(0);
    while (!all.includes('\r\n')) {
      socket.resume();
      const [data] = (await once(socket, 'data')) as [Buffer];
      socket.pause();
      all = Buffer.concat([all, data]);
    }
    const end = all.indexOf('\r\n') + 2;
    headers.push(all.toString('latin1', 0, end));
    if (end < all.length) socket.unshift(all.subarray(end));
    return socket;
  };
  (await readHeader()).end();
  const carrier = await readHeader();
  carrier.pipe(net.connect(behind.port, '127.0.0.1')).pipe(carrier);
  const server = await behind.next();
  client.write('question');
  assert.equal(await readBytes(server, 8), 'question');
  assert.equal(headers[0], headers[1]);
  assert.match(headers[0]!, new RegExp(`^PROXY TCP4 127\\.0\\.0\\.1 127\\.0\\.0\\.1 ${localPort} [0-9]+\r\n$`));
  client.end();
  server.end();
  await rig.endedConnections(1);
});

test('what came to nothing is counted, and nothing is left of who was given up', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using silent = await openBackend();
  await using stranger = await openTlsBackend({ key: read(pem().otherKey), cert: read(pem().otherCert) });
  const slow = await rig.forward({ to: sslTo(silent.port, pem()) });
  const clients = await Promise.all(Array.from({ length: 20 }, () => slow.connect()));
  const sockets = [];
  for (const _ of clients) sockets.push(await silent.next());
  const ends = sockets.map((socket) => endingOf(socket));
  for (const client of clients) client.resetAndDestroy();
  await rig.endedConnections(clients.length);
  // It was told that nobody is there any more.
  await Promise.all(ends);
  assert.equal(slow.upstream.stats().dialing, 0);
  const refused = await rig.forward({ to: sslTo(stranger.port, pem(), { hostname: 'other.example' }) });
  assert.equal(await endingOf(await refused.connect()), 'reset');
  const end = (await rig.endedConnections(clients.length + 1)).at(-1);
  assert.equal(end?.reason, 'dial-tls-failed');
  assert.equal(refused.upstream.tally()[fieldAt('tls upstream failed')], 1);
  slow.upstream.forget();
  await until('its context is given back', () => (rig.engine as NativeEngine).kept.upstreams === 1);
});
