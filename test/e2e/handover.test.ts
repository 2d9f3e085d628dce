import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openStream, openStreamServer } from '../engine/soak-streams.ts';
import type { Stream } from '../engine/soak-streams.ts';
import { makeGrace } from './grace.ts';
import { gone } from './processes.ts';
import { until } from '../until.ts';

const src = 'tcp:0:interface=127.0.0.1';
const count = Number(process.env['GRACE_HANDOVER_STREAMS'] ?? 200);
const restarts = 3;
const options = { timeout: 180_000, skip: process.platform !== 'linux' };

test(
  'open connections move to every successor while data flows, byte by byte, and the old process ends',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const server = await openStreamServer();
    t.after(() => server.close());
    const { port: serverPort } = server.address as { port: number };
    await grace.ok('start', src, `tcp:127.0.0.1:${serverPort}`);
    const address = { host: '127.0.0.1', port: await grace.port(src) };
    const streams: Stream[] = [];
    for (let id = 0; id < count; id++)
      streams.push(await openStream(address, { id, piece: id % 10 === 0 ? 30_000 : 2000, pauseMs: 25 }));
    await until('bytes on every stream', () => streams.every(({ received }) => received > 0));
    const usualGapMs = Math.max(...streams.map((stream) => stream.takeWorstGap()));

    for (let round = 0; round < restarts; round++) {
      const { pid } = await grace.status();
      const said = await grace.ok('restart');
      assert.match(said, new RegExp(`^Restarted: pid ${pid} .*\\nMoved ${count} connections \\(0 with TLS\\)\\n$`));
      const restartedAt = performance.now();
      const [row] = await grace.ls();
      assert.equal(row?.connections, count);
      await gone(pid);
      const goneAfterMs = performance.now() - restartedAt;
      assert.equal((await grace.status()).generations.length, 1);
      const gapMs = Math.max(...streams.map((stream) => stream.takeWorstGap()));
      t.diagnostic(
        `restart ${round + 1}: worst stall ${Math.round(gapMs)} ms (before: ${Math.round(usualGapMs)} ms), old process gone after ${Math.round(goneAfterMs)} ms`,
      );
      assert.ok(goneAfterMs < 50_000);
    }

    const results = await Promise.all(streams.map((stream) => stream.finish()));
    assert.deepEqual(
      results.map(({ problem }) => problem).filter((problem) => problem !== null),
      [],
    );
    // What the generations counted before has come along too. Eight bytes of a stream are its head, 24 its verdict.
    const [row] = await grace.ls();
    const up = results.reduce((sum, { bytesUp }) => sum + bytesUp + 8, 0);
    const down = results.reduce((sum, { bytesDown }) => sum + bytesDown + 24, 0);
    assert.deepEqual([row?.bytesIn, row?.bytesOut], [up, down]);
  },
);

test(
  'connections of an earlier destination move too; those of a stopped rule end where they are',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const [one, two] = [await openStreamServer(), await openStreamServer()];
    t.after(() => Promise.all([one.close(), two.close()]));
    const [first, second] = [one, two].map(({ address }) => `tcp:127.0.0.1:${(address as { port: number }).port}`) as [
      string,
      string,
    ];
    await grace.ok('start', src, first);
    const address = { host: '127.0.0.1', port: await grace.port(src) };
    const early = await openStream(address, { id: 1 });
    await until('bytes on the early stream', () => early.received > 0);
    await grace.ok('switch', src, second);
    const late = await openStream(address, { id: 2 });
    await until('bytes on the late stream', () => late.received > 0);

    await grace.ok('restart');
    const { pid } = await grace.status();
    const rows = (await grace.ls()).map(({ dst, connections, active, pid: holder }) => ({
      dst,
      connections,
      active,
      holder,
    }));
    assert.deepEqual(rows, [
      { dst: second, connections: 1, active: true, holder: pid },
      { dst: first, connections: 1, active: false, holder: pid },
    ]);
    const waiting = grace.spawn('wait', src);
    assert.equal((await early.finish()).problem, null);
    assert.equal((await waiting.ended).code, 0);

    // Whoever asked for the stop of a rule was promised an end in time, which the process that was asked sees to.
    const stopping = grace.spawn('stop', src);
    await until('the rule stops', async () => !(await grace.ls()).some(({ active }) => active));
    assert.match(
      await grace.ok('restart'),
      /\n1 open connection will finish in the old process: 1 of a rule that was stopped\n$/,
    );
    assert.deepEqual(
      (await grace.ls()).map(({ pid: holder, active }) => [holder, active]),
      [[pid, false]],
    );
    assert.equal((await late.finish()).problem, null);
    assert.equal((await stopping.ended).code, 0);
  },
);
