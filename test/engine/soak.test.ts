/**
 * Many connections of every kind at once through a process of its own, byte-exact.
 *
 *     GRACE_SOAK_CONNECTIONS=20000 GRACE_SOAK_AT_ONCE=4000 GRACE_SOAK_SEED=7 node --test test/engine/soak.test.ts
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { until } from '../until.ts';
import { FaultyForward } from './faulty-forward.ts';
import { to } from './rig.ts';
import { carryOut, openExchangeServer, planExchange } from './soak-exchange.ts';

const connections = Number(process.env['GRACE_SOAK_CONNECTIONS'] ?? 300);
const atOnce = Number(process.env['GRACE_SOAK_AT_ONCE'] ?? Math.min(100, connections));
const seed = Number(process.env['GRACE_SOAK_SEED'] ?? 4711);

/** Descriptors, and resident memory in MB, of a process. */
function holdings(pid: number): { fds: number; residentMb: number } {
  const [, kilobytes = '0'] = /VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1')) ?? [];
  return { fds: readdirSync(`/proc/${pid}/fd`).length, residentMb: Math.round(Number(kilobytes) / 1024) };
}

for (const engine of ['portable', 'native', 'native:2'] as const) {
  const timeout = 120_000 + 60 * connections;
  test(
    `soak, ${engine}: every byte arrives, among ends, resets and readers that stall (seed ${seed})`,
    { timeout, skip: process.platform !== 'linux' },
    async (t) => {
      await using server = await openExchangeServer();
      await using forward = await FaultyForward.start({ engine, to: to(server.address, { timeout: 60 }) });
      // What is opened for the first connection is there to stay.
      assert.equal(
        await carryOut({ id: 0, kind: 'both at once', bytesUp: 1, bytesDown: 1, stallMs: 0 }, forward.address, server),
        null,
      );
      const before = holdings(forward.pid);
      const startMs = performance.now();
      const problems: string[] = [];
      let next = 1;
      let [resets, bytesUp, bytesDown, most] = [0, 0, 0, before.fds];
      const worker = async () => {
        while (next <= connections) {
          const exchange = planExchange(seed, next++);
          const problem = await carryOut(exchange, forward.address, server).catch(String);
          if (problem !== null)
            problems.push(
              `${exchange.id} (${exchange.kind}, ${exchange.bytesUp} up, ${exchange.bytesDown} down): ${problem}`,
            );
          if (exchange.kind.endsWith('resets')) resets++;
          else [bytesUp, bytesDown] = [bytesUp + exchange.bytesUp, bytesDown + exchange.bytesDown];
          if (exchange.id % 50 === 0) most = Math.max(most, holdings(forward.pid).fds);
        }
      };
      await Promise.all(Array.from({ length: atOnce }, worker));
      const seconds = (performance.now() - startMs) / 1000;
      // A process that has ended all connections closes them a moment later. A few pipes are kept.
      await until('the descriptors of the connections are closed', () => holdings(forward.pid).fds <= before.fds + 20);
      const after = holdings(forward.pid);
      t.diagnostic(
        `${connections} connections, ${atOnce} at once, ${resets} reset, ${Math.round((bytesUp + bytesDown) / 1e6)} MB checked in ${seconds.toFixed(1)} s; ` +
          `descriptors ${before.fds}, at most ${most}, then ${after.fds}; resident ${before.residentMb} MB, then ${after.residentMb} MB`,
      );
      assert.deepEqual(problems, []);
      const { lines, stats } = await forward.end();
      assert.deepEqual(
        lines.filter(({ error, paused }) => error ?? paused),
        [],
      );
      assert.equal(stats?.connections, 0);
      assert.ok(stats.bytesIn >= bytesUp && stats.bytesOut >= bytesDown);
    },
  );
}
