/** TLS sessions with destinations: later connections go on with them, and with those alone that they may. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type tls from 'node:tls';
import type { SslClient } from '../../../../src/endpoint/model.ts';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import { fieldAt } from '../../../../src/engine/tally.ts';
import { until } from '../../../until.ts';
import { openNativeTls } from '../../native-engine.ts';
import { closed, endingOf, readAll, readBytes } from '../../peers.ts';
import { Rig } from '../../rig.ts';
import type { Forward } from '../../rig.ts';
import { openTlsBackend, pemFiles, read, sslTo } from '../../tls-peers.ts';
import type { TlsBackend } from '../../tls-peers.ts';
import { Passage } from './passage.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const identity = () => ({ key: read(pem().key), cert: read(pem().fullChain) });

/** A connection over which bytes went both ways, and then ended. Returns whether the server says that it was resumed. */
async function visit({ connect }: Forward, backend: TlsBackend): Promise<boolean> {
  const client = await connect();
  const peer = await backend.next();
  client.write('question');
  assert.equal(await readBytes(peer, 8), 'question');
  peer.write('answer');
  assert.equal(await readBytes(client, 6), 'answer');
  const isReused = peer.isSessionReused();
  client.end();
  peer.end();
  await Promise.all([closed(client), readAll(peer)]);
  return isReused;
}

async function visits(count: number, ...args: Parameters<typeof visit>): Promise<boolean[]> {
  const results: boolean[] = [];
  while (results.length < count) results.push(await visit(...args));
  return results;
}

const kinds: readonly [string, tls.TlsOptions][] = [
  ['TLS 1.3', {}],
  ['TLS 1.3 with ChaCha20', { ciphers: 'TLS_CHACHA20_POLY1305_SHA256' }],
  ['TLS 1.2', { maxVersion: 'TLSv1.2' }],
  ['TLS 1.2 with records of libssl', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }],
];

for (const [kind, extras] of kinds)
  test(
    `${kind}: all connections but the first go on with a session, which is said of them as ever`,
    options,
    async () => {
      await using rig = new Rig(openNativeTls);
      await using backend = await openTlsBackend({ ...identity(), ...extras });
      const forward = await rig.forward({ to: sslTo(backend.port, pem(), { hostname: 'www.example.com' }) });
      assert.deepEqual(await visits(5, forward, backend), [false, true, true, true, true]);
      const client = await forward.connect();
      const peer = await backend.next();
      peer.write('hello');
      assert.equal(await readBytes(client, 5), 'hello');
      const [listed] = await rig.engine.connections([forward.upstream]);
      assert.equal(listed?.upstreamTls?.version, peer.getProtocol());
      assert.equal(listed?.upstreamTls?.cipher, peer.getCipher().standardName);
      const sent = randomBytes(1_000_000);
      const received = readAll(peer);
      client.end(sent);
      assert.ok((await received) === sent.toString('latin1'));
      peer.end();
      const counted = (name: string) => forward.upstream.tally()[fieldAt(`tls upstream ${name}`)];
      assert.deepEqual([counted(peer.getProtocol()!), counted('resumed')], [6, 5]);
    },
  );

test('many connections at once each go on with a session', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using backend = await openTlsBackend(identity());
  const { connect } = await rig.forward({ to: sslTo(backend.port, pem()) });
  const round = async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => connect()));
    const peers = await Promise.all(clients.map(() => backend.next()));
    for (const peer of peers) peer.write('answer');
    assert.deepEqual(new Set(await Promise.all(clients.map((client) => readBytes(client, 6)))), new Set(['answer']));
    for (const client of clients) client.destroy();
    return peers.filter((peer) => peer.isSessionReused()).length;
  };
  await round();
  for (let again = 0; again < 3; again++) assert.equal(await round(), 20);
});

test('a server that does not know a session gets a full handshake, and then gives another', options, async () => {
  await using rig = new Rig(openNativeTls);
  for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
    await using backend = await openTlsBackend({ ...identity(), maxVersion });
    const forward = await rig.forward({ to: sslTo(backend.port, pem()) });
    assert.deepEqual(await visits(3, forward, backend), [false, true, true]);
    backend.server.setTicketKeys(randomBytes(48));
    assert.deepEqual(await visits(3, forward, backend), [false, true, true], maxVersion);
  }
});

test('a certificate that has changed meanwhile is verified where the session is not taken', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using backend = await openTlsBackend(identity());
  const forward = await rig.forward({ to: sslTo(backend.port, pem()) });
  assert.deepEqual(await visits(2, forward, backend), [false, true]);
  await rig.endedConnections(2); // threads tell of theirs each for itself
  backend.server.setSecureContext({ key: read(pem().otherKey), cert: read(pem().otherCert) });
  backend.server.setTicketKeys(randomBytes(48));
  assert.equal(await endingOf(await forward.connect()), 'reset');
  const ended = await rig.endedConnections(3);
  assert.match(ended[2]?.error?.message ?? '', /its certificate is not trusted/);
  backend.server.setSecureContext(identity());
  assert.deepEqual(await visits(2, forward, backend), [false, true]);
});

