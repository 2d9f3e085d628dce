/** Many connections of every kind at once, byte-exact, for a few seconds. GRACE_SOAK_SECONDS makes it longer. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { openNativeEngine } from '../../src/engine/native/engine.ts';
import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import type { OpenEngine } from './rig.ts';
import { Rig, to } from './rig.ts';
import { openStream, openStreamServer } from './soak-streams.ts';
import type { StreamResult } from './soak-streams.ts';

const seconds = Number(process.env['GRACE_SOAK_SECONDS'] ?? 2);
const linux = process.platform === 'linux';

/** Numbers that look random and are the same each time (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function soak(name: string, openEngine: OpenEngine): void {
  test(`soak, ${name}: every byte arrives among ends, resets and readers that stall`, { timeout: 60_000 + 2000 * seconds }, async (t) => {
    const fdsBefore = linux ? readdirSync('/proc/self/fd').length : 0;
    const results: StreamResult[] = [];
    let resets = 0;
    {
      await using rig = new Rig(openEngine);
      const server = await openStreamServer();
      const { address, upstream } = await rig.forward({ to: to(server.address) });
      const random = randomNumbers(4711);
      const until = performance.now() + 1000 * seconds;
      let id = 0;
      const one = async () => {
        const stream = await openStream(address, { id: ++id, piece: 1 + Math.floor(random() ** 3 * 60_000), pauseMs: Math.floor(random() * 20) });
        const lifeMs = random() * 400;
        const kind = random();
        if (kind < 0.15) {
          // Nothing is read for a while, so that back-pressure reaches the other end and is let go again.
          stream.socket.pause();
          await new Promise((resolve) => setTimeout(resolve, lifeMs));
          stream.socket.resume();
        } else await new Promise((resolve) => setTimeout(resolve, lifeMs));
        if (kind < 0.8) return void results.push(await stream.finish());
        resets++;
        stream.abandon();
      };
      const worker = async () => {
        while (performance.now() < until) await one();
      };
      await Promise.all(Array.from({ length: 60 }, worker));
      await upstream.drained();
      const { bytesIn, bytesOut } = upstream.stats();
      t.diagnostic(`${id} connections, ${resets} of them reset, ${Math.round((bytesIn + bytesOut) / 1e6)} MB`);
      await server.close();
    }
    assert.deepEqual(results.map(({ problem }) => problem).filter((problem) => problem !== null), []);
    assert.ok(results.length > 0 && resets > 0);
    // What the runtime itself opens along the way is a handful.
    if (linux) assert.ok(readdirSync('/proc/self/fd').length <= fdsBefore + 10);
  });
}

soak('portable engine', openPortableEngine);
if (linux && !('Deno' in globalThis)) {
  const onFailure = (error: Error) => {
    throw error;
  };
  soak('native engine, one thread', () => openNativeEngine({ threads: 1, onFailure }));
  soak('native engine, two threads', () => openNativeEngine({ threads: 2, onFailure }));
}
