/** Clients that come one after the other, so that nobody else wakes who forgot one of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';

const src = 'tcp:0:interface=127.0.0.1';
const RESTARTS = 12;
/** A client that nobody is told of waits for ever. */
const LONGEST_MS = 15_000;

test('whoever comes alone, at any moment of a restart, is served', { timeout: 180_000 }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'served');
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  let isOver = false;
  let longest = 0;
  const clients = (async () => {
    while (!isOver) {
      const began = performance.now();
      const client = await openClient(t, { port });
      const late = setTimeout(() => client.socket.destroy(new Error('nobody serves it')), LONGEST_MS);
      assert.equal(await client.line(), 'served');
      clearTimeout(late);
      longest = Math.max(longest, performance.now() - began);
      await client.end();
    }
  })();
  const restarts = (async () => {
    for (let restart = 0; restart < RESTARTS; restart++) await grace.ok('restart');
    isOver = true;
  })();
  await Promise.all([clients, restarts]);
  t.diagnostic(`${Math.round(longest)} ms at the longest`);
});
