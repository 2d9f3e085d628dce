/** TLS connections change the engine in the middle of their streams. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import tls from 'node:tls';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import type { Upstream } from '../../../../src/engine/engine.ts';
import type { SslServer } from '../../../../src/endpoint/model.ts';
import { openNative, openNativeTls } from '../../native-engine.ts';
import { endingOf, openBackend, readAll, readBytes } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import type { Forward } from '../../rig.ts';
import { openStream, openStreamServer } from '../../soak-streams.ts';
import { until } from '../../../until.ts';
import { Passage } from './passage.ts';
import { connectTls, OWN_SUITES, pemFiles, read, resetTls, sslFrom, truncateTls } from '../../tls-peers.ts';

const options = { timeout: 120_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();

type Place = readonly [NativeEngine, Upstream];

/** Two engines, the way between them, and an upstream of each that is the same. */
class Scene implements AsyncDisposable {
  readonly here = new Rig(openNativeTls);
  readonly there = new Rig(openNativeTls);
  readonly passage = new Passage();

  /** With clients that speak TLS, and a destination that does not: there it can go on in place of here. */
  async forward(
    address: Parameters<typeof to>[0],
    extras: Partial<SslServer> = {},
  ): Promise<Forward & { from: Place; next: Place }> {
    const forward = await this.here.forward({ to: to(address), from: sslFrom(pem(), extras) });
    const { upstream } = forward;
    return {
      ...forward,
      from: [this.here.engine as NativeEngine, upstream],
      next: [this.there.engine as NativeEngine, this.there.upstream(upstream.endpoint)],
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.passage[Symbol.dispose]();
    await this.there[Symbol.asyncDispose]();
    await this.here[Symbol.asyncDispose]();
  }
}

test('streams with TLS go on byte by byte in another engine, to and fro, with every cipher', options, async () => {
  await using scene = new Scene();
  const server = await openStreamServer();
  const { address, ...places } = await scene.forward(server.address);
  let { from, next } = places;
  const streams = await Promise.all(
    OWN_SUITES.flatMap((ciphers, index) =>
      [60_000, 1000].map(async (piece, kind) => {
        const tls = { ciphers, rejectUnauthorized: false, maxVersion: index < 3 ? 'TLSv1.3' : 'TLSv1.2' } as const;
        const stream = await openStream(address, { id: 2 * index + kind, piece, pauseMs: 1 + kind, tls });
        await once(stream.socket, 'data');
        return stream;
      }),
    ),
  );
  for (let round = 0; round < 20; round++) {
    assert.equal(await scene.passage.move(from, next), streams.length, `round ${round}`);
    [from, next] = [next, from];
    // Each has moved bytes since.
    await Promise.all(streams.map(({ socket }) => once(socket, 'data')));
  }
  const results = await Promise.all(streams.map((stream) => stream.finish()));
  assert.deepEqual(
    results.map(({ problem }) => problem).filter((problem) => problem !== null),
    [],
  );
  await Promise.all([from, next].map(([, each]) => each.drained()));
  await server.close();
});

test(
  'an end that was passed on before the move is not passed on again, and the other direction goes on',
  options,
  async () => {
    await using scene = new Scene();
    await using backend = await openBackend();
    const { address, from, next } = await scene.forward(backend);
    const first = await connectTls(address, { ca: read(pem().root) });
    const firstPeer = await backend.next();
    firstPeer.end('the server has said all');
    assert.equal(await readAll(first), 'the server has said all');
    const second = await connectTls(address, { ca: read(pem().root) });
    const secondPeer = await backend.next();
    second.end('the client has said all');
    assert.equal(await readAll(secondPeer), 'the client has said all');
    assert.equal(await scene.passage.move(from, next), 2);
    const late = readAll(firstPeer);
    first.end('and now the client');
    assert.equal(await late, 'and now the client');
    const answer = readAll(second);
    secondPeer.end('and now the server');
    assert.equal(await answer, 'and now the server');
    await next[1].drained();
  },
);

test('the beginning of a record, and what a client has not taken, move too', options, async () => {
  await using scene = new Scene();
  await using backend = await openBackend();
  const { address, ...places } = await scene.forward(backend);
  let { from, next } = places;
  const client = await connectTls(address, { ca: read(pem().root) });
  client.pause();
  const peer = await backend.next();
  const total = 30_000_000;
  peer.end(Buffer.alloc(total, 'x'));
  let received = 0;
  // A move now and then, between any two reads.
  client.on('data', (data: Buffer) => (received += data.length));
  for (let round = 0; round < 10; round++) {
    assert.equal(await scene.passage.move(from, next), 1);
    [from, next] = [next, from];
    client.resume();
    await once(client, 'data');
    client.pause();
  }
  client.resume();
  await once(client, 'end');
  assert.equal(received, total);
  client.end();
  await from[1].drained();
});

test(
  'a move that is given up leaves them where they were; and an engine without TLS refuses them',
  options,
  async () => {
    await using scene = new Scene();
    await using plain = new Rig(openNative);
    await using backend = await openBackend();
    const { upstream, address, from } = await scene.forward(backend);
    const [engine] = from;
    const client = await connectTls(address, { ca: read(pem().root) });
    const peer = await backend.next();
    const frozen = await engine.mover.freeze(upstream, 10);
    assert.equal(frozen.length, 1);
    client.write('meanwhile');
    const other = plain.upstream(upstream.endpoint);
    assert.throws(
      () => plain.engine.mover!.adopt(frozen, { upstream: other, frontend: null, observer: {}, idleMs: null }),
      /with TLS cannot be taken over/,
    );
    engine.mover.thaw(frozen);
    assert.equal(await readBytes(peer, 9), 'meanwhile');
    resetTls(client);
    await upstream.drained();
  },
);

test('nothing of the keys is left where they were, nor in what was written down', options, async () => {
  await using scene = new Scene();
  await using backend = await openBackend();
  const { upstream, address, from, next } = await scene.forward(backend);
  const client = await connectTls(address, { ca: read(pem().root) });
  const peer = await backend.next();
  const frozen = await from[0].mover.freeze(upstream, 1);
  const row = frozen[0]!.client.tls!.keys!;
  assert.ok(row.some((byte) => byte !== 0));
  from[0].mover.thaw(frozen);
  assert.equal(await scene.passage.move(from, next), 1);
  client.write('there');
  assert.equal(await readBytes(peer, 5), 'there');
  await upstream.drained();
  assert.ok(row.every((byte) => byte === 0));
});

test(
  'a client in its handshake is told of, and moves when it has shaken hands; without TLS in the agreement it does not',
  options,
  async () => {
    await using scene = new Scene();
    await using backend = await openBackend();
    const { upstream, connect, from, next } = await scene.forward(backend);
    const { mover } = from[0];
    const carrier = await connect();
    await until('it is counted', () => upstream.stats().connections === 1);
    assert.equal((await mover.freeze(upstream, 10)).length, 0);
    assert.equal(mover.handshakes(upstream), 1);
    const client = tls.connect({ socket: carrier, servername: 'www.example.com', ca: read(pem().root) });
    await once(client, 'secureConnect');
    const peer = await backend.next();
    assert.equal((await mover.freeze(upstream, 10, { tls: false })).length, 0);
    assert.equal(mover.handshakes(upstream), 0);
    assert.equal(await scene.passage.move(from, next), 1);
    client.write('there');
    assert.equal(await readBytes(peer, 5), 'there');
    assert.equal(next[0].mover.canAdoptTls(from[0].mover.tlsFormat! + 1), false);
    client.end();
    peer.end();
    await next[1].drained();
  },
);

test('what an end without a closing alert is, is known in the other engine too', options, async () => {
  await using scene = new Scene();
  await using backend = await openBackend();
  for (const [extras, ending] of [
    [{}, 'end'],
    [{ truncation: 'reset' }, 'reset'],
  ] as const) {
    const { address, from, next } = await scene.forward(backend, extras);
    const client = await connectTls(address, { ca: read(pem().root) });
    const peer = await backend.next();
    client.write('half');
    assert.equal(await readBytes(peer, 4), 'half');
    assert.equal(await scene.passage.move(from, next), 1);
    truncateTls(client);
    assert.equal(await endingOf(peer), ending);
    peer.end();
    await next[1].drained();
  }
});
