/**
 * Streams with TLS move at restarts of the built executable, byte by byte, whichever cipher they have. For the figures of
 * many of them: GRACE_HANDOVER_STREAMS=1000 GRACE_HANDOVER_RESTARTS=20, which then are held to them.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { openStream, openStreamServer } from '../engine/soak-streams.ts';
import type { Stream } from '../engine/soak-streams.ts';
import { until } from '../until.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';
import { gone } from './processes.ts';

const skip = (process.platform !== 'linux' || runtime === 'deno') && 'TLS moves with the native engine of Node alone';
const isMeasured = process.env['GRACE_HANDOVER_STREAMS'] !== undefined;
const count = Number(process.env['GRACE_HANDOVER_STREAMS'] ?? 102);
const restarts = Number(process.env['GRACE_HANDOVER_RESTARTS'] ?? 2);
const options = { timeout: 120_000 + restarts * 10_000, skip };
/** Between two pieces of a stream: a gap is as long where nothing stands still. */
const pauseMs = 200;
const worstStallMs = 250;
const goneWithinMs = 1000;

/** What Node calls them, and what `ls` does. */
const kinds: readonly { tls: ConnectionOptions; version: string; cipher: string }[] = [
  ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'].map((cipher) => ({
    tls: { ciphers: cipher, minVersion: 'TLSv1.3' as const },
    version: 'TLSv1.3',
    cipher,
  })),
  ...[
    ['ECDHE-ECDSA-AES128-GCM-SHA256', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'] as const,
    ['ECDHE-ECDSA-AES256-GCM-SHA384', 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'] as const,
    ['ECDHE-ECDSA-CHACHA20-POLY1305', 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256'] as const,
  ].map(([ciphers, cipher]) => ({ tls: { ciphers, maxVersion: 'TLSv1.2' as const }, version: 'TLSv1.2', cipher })),
];
const perKind = Math.ceil(count / kinds.length);
/** Not a share of all: this process has to stand still for less than what it measures. */
const bulkyPerKind = 4;

/** Which ends of a connection have TLS. */
const sides = [
  { name: 'clients', ofClient: true, ofServer: false },
  { name: 'destinations', ofClient: false, ofServer: true },
  { name: 'both sides', ofClient: true, ofServer: true },
] as const;

/** The longest that a stream stood still beyond its pause, since this was last asked. */
function worstStall(streams: readonly Stream[]): number {
  return Math.max(0, ...streams.map((stream) => stream.takeWorstGap() - pauseMs));
}

for (const { name, ofClient, ofServer } of sides) {
  test(`streams with TLS of ${name} move to every successor, and the old process ends`, options, async (t) => {
    const grace = makeGrace(t);
    const pem = pemFiles(t);
    const identity = { key: readFileSync(pem.key), cert: readFileSync(pem.fullChain) };
    const server = await openStreamServer(undefined, { tls: ofServer ? identity : undefined });
    t.after(() => server.close());
    const src = ofClient
      ? `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}`
      : 'tcp:0:interface=127.0.0.1';
    const target = `127.0.0.1:${(server.address as { port: number }).port}`;
    await grace.ok('start', src, ofServer ? `ssl:${target}:caCertsDir=${pem.caDir}` : `tcp:${target}`);
    const address = { host: '127.0.0.1', port: await grace.port(src) };
    const streams: Stream[] = [];
    for (let at = 0; at < perKind; at++) {
      const each = kinds.map((kind, index) =>
        openStream(address, {
          id: index * perKind + at,
          piece: at < bulkyPerKind ? 30_000 : 1000,
          pauseMs,
          ...(ofClient && { tls: { ...kind.tls, rejectUnauthorized: false, servername: 'www.example.com' } }),
        }),
      );
      streams.push(...(await Promise.all(each)));
    }
    await until('bytes on every stream', () => streams.every(({ received }) => received > 0));
    worstStall(streams);
    const { accepted } = server;
    const ownDelay = monitorEventLoopDelay({ resolution: 5 });
    ownDelay.enable();
    const stalls: number[] = [];
    for (let round = 0; round < restarts; round++) {
      const { pid } = await grace.status();
      ownDelay.reset();
      if (round === 0) {
        const said = await grace.ok('restart');
        assert.match(said, new RegExp(`\\nMoved ${streams.length} connections \\(${streams.length} with TLS\\)\\n$`));
      } else {
        const { moved, movedTls, draining } = JSON.parse(await grace.ok('restart', '--json')) as Record<string, number>;
        assert.deepEqual([moved, movedTls, draining], [streams.length, streams.length, 0]);
      }
      const restartedAt = performance.now();
      await gone(pid);
      const goneMs = performance.now() - restartedAt;
      const before = streams.map(({ received }) => received);
      await until('bytes on every stream', () => streams.every(({ received }, index) => received > before[index]!));
      const stallMs = worstStall(streams);
      const ownMs = ownDelay.max / 1e6;
      stalls.push(Math.max(0, stallMs - ownMs));
      t.diagnostic(
        `restart ${round + 1}: worst stall ${Math.round(stallMs)} ms (this test itself: ${Math.round(ownMs)} ms), old process gone after ${Math.round(goneMs)} ms`,
      );
      if (isMeasured) assert.ok(goneMs < goneWithinMs, `gone after ${goneMs} ms`);
      assert.equal((await grace.status()).generations.length, 1);
    }
    ownDelay.disable();
    const { pid } = await grace.status();
    const rows = await grace.connections();
    for (const { version, cipher } of ofClient ? kinds : []) {
      const alike = rows.filter(({ tls: facts }) => facts?.version === version && facts.cipher === cipher);
      assert.equal(alike.length, perKind, cipher);
      assert.ok(
        alike.every((row) => row.tls?.group && row.pid === pid && row.state === 'open'),
        cipher,
      );
    }
    const results = await Promise.all(streams.map((stream) => stream.finish()));
    assert.deepEqual(
      results.flatMap(({ problem }) => problem ?? []),
      [],
    );
    const [row] = await grace.ls();
    const up = results.reduce((sum, { bytesUp }) => sum + bytesUp + 8, 0);
    const down = results.reduce((sum, { bytesDown }) => sum + bytesDown + 24, 0);
    assert.deepEqual([row?.bytesIn, row?.bytesOut], [up, down]);
    // Nobody at either end was asked to begin anew.
    assert.equal(server.accepted, accepted);
    const figures = await grace.ok('metrics');
    assert.match(figures, new RegExp(`^grace_connections_moved_with_tls_total ${restarts * streams.length}$`, 'm'));
    if (ofClient) {
      const done = /^grace_tls_handshakes_total\{.*side="client".*outcome="done".*version="(.*)"\} (\d+)$/gm;
      const shaken = [...figures.matchAll(done)];
      assert.deepEqual(Object.fromEntries(shaken.map(([, version, each]) => [version, Number(each)])), {
        'TLSv1.2': 3 * perKind,
        'TLSv1.3': 3 * perKind,
      });
    }
    if (isMeasured) assert.ok(Math.max(...stalls) < worstStallMs, `worst stall ${Math.max(...stalls)} ms`);
  });
}
