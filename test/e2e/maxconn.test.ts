/** A limit of connections holds over restarts, whichever process has them. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import { test } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles, stays } from './pem-files.ts';

const timeout = 180_000;
const limit = 3;

test('moved connections count for the limit, and so do those that come while it restarts', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'A');
  const src = `tcp:0:interface=127.0.0.1:maxconn=${limit}`;
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  let most = 0;
  backend.server.on('connection', () => (most = Math.max(most, backend.connections.size)));
  const clients = Array.from({ length: 4 * limit }, () => connect(port, '127.0.0.1'));
  t.after(() => clients.forEach((client) => client.destroy()));
  for (const client of clients) client.on('error', () => {}).resume();
  await until('as many as may are served', () => backend.connections.size === limit);
  for (let restart = 0; restart < 4; restart++) {
    await grace.ok('restart');
    const more = connect(port, '127.0.0.1')
      .on('error', () => {})
      .resume();
    clients.push(more);
    await once(more, 'connect');
    const rows = (await grace.ls()).filter((row) => row.src === src);
    assert.equal(
      rows.reduce((sum, { connections }) => sum + connections, 0),
      limit,
    );
  }
  // A switch to a destination of another engine's, and back: the limit is the source's.
  const other = await startBackend(t, 'B');
  await grace.ok('switch', src, `tls:127.0.0.1:${other.port}:insecure=yes`, '--no-check').catch(() => {});
  await grace.ok('switch', src, other.endpoint);
  assert.equal(most, limit);
  assert.equal(other.connections.size, 0);
  // Each that leaves makes room for one.
  const before = backend.connections.size;
  [...backend.connections][0]!.end();
  await until('the next one is served', () => other.connections.size === 1 && backend.connections.size === before - 1);
});

// Deno accepts all that wait in the queue at once; those beyond the limit wait in the process, and are served when it stops accepting.
const skip = runtime === 'deno' && 'Deno accepts more than it is asked to';

test('connections that stay with the old process count for the limit until they end', { timeout, skip }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const backend = await startBackend(t, 'A');
  const src = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1:maxconn=${limit}${stays}`;
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  let most = 0;
  backend.server.on('connection', () => (most = Math.max(most, backend.connections.size)));
  const clients = Array.from({ length: 2 * limit }, () =>
    connectTls({ port, host: '127.0.0.1', servername: 'www.example.com', ca: readFileSync(files.root) }),
  );
  t.after(() => clients.forEach((client) => client.destroy()));
  for (const client of clients) client.on('error', () => {}).resume();
  await until('as many as may are served', () => backend.connections.size === limit);
  await grace.ok('restart');
  await grace.ok('ls');
  await grace.ok('restart');
  await grace.ok('ls');
  assert.equal(most, limit);
  for (const socket of backend.connections) socket.end();
  await until(
    'those that waited are served',
    () => backend.connections.size === limit && clients.filter(({ readableEnded }) => readableEnded).length === limit,
  );
  assert.equal(most, limit);
});

test('a restart that fails leaves the limit as it was', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'A');
  const src = 'tcp:0:interface=127.0.0.1:maxconn=1';
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  const first = await openClient(t, { port });
  assert.equal(await first.line(), 'A');
  const waiting = connect(port, '127.0.0.1').resume();
  t.after(() => waiting.destroy());
  assert.equal((await grace.run('restart', '--exec', '/bin/false')).code, 1);
  await grace.ok('ls');
  assert.equal(backend.connections.size, 1);
  await first.end();
  await until('the next one is served', () => backend.connections.size === 1);
});

for (const engine of ['native', 'portable'] as const) {
  test(
    `with another limit those that are connected count too (${engine})`,
    { timeout, skip: skip || (engine === 'native' && process.platform !== 'linux' && 'Linux only') },
    async (t) => {
      const grace = makeGrace(t);
      const backend = await startBackend(t, 'A');
      const daemon = grace.spawn('daemon', '--engine', engine);
      await until('it serves', () => grace.log().includes('serving'));
      const path = `${grace.dir}.sock`;
      const change = (count: number) =>
        grace.ok('start', '--switch', `unix:${path}:maxconn=${count}`, backend.endpoint);
      await change(3);
      const clients = Array.from({ length: 5 }, () =>
        connect(path)
          .on('error', () => {})
          .resume(),
      );
      t.after(() => clients.forEach((client) => client.destroy()));
      await until('three are served', () => backend.connections.size === 3);
      await change(2);
      const end = (count: number) => [...backend.connections].slice(0, count).forEach((socket) => socket.destroy());
      end(1);
      await until('one has gone, and its place with it', () => backend.connections.size === 2);
      await grace.ok('ls');
      assert.equal(backend.connections.size, 2);
      end(1);
      await until('one that waited is served', () => backend.connections.size === 2);
      await change(4);
      await until('there is room for the rest', () => backend.connections.size === 3);
      await grace.ok('stop', '--now');
      await daemon.ended;
    },
  );
}
