/** Connections whose destination speaks TLS change the engine in the middle of their streams. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import { until } from '../../../until.ts';
import { openNativeTls } from '../../native-engine.ts';
import { endingOf, openBackend, readAll, readBytes } from '../../peers.ts';
import { Rig } from '../../rig.ts';
import { openStream, openStreamServer } from '../../soak-streams.ts';
import { connectTls, openTlsBackend, OWN_SUITES, pemFiles, read, sslFrom, sslTo } from '../../tls-peers.ts';
import { Passage } from './passage.ts';

const options = { timeout: 120_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const identity = () => ({ key: read(pem().key), cert: read(pem().fullChain) });

for (const isBoth of [false, true]) {
  test(
    `streams go on byte by byte in another engine, to and fro, with TLS on ${isBoth ? 'both sides' : "the destination's side"}`,
    options,
    async () => {
      await using here = new Rig(openNativeTls);
      await using there = new Rig(openNativeTls);
      using passage = new Passage();
      for (const [index, ciphers] of OWN_SUITES.entries()) {
        const only = { ciphers, maxVersion: index < 3 ? ('TLSv1.3' as const) : ('TLSv1.2' as const) };
        const server = await openStreamServer(undefined, { tls: { ...identity(), ...only } });
        const { port } = server.address as { port: number };
        const { address, upstream } = await here.forward({
          to: sslTo(port, pem()),
          ...(isBoth && { from: sslFrom(pem()) }),
        });
        let [from, next] = [
          [here.engine as NativeEngine, upstream] as const,
          [there.engine as NativeEngine, there.upstream(upstream.endpoint)] as const,
        ];
        const streams = await Promise.all(
          [60_000, 1000].map(async (piece, kind) => {
            const near = isBoth ? { tls: { rejectUnauthorized: false } } : {};
            const stream = await openStream(address, { id: 2 * index + kind, piece, pauseMs: 1 + kind, ...near });
            await once(stream.socket, 'data');
            return stream;
          }),
        );
        for (let round = 0; round < 10; round++) {
          assert.equal(await passage.move(from, next), streams.length, `${ciphers}, round ${round}`);
          [from, next] = [next, from];
          await Promise.all(streams.map(({ socket }) => once(socket, 'data')));
        }
        const results = await Promise.all(streams.map((stream) => stream.finish()));
        assert.deepEqual(
          results.map(({ problem }) => problem),
          [null, null],
          ciphers,
        );
        assert.equal(server.accepted, streams.length);
        await Promise.all([from, next].map(([, each]) => each.drained()));
        await server.close();
      }
    },
  );
}

test('an end of a destination with TLS that was passed on is not passed on again after a move', options, async () => {
  await using here = new Rig(openNativeTls);
  await using there = new Rig(openNativeTls);
  using passage = new Passage();
  await using backend = await openTlsBackend(identity());
  const { connect, upstream } = await here.forward({ to: sslTo(backend.port, pem()) });
  const next = [there.engine as NativeEngine, there.upstream(upstream.endpoint)] as const;
  const client = await connect();
  const peer = await backend.next();
  peer.end('the server has said all');
  assert.equal(await readAll(client), 'the server has said all');
  assert.equal(await passage.move([here.engine as NativeEngine, upstream], next), 1);
  const late = readAll(peer);
  client.end('and now the client');
  assert.equal(await late, 'and now the client');
  await next[1].drained();
});

test('a dial in the middle of its handshake is made anew by whoever goes on with it', options, async () => {
  await using here = new Rig(openNativeTls);
  await using there = new Rig(openNativeTls);
  using passage = new Passage();
  await using backend = await openBackend();
  await using behind = await openTlsBackend(identity());
  const { address, upstream } = await here.forward({ to: sslTo(backend.port, pem()), from: sslFrom(pem()) });
  const next = [there.engine as NativeEngine, there.upstream(upstream.endpoint)] as const;
  const client = await connectTls(address, { ca: read(pem().root) });
  const first = await backend.next();
  const left = endingOf(first);
  await once(first, 'data');
  const { mover } = here.engine as NativeEngine;
  assert.equal((await mover.freeze(upstream, 10, { tls: false })).length, 0);
  assert.equal(await passage.move([here.engine as NativeEngine, upstream], next), 1);
  await left;
  const second = await backend.next();
  second.pipe(net.connect(behind.port, '127.0.0.1')).pipe(second);
  const server = await behind.next();
  client.write('there');
  assert.equal(await readBytes(server, 5), 'there');
  await until('nobody is left here', () => upstream.stats().connections === 0);
  client.end();
  server.end();
  await next[1].drained();
});
