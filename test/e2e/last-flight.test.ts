/** The process is replaced right behind the last flight of handshakes, held or not: every byte arrives, and once. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { poise } from '../engine/native/tls/flights.ts';
import { readAll } from '../engine/peers.ts';
import { until } from '../until.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const skip = (process.platform !== 'linux' || runtime === 'deno') && 'TLS moves with the native engine of Node alone';
const SIZE = 3000;

for (const isHeld of [false, true])
  test(
    `a restart right behind the last flight, ${isHeld ? 'held' : 'not held'}: what clients say first arrives, and once`,
    { timeout: 120_000, skip },
    async (t) => {
      const grace = makeGrace(t);
      const pem = pemFiles(t);
      const server = net.createServer({ allowHalfOpen: true }, (socket) => {
        socket.on('error', () => {});
        t.after(() => socket.destroy());
        socket.pipe(socket);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      t.after(() => server.close());
      const certified = { key: readFileSync(pem.key), cert: readFileSync(pem.fullChain) };
      const [old, retried] = [{ maxVersion: 'TLSv1.2' } as const, { ecdhCurve: 'X25519:P-384' }];
      const asked = `:clientCA=${pem.root}`;
      const kinds: readonly [string, flight: number, isServerLast: boolean, ConnectionOptions][] = [
        ['', 2, false, {}],
        ['', 2, true, old],
        [asked, 2, false, certified],
        [asked, 2, true, { ...old, ...certified }],
        [':groups=P-384', 3, false, retried],
      ];
      const sources = new Map<string, { src: string; port: number }>();
      for (const [extras] of kinds) {
        if (sources.has(extras)) continue;
        const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}${extras}`;
        await grace.ok('start', src, `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`);
        sources.set(extras, { src, port: await grace.port(src) });
        if (isHeld) await grace.ok('hold', src);
      }
      const poised = await Promise.all(
        kinds.map(async ([extras, flight, isServerLast, options]) => {
          const first = randomBytes(SIZE);
          const { port } = sources.get(extras)!;
          const where = { host: '127.0.0.1', port };
          return {
            ...(await poise(where, { flight, first: isServerLast ? null : first, ...options })),
            first,
            isServerLast,
          };
        }),
      );
      // The end of what is said first comes when the process is being replaced.
      const cut = (bytes: Buffer, boundary: number) => Math.min(bytes.length, boundary + SIZE / 2);
      for (const { carrier, bytes, boundary } of poised) carrier.write(bytes.subarray(0, cut(bytes, boundary)));
      const restarting = grace.ok('restart');
      const answers = poised.map(({ client, carrier, bytes, boundary, release, first, isServerLast }) => {
        carrier.write(bytes.subarray(cut(bytes, boundary)));
        release();
        if (isServerLast) client.write(first);
        client.end('the end');
        return readAll(client);
      });
      await restarting;
      if (isHeld) for (const { src } of sources.values()) await grace.ok('release', src);
      for (const [index, answer] of answers.entries()) {
        const said = `${poised[index]!.first.toString('latin1')}the end`;
        assert.ok((await answer) === said, `kind ${index}`);
      }
      await until('all is over', async () => (await grace.ls()).every(({ connections }) => connections === 0));
    },
  );
