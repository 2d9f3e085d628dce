/** A limit of connections over all rules holds over rules, engines, threads and restarts, and leaves rules with few connections room. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import type { Backend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const timeout = 180_000;
const engines = runtime === 'executable' && process.platform === 'linux' ? ['native', 'portable'] : ['portable'];
const plain = 'tcp:0:interface=127.0.0.1';
/** Whoever was accepted is served at a restart, since nobody else can. */
const options = { timeout, skip: runtime === 'deno' && 'Deno accepts more clients at once than it is asked for' };

/** Clients that stay until they are ended; a refusal at the end of the test is none. */
function flood(t: TestContext, count: number, open: () => Socket): Socket[] {
  const clients = Array.from({ length: count }, () =>
    open()
      .on('error', () => {})
      .resume(),
  );
  t.after(() => clients.forEach((client) => client.destroy()));
  return clients;
}

/** The most connections that these had at once. */
function watchMost(...backends: readonly Backend[]): () => number {
  let most = 0;
  for (const { server } of backends)
    server.on('connection', () => {
      most = Math.max(
        most,
        backends.reduce((sum, { connections }) => sum + connections.size, 0),
      );
    });
  return () => most;
}

for (const engine of engines)
  test(`all rules together have so many connections, over restarts too (${engine})`, options, async (t) => {
    const grace = makeGrace(t);
    const files = pemFiles(t);
    const limit = 5;
    const [one, two] = [await startBackend(t, 'A'), await startBackend(t, 'B')];
    const most = watchMost(one, two);
    const served = () => one.connections.size + two.connections.size;
    const threads = engine === 'native' ? ['--threads', '2'] : [];
    const daemon = grace.spawn('daemon', '--engine', engine, ...threads, '--maxconn', `${limit}`);
    await until('it serves', () => grace.log().includes('serving'));
    const tls = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`;
    await grace.ok('start', plain, one.endpoint);
    await grace.ok('start', tls, two.endpoint);
    const [port, tlsPort] = [await grace.port(plain), await grace.port(tls)];
    const secret = flood(t, 2, () => connectTls({ port: tlsPort, host: '127.0.0.1', rejectUnauthorized: false }));
    await until('those with TLS are served', () => two.connections.size === 2);
    flood(t, 3 * limit, () => connect(port, '127.0.0.1'));
    await until('as many as may are served', () => served() === limit);
    flood(t, 3, () => connectTls({ port: tlsPort, host: '127.0.0.1', rejectUnauthorized: false }));
    const { maxconn } = await grace.status();
    assert.deepEqual({ limit: maxconn?.limit, taken: maxconn?.taken }, { limit, taken: limit });
    assert.match(
      await grace.ok('status'),
      /^connections +5 of 5 \(--maxconn\), .*: it is full, and new clients wait$/m,
    );
    assert.match(await grace.ok('metrics'), /^grace_maxconn 5\n(?:.*\n)*grace_maxconn_waits_total [1-9]/m);
    for (let restart = 0; restart < 2; restart++) {
      await grace.ok('restart');
      assert.equal((await grace.status()).connections, limit);
    }
    // Each that leaves, of either rule and either process, makes room for one of either rule.
    secret[0]!.end();
    await until('one has come in its place', () => one.connections.size + two.connections.size === limit);
    for (let round = 0; round < 4; round++) {
      const [first] = [...one.connections, ...two.connections];
      first!.destroy();
      await until('the next one is served', () => !first!.destroyed || served() === limit);
    }
    assert.ok(most() <= limit, `${most()}`);
    await grace.ok('stop', '--now');
    await daemon.ended;
  });

for (const engine of engines)
  test(`a flood of one rule leaves places to another, and commands are answered (${engine})`, options, async (t) => {
    const grace = makeGrace(t);
    const [one, two] = [await startBackend(t, 'A'), await startBackend(t, 'B')];
    const daemon = grace.spawn('daemon', '--engine', engine, '--maxconn', '40');
    await until('it serves', () => grace.log().includes('serving'));
    const other = `${plain}:idle=1h`;
    await grace.ok('start', plain, one.endpoint);
    await grace.ok('start', other, two.endpoint);
    const port = await grace.port(plain);
    flood(t, 100, () => connect(port, '127.0.0.1'));
    await until('it has all but a tenth', () => one.connections.size === 36);
    for (let restart = 0; restart < 2; restart++) {
      const client = await openClient(t, { port: await grace.port(other) });
      assert.equal(await client.line(), 'B');
      assert.equal(await client.echo('served'), 'served');
      assert.equal(one.connections.size, 36);
      await client.end();
      await grace.ok('restart');
    }
    assert.ok(((await grace.status()).maxconn?.waits ?? 0) > 0);
    await grace.ok('stop', '--now');
    await daemon.ended;
  });

test(
  'whoever comes alone has the kept places of a rule that has few connections, whichever thread is told of him',
  { ...options, skip: options.skip || (engines.length < 2 && 'there are no threads') },
  async (t) => {
    const grace = makeGrace(t);
    const [one, two] = [await startBackend(t, 'A'), await startBackend(t, 'B')];
    const daemon = grace.spawn('daemon', '--engine', 'native', '--threads', '2', '--maxconn', '40');
    await until('it serves', () => grace.log().includes('serving'));
    const other = `${plain}:idle=1h`;
    await grace.ok('start', plain, one.endpoint);
    await grace.ok('start', other, two.endpoint);
    const port = await grace.port(plain);
    flood(t, 50, () => connect(port, '127.0.0.1'));
    await until('it has all but a tenth', () => one.connections.size === 36);
    const otherPort = await grace.port(other);
    for (let round = 0; round < 8; round++) {
      const served = [];
      for (let place = 0; place < 4; place++) {
        const client = await openClient(t, { port: otherPort });
        assert.equal(await client.line(), 'B');
        served.push(client);
      }
      const next = await openClient(t, { port: otherPort });
      await served.shift()!.end();
      assert.equal(await next.line(), 'B');
      for (const client of [...served, next]) await client.end();
      await until('all have gone', () => two.connections.size === 0);
    }
    await grace.ok('stop', '--now');
    await daemon.ended;
  },
);

test('a first start takes the limit too, and one that is none is refused in a line', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'A');
  for (const bad of ['0', 'many']) {
    const { code, stderr } = await grace.run('start', '--maxconn', bad, plain, backend.endpoint);
    assert.equal(code, 2);
    assert.match(stderr, /^grace: --maxconn takes a number from 1 to 1000000, not /);
  }
  await grace.ok('start', '--maxconn', '1', plain, backend.endpoint);
  const port = await grace.port(plain);
  const first = await openClient(t, { port });
  assert.equal(await first.line(), 'A');
  const second = await openClient(t, { port });
  assert.equal((await grace.status()).maxconn?.limit, 1);
  assert.equal(backend.connections.size, 1);
  await first.end();
  assert.equal(await second.line(), 'A');
});
