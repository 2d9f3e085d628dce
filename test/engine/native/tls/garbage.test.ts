/** Memory that is only referred to by its address is collected, and what is read there then is wrong: so it is collected all the time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import { until } from '../../../until.ts';
import { openNativeTls } from '../../native-engine.ts';
import { Rig } from '../../rig.ts';
import { openStream, openStreamServer } from '../../soak-streams.ts';
import type { Stream } from '../../soak-streams.ts';
import { pemFiles, read, sslFrom, sslTo } from '../../tls-peers.ts';

const options = { timeout: 120_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const collections = 40;

test('streams and handshakes are right while all threads collect their garbage all the time', options, async () => {
  await using rig = new Rig(openNativeTls);
  const identity = { key: read(pem().key), cert: read(pem().fullChain) };
  const server = await openStreamServer(undefined, { tls: identity });
  const { port } = server.address as { port: number };
  const { address } = await rig.forward({ to: sslTo(port, pem(), { alpn: ['h2'] }), from: sslFrom(pem()) });
  const engine = rig.engine as NativeEngine;
  const open = (id: number): Promise<Stream> => {
    const version = id % 2 === 0 ? 'TLSv1.3' : 'TLSv1.2';
    const tls = { rejectUnauthorized: false, servername: 'www.example.com', maxVersion: version } as const;
    return openStream(address, { id, piece: 20_000, pauseMs: 1, tls });
  };
  const streams = await Promise.all(Array.from({ length: 6 }, (_, id) => open(id)));
  const problems: string[] = [];
  const finish = async (stream: Stream) => {
    await until('bytes of the server', () => stream.received > 0);
    problems.push(...[(await stream.finish()).problem].filter((problem) => problem !== null));
  };
  let id = streams.length;
  for (let round = 0; round < collections; round++) {
    engine.trimMemory();
    // Each goes to the threads before the next: and so bytes move between them.
    await engine.settled();
    if (round % 8 === 0) await finish(await open(++id));
  }
  const before = streams.map(({ received }) => received);
  assert.ok(before.every((received) => received > 50_000));
  for (const stream of streams) await finish(stream);
  assert.deepEqual(problems, []);
  await server.close();
});