test('sessions are of one destination as it is configured, and of what was read of it last', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using backend = await openTlsBackend(identity());
  const kindsOf: readonly Partial<SslClient>[] = [
    { insecure: true, caCertsDir: null },
    { hostname: 'www.example.com' },
    { hostname: 'sub.example.org' },
    { alpn: ['http/1.1'] },
    { certKey: pem().fullChain, privateKey: pem().key },
    {},
    {}, // as after a reload
  ];
  for (const extras of kindsOf) {
    const forward = await rig.forward({ to: sslTo(backend.port, pem(), extras) });
    assert.deepEqual(await visits(2, forward, backend), [false, true], JSON.stringify(extras));
  }
  for (const extras of [{ caCertsDir: null }, { hostname: 'www.example.net' }]) {
    const { connect } = await rig.forward({ to: sslTo(backend.port, pem(), extras) });
    for (let attempt = 0; attempt < 2; attempt++)
      assert.equal(await endingOf(await connect()), 'reset', JSON.stringify(extras));
  }
});

test(
  'when files say something new no session from before is offered, and one that is not trusted any more is refused',
  options,
  async () => {
    await using rig = new Rig(openNativeTls);
    for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
      await using backend = await openTlsBackend({ ...identity(), maxVersion });
      const caCertsDir = mkdtempSync(join(rig.dir, 'trusted-'));
      const trust = (cert: string) => copyFileSync(cert, join(caCertsDir, 'ca.pem'));
      trust(pem().root);
      const forward = await rig.forward({ to: sslTo(backend.port, pem(), { caCertsDir }) });
      const { upstream, connect } = forward;
      assert.deepEqual(await visits(2, forward, backend), [false, true]);
      trust(pem().root);
      upstream.reload();
      assert.deepEqual(await visits(2, forward, backend), [true, true], 'files that say the same');
      copyFileSync(pem().otherCert, join(caCertsDir, 'more.pem'));
      upstream.reload();
      assert.deepEqual(await visits(2, forward, backend), [false, true], 'one authority more');
      rmSync(join(caCertsDir, 'more.pem'));
      upstream.reload();
      assert.deepEqual(await visits(2, forward, backend), [false, true], 'one authority less');
      trust(pem().otherCert);
      assert.equal(await visit(forward, backend), true, 'nobody has read it yet');
      upstream.reload();
      for (let attempt = 0; attempt < 2; attempt++) assert.equal(await endingOf(await connect()), 'reset');
      trust(pem().root);
      upstream.reload();
      assert.deepEqual(await visits(2, forward, backend), [false, true], maxVersion);
      // What is bad changes nothing.
      trust(pem().junk);
      assert.throws(() => upstream.reload(), { name: 'EndpointError' });
      assert.equal(await visit(forward, backend), true, maxVersion);
    }
  },
);

test('files of destinations among which is chosen are read anew, too', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using backend = await openTlsBackend(identity());
  const caCertsDir = mkdtempSync(join(rig.dir, 'trusted-'));
  copyFileSync(pem().root, join(caCertsDir, 'ca.pem'));
  const endpoint = sslTo(backend.port, pem(), { caCertsDir });
  const { connect, upstream } = await rig.forward({
    to: { type: 'sni', routes: [{ name: 'www.example.com', alpn: null, endpoint }], default: endpoint },
  });
  const isReused = async () => {
    const client = await connect();
    client.write('this is no TLS');
    const peer = await backend.next();
    peer.end('answer');
    const answer = readAll(client);
    client.end();
    assert.equal(await answer, 'answer');
    return peer.isSessionReused();
  };
  assert.deepEqual([await isReused(), await isReused()], [false, true]);
  upstream.reload();
  assert.deepEqual([await isReused(), await isReused()], [true, true], 'its files say the same');
  copyFileSync(pem().otherCert, join(caCertsDir, 'ca.pem'));
  upstream.reload();
  const refused = await connect();
  refused.write('this is no TLS');
  assert.equal(await endingOf(refused), 'reset');
});

