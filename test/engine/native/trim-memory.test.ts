import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNativeEngine } from '../../../src/engine/native/engine.ts';
import { openEcho, readBytes } from '../peers.ts';
import { Rig, to } from '../rig.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };

test('connections go on, and new ones come, after the threads gave back memory', options, async () => {
  await using rig = new Rig(() => openNativeEngine({ threads: 2 }));
  await using echo = await openEcho();
  const { connect, upstream } = await rig.forward({ to: to(echo) });
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect()));
  for (const round of [1, 2, 3]) {
    rig.engine.trimMemory?.();
    clients.push(await connect());
    await Promise.all(
      clients.map(async (client) => {
        client.write(`round ${round}`);
        assert.equal(await readBytes(client, 7), `round ${round}`);
      }),
    );
  }
  assert.equal(upstream.stats().connections, 23);
  for (const client of clients) client.end();
  await upstream.drained();
});
