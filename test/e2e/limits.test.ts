/** Limits of addresses and networks hold over restarts and changes, whichever process has the connections. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace } from './grace.ts';
import { pemFiles, stays } from './pem-files.ts';

const timeout = 180_000;

/** Whether a new client gets something of its destination; it stays connected. */
async function isServed(t: TestContext, client: Socket): Promise<boolean> {
  t.after(() => client.destroy());
  return await new Promise((resolve) => {
    client.once('data', () => resolve(true));
    client.on('error', () => resolve(false)).once('close', () => resolve(false));
  });
}

const from = (port: number, localAddress = '127.0.0.1') => connect({ port, host: '127.0.0.1', localAddress });

test('what an address has moves with a restart, its rate too', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'A');
  const src = 'tcp:0:interface=127.0.0.1:maxconnPer=2:ratePer=4/h';
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  const first = from(port);
  assert.deepEqual([await isServed(t, first), await isServed(t, from(port))], [true, true]);
  assert.equal(await isServed(t, from(port)), false);
  for (let restart = 0; restart < 2; restart++) {
    await grace.ok('restart');
    assert.equal(await isServed(t, from(port)), false, 'it has as many as it may have');
    assert.equal(await isServed(t, from(port, `127.0.0.${2 + restart}`)), true);
  }
  first.end();
  await until('the first has gone', () => backend.connections.size === 3);
  assert.equal(await isServed(t, from(port)), true);
  for (const socket of backend.connections) socket.end();
  await until('all have gone', () => backend.connections.size === 0);
  assert.equal(await isServed(t, from(port)), true);
  await grace.ok('restart');
  assert.equal(await isServed(t, from(port)), false, 'four in an hour were enough');
  assert.equal(await isServed(t, from(port, '127.0.0.2')), true);
});

test('connections that stay with the old process count for their address until they end', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const backend = await startBackend(t, 'A');
  const src = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1:maxconnPer=2${stays}`;
  await grace.ok('start', src, backend.endpoint);
  const port = await grace.port(src);
  const tls = () => connectTls({ socket: from(port), servername: 'www.example.com', ca: readFileSync(files.root) });
  assert.deepEqual([await isServed(t, tls()), await isServed(t, tls())], [true, true]);
  for (let restart = 0; restart < 2; restart++) {
    await grace.ok('restart');
    assert.equal(await isServed(t, tls()), false);
  }
  for (const socket of backend.connections) socket.end();
  await until('the old processes have told of it', () => isServed(t, tls()));
});

test('start --switch changes limits, and those who are there count', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'A');
  const path = `${grace.dir}.sock`;
  const change = (count: number) => grace.ok('start', '--switch', `unix:${path}:maxconnPer=${count}`, backend.endpoint);
  await change(1);
  assert.deepEqual([await isServed(t, connect(path)), await isServed(t, connect(path))], [true, false]);
  await change(2);
  assert.deepEqual([await isServed(t, connect(path)), await isServed(t, connect(path))], [true, false]);
});

test(
  'a file of networks is read again when it changes and at HUP; a bad one is told of and changes nothing',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'A');
    const list = `${grace.dir}.deny`;
    writeFileSync(list, '127.0.0.2\n');
    const src = `tcp:0:interface=127.0.0.1:deny=@${list}`;
    await grace.ok('start', src, backend.endpoint);
    const port = await grace.port(src);
    const two = () => isServed(t, from(port, '127.0.0.2'));
    assert.deepEqual([await two(), await isServed(t, from(port))], [false, true]);
    const changedMs = performance.now();
    writeFileSync(list, '127.0.0.3 # another\n');
    await until('it was read again', two);
    assert.ok(performance.now() - changedMs < 10_000); // two seconds on a machine that has nothing else to do
    assert.equal(await isServed(t, from(port, '127.0.0.3')), false);
    writeFileSync(list, 'everybody\n');
    await until('it is told of', async () => /line 1: "everybody" is neither/.test((await grace.run('ls')).stderr));
    assert.deepEqual([await two(), await isServed(t, from(port, '127.0.0.3'))], [true, false]);
    assert.equal((await grace.run('restart')).code, 1);
    assert.deepEqual([await two(), await isServed(t, from(port, '127.0.0.3'))], [true, false]);
    writeFileSync(list, '127.0.0.2\n');
    process.kill(Number(readFileSync(`${grace.dir}/grace.pid`, 'utf8')), 'SIGHUP');
    await until('it was read again', async () => !(await two()));
    await until('nothing is told of any more', async () => (await grace.run('ls')).stderr === '');
    const bad = await grace.run('start', 'tcp:0:interface=127.0.0.1:allow=@/nowhere/at/all', backend.endpoint);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /allow "\/nowhere\/at\/all": file not found/);
  },
);