test(
  'a handshake that began before files were read anew ends as it began, and leaves no session',
  options,
  async () => {
    await using rig = new Rig(openNativeTls);
    await using backend = await openTlsBackend(identity());
    const held: (() => void)[] = [];
    let isHolding = true;
    const relay = net.createServer({ allowHalfOpen: true }, (socket) => {
      const behind = net.connect({ port: backend.port, host: '127.0.0.1', allowHalfOpen: true });
      for (const each of [socket, behind]) each.on('error', () => {});
      socket.pipe(behind);
      behind.on('data', (data) => void (isHolding ? held.push(() => socket.write(data)) : socket.write(data)));
      behind.on('end', () => socket.end());
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    try {
      const caCertsDir = mkdtempSync(join(rig.dir, 'trusted-'));
      copyFileSync(pem().root, join(caCertsDir, 'ca.pem'));
      const { port } = relay.address() as net.AddressInfo;
      const forward = await rig.forward({ to: sslTo(port, pem(), { caCertsDir }) });
      const begun = visit(forward, backend);
      await until('the server has said its part', async () => held.length > 0);
      copyFileSync(pem().otherCert, join(caCertsDir, 'more.pem'));
      forward.upstream.reload();
      isHolding = false;
      for (const release of held) release();
      assert.equal(await begun, false);
      assert.deepEqual(await visits(2, forward, backend), [false, true]);
    } finally {
      relay.close();
    }
  },
);

test('a server that has seen our certificate knows it again', options, async () => {
  await using rig = new Rig(openNativeTls);
  for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
    await using backend = await openTlsBackend({
      ...identity(),
      maxVersion,
      requestCert: true,
      ca: read(pem().chain),
      sessionIdContext: 'test',
    });
    const { connect } = await rig.forward({
      to: sslTo(backend.port, pem(), { certKey: pem().fullChain, privateKey: pem().key }),
    });
    const known = async () => {
      const client = await connect();
      const peer = await backend.next();
      peer.write('answer');
      await readBytes(client, 6);
      client.destroy();
      return [peer.isSessionReused(), peer.authorized];
    };
    assert.deepEqual(await known(), [false, true]);
    assert.deepEqual(await known(), [true, true], maxVersion);
  }
});

test(
  'a server that gives no sessions is served, and libssl keeps nothing of its connections for long',
  options,
  async () => {
    await using rig = new Rig(openNativeTls);
    await using backend = await openTlsBackend({ ...identity(), secureOptions: 1 << 14 }); // SSL_OP_NO_TICKET
    const { connect } = await rig.forward({ to: sslTo(backend.port, pem()) });
    const clients: Socket[] = [];
    const peers: tls.TLSSocket[] = [];
    while (clients.length < 160) {
      clients.push(...(await Promise.all(Array.from({ length: 20 }, () => connect()))));
      while (peers.length < clients.length) peers.push(await backend.next());
    }
    rig.engine.trimMemory?.();
    for (const peer of peers) peer.end('answer');
    assert.deepEqual(new Set(await Promise.all(clients.map((client) => readAll(client)))), new Set(['answer']));
    for (const client of clients) client.end();
    await rig.endedConnections(clients.length);
  },
);

test('a connection that moves before its tickets come goes on, and so do sessions where it was', options, async () => {
  await using here = new Rig(openNativeTls);
  await using there = new Rig(openNativeTls);
  using passage = new Passage();
  await using backend = await openTlsBackend(identity());
  // What the server says reaches us when it is let through.
  const held: (() => void)[] = [];
  let isHolding = false;
  const relay = net.createServer({ allowHalfOpen: true }, (socket) => {
    const behind = net.connect({ port: backend.port, host: '127.0.0.1', allowHalfOpen: true });
    for (const each of [socket, behind]) each.on('error', () => {});
    socket.pipe(behind);
    let parts = 0;
    behind.on('data', (data) => {
      // The first is the server's part of the handshake, its tickets come after ours.
      if (isHolding && parts++ > 0) held.push(() => socket.write(data));
      else socket.write(data);
    });
    behind.on('end', () => socket.end());
  });
  relay.listen(0, '127.0.0.1');
  await once(relay, 'listening');
  try {
    const endpoint = sslTo((relay.address() as net.AddressInfo).port, pem());
    const forward = await here.forward({ to: endpoint });
    assert.deepEqual(await visits(2, forward, backend), [false, true]);
    // Node gives tickets with full handshakes alone.
    backend.server.setTicketKeys(randomBytes(48));
    isHolding = true;
    const client = await forward.connect();
    const peer = await backend.next();
    client.write('question');
    assert.equal(await readBytes(peer, 8), 'question');
    await until('its tickets are on their way', async () => held.length > 0);
    const to = [there.engine as NativeEngine, there.upstream(endpoint)] as const;
    assert.equal(await passage.move([here.engine as NativeEngine, forward.upstream], to), 1);
    isHolding = false;
    for (const release of held) release();
    peer.write('answer');
    assert.equal(await readBytes(client, 6), 'answer');
    assert.deepEqual(await visits(2, forward, backend), [false, true]);
    client.end();
    peer.end();
    await closed(client);
  } finally {
    relay.close();
  }
});
