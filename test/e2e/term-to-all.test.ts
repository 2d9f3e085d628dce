import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { isRunning, makeGrace } from './grace.ts';
import { pidInFile } from './processes.ts';
import { until } from '../until.ts';

const timeout = 120_000;
const src = 'tcp:0:interface=127.0.0.1';

test('one TERM to every process lets open connections finish, a second one ends them', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'one');
  await grace.ok('start', src, backend.endpoint);
  const client = await openClient(t, { port: await grace.port(src) });
  assert.equal(await client.line(), 'one');
  const all = [pidInFile(join(grace.dir, 'grace.pid'))!, (await grace.status()).pid];
  for (const each of all) process.kill(each, 'SIGTERM');
  await until('the daemon is stopping', () => / stopping/.test(grace.log()));
  // The keeper has passed its own on by then, or does before this.
  await grace.run('status');
  assert.equal(await client.echo('still there?'), 'still there?');
  const ended = once(client.socket, 'close');
  for (const each of all) process.kill(each, 'SIGTERM');
  await ended;
  await until('all are gone', () => all.every((each) => !isRunning(each)));
});
