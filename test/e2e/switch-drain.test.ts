import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import type { Client } from './backend.ts';
import { makeGrace } from './grace.ts';

const src = 'tcp:0:interface=127.0.0.1';

test(
  'connections to an earlier destination are closed one after the other, idle ones first, over a restart too',
  { timeout: 120_000 },
  async (t) => {
    const grace = makeGrace(t);
    const [old, fresh] = [await startBackend(t, 'old'), await startBackend(t, 'new')];
    await grace.ok('start', src, old.endpoint);
    const port = await grace.port(src);
    const clients: Client[] = [];
    const closedAt: number[] = [];
    for (let index = 0; index < 8; index++) {
      const client = await openClient(t, { port });
      await client.line();
      void once(client.socket, 'end').then(() => {
        closedAt.push(performance.now());
        client.socket.end();
      });
      clients.push(client);
    }
    // The first is the busiest from here on.
    assert.equal(await clients[0]!.echo('busy'), 'busy');
    assert.equal(
      await grace.ok('switch', src, fresh.endpoint, '--drain', '20s'),
      'Switched\nClosing 8 connections over 20s\n',
    );
    const row = (await grace.ls()).find(({ dst }) => dst === old.endpoint);
    assert.ok(Date.parse(row?.drainUntil ?? '') > Date.now());
    assert.match(await grace.ok('ls'), /inactive, closed in [0-9]+s/);
    await until('none is closed', () => closedAt.length > 0);
    await grace.ok('restart');
    assert.ok(closedAt.length < 8, 'all are closed at once');
    const fresher = await openClient(t, { port });
    assert.equal(await fresher.line(), 'new');
    await grace.ok('wait', src);
    await until('not all are closed', () => closedAt.length === 8);
    assert.equal(await fresher.echo('still here'), 'still here');
    assert.match(grace.log(), /closing connections to earlier destinations/);
    assert.match(grace.log(), /connections to an earlier destination closed/);
  },
);

test('a destination that is switched back to is not drained any more', { timeout: 60_000 }, async (t) => {
  const grace = makeGrace(t);
  const [old, fresh] = [await startBackend(t, 'old'), await startBackend(t, 'new')];
  await grace.ok('start', src, old.endpoint);
  const client = await openClient(t, { port: await grace.port(src) });
  await client.line();
  await grace.ok('switch', src, fresh.endpoint, '--drain', '1h');
  await grace.ok('switch', src, old.endpoint);
  assert.equal((await grace.ls())[0]?.drainUntil, undefined);
  assert.equal(await client.echo('still here'), 'still here');
});
