/** More handshakes at once than there may be, or than can be made: who is given up, and who is served all the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endingOf, openEcho, readAll, readBytes } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { letGoOn, poise } from './native/tls/flights.ts';
import { connectTls, pemFiles, read, sslFrom } from './tls-peers.ts';

const isDeno = 'Deno' in globalThis;
const timeout = 120_000;
const LIMIT = 8;
const CROWD = 64;

export function tlsOverloadSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();

  test(
    'silent clients, however many, keep nobody out, and end in the order in which they came',
    { timeout },
    async () => {
      await using rig = new Rig(openEngine, { handshakeLimit: LIMIT, handshakeTimeoutMs: 3_600_000 });
      await using echo = await openEcho();
      const { connect, address, upstream } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
      const beside = await rig.forward({ to: to(echo) });
      const plain = await beside.connect();
      const ended: number[] = [];
      for (let index = 0; index < CROWD; index++) {
        const silent = await connect();
        void endingOf(silent).then(() => ended.push(index));
        if (index % LIMIT !== 0) continue;
        const client = await connectTls(address, { ca: read(pem().root) });
        client.end('let me in');
        assert.equal(await readAll(client), 'let me in', `after ${index} silent ones`);
        plain.write('and me');
        assert.equal(await readBytes(plain, 6), 'and me');
      }
      const given = (await rig.endedConnections(CROWD)).filter(({ error }) => error !== null);
      assert.ok(given.length >= CROWD - LIMIT, `${given.length} were given up`);
      for (const { error } of given) assert.match(error?.message ?? '', /more than 8 under way/);
      assert.ok(upstream.stats().connections <= LIMIT);
      assert.deepEqual(
        ended,
        ended.toSorted((a, b) => a - b),
      );
    },
  );

  test(
    'who is in the middle of a handshake goes on, however many others come and are silent',
    { timeout, skip: isDeno && 'the clients that it needs are Node alone' },
    async () => {
      await using rig = new Rig(openEngine, { handshakeLimit: LIMIT, handshakeTimeoutMs: 3_600_000 });
      await using echo = await openEcho();
      const { connect, address } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
      const first = Buffer.from('let me in');
      const poised = await Promise.all(Array.from({ length: LIMIT - 1 }, () => poise(address, { flight: 2, first })));
      for (let index = 0; index < CROWD; index++) await connect();
      await rig.endedConnections(CROWD - 1);
      for (const each of poised) await letGoOn(each, first);
    },
  );
}
