/** What `grace metrics` prints is what Prometheus takes, is true, and never goes back. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { test } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback, runtime } from './grace.ts';
import type { Grace } from './grace.ts';
import { pemFiles } from './pem-files.ts';
import { startTlsBackend } from './tls-backend.ts';
import { gone } from './processes.ts';

const timeout = 180_000;
const plain = 'tcp:0:interface=127.0.0.1';

/** Samples by their names with labels, and the types of metrics. */
type Scrape = { samples: Map<string, number>; types: Map<string, string> };

async function scrape(grace: Grace): Promise<Scrape> {
  const lines = (await grace.ok('metrics')).trim().split('\n');
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  for (const line of lines) {
    const [, named, type] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (named !== undefined && type !== undefined) types.set(named, type);
    const [, name, value] = /^([^#].*) (\S+)$/.exec(line) ?? [];
    if (name !== undefined) samples.set(name, Number(value));
  }
  return { samples, types };
}

/** The sum of all samples of a metric, of those with a label if one is given. */
function sum({ samples }: Scrape, name: string, label = ''): number {
  return [...samples]
    .filter(([each]) => (each === name || each.startsWith(`${name}{`)) && each.includes(label))
    .reduce((total, [, value]) => total + value, 0);
}

/** Looks again and again; nothing that counts may ever be less than it was, and all connections are accounted for. */
function watch(grace: Grace): () => Promise<Scrape> {
  let last: Scrape | null = null;
  return async () => {
    const now = await scrape(grace);
    for (const [name, before] of last?.samples ?? []) {
      const [, base = ''] = /^([a-z_]+?)(_bucket|_sum|_count)?(\{|$)/.exec(name) ?? [];
      const type = now.types.get(base) ?? now.types.get(name.replace(/\{.*/, ''));
      if (type === 'gauge') continue;
      assert.ok((now.samples.get(name) ?? -1) >= before, `${name} was ${before} and is ${now.samples.get(name)}`);
    }
    last = now;
    const accounted = sum(now, 'grace_connection_ends_total') + sum(now, 'grace_connections');
    assert.equal(accounted, sum(now, 'grace_connections_total'));
    return now;
  };
}

test('Prometheus takes what is printed', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'A');
  await grace.ok('start', plain, backend.endpoint);
  const text = await grace.ok('metrics');
  for (const name of [
    'grace_connections{',
    'grace_connections_total',
    'grace_connection_ends_total',
    'grace_bytes_total',
    'grace_dial_failures_total',
    'grace_connect_seconds_bucket',
    'grace_restarts_total',
    'grace_switches_total',
    'grace_generations',
    'grace_build_info',
  ])
    assert.ok(text.includes(`\n${name}`), name);
  const { error, status, stderr, stdout } = spawnSync('promtool', ['check', 'metrics'], { input: text });
  if (error) return t.diagnostic('promtool is not there: the text was not checked with it');
  assert.equal(status, 0, `${stdout}${stderr}`);
});

test('connections, their reasons, bytes and failures are counted', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'A');
  await grace.ok('start', plain, backend.endpoint);
  const look = watch(grace);
  const port = await grace.port(plain);
  const client = await openClient(t, { port });
  await client.line();
  await client.echo('123456789');
  const first = await look();
  assert.equal(sum(first, 'grace_connections'), 1);
  assert.equal(sum(first, 'grace_bytes_total', 'direction="in"'), 10);
  assert.equal(sum(first, 'grace_bytes_total', 'direction="out"'), 12);
  await client.end();
  await grace.ok('switch', '--no-check', plain, `tcp:${ownLoopback}:1`);
  const refused = connect({ port, host: '127.0.0.1' }).on('error', () => {});
  await new Promise((resolve) => refused.once('close', resolve));
  await until(
    'the refusal is counted',
    async () => sum(await look(), 'grace_dial_failures_total', 'dial-refused') === 1,
  );
  const last = await look();
  assert.equal(sum(last, 'grace_connection_ends_total', 'finished'), 1);
  assert.equal(sum(last, 'grace_connect_seconds_count'), 1);
  assert.equal(sum(last, 'grace_connection_duration_seconds_count'), 2);
  assert.equal(sum(last, 'grace_switches_total'), 1);
});

for (const kind of ['plain', 'secure'] as const) {
  test(`no counter goes back over restarts, with ${kind} connections that are open`, { timeout }, async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'A');
    const files = pemFiles(t);
    const secure = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`;
    const src = kind === 'plain' ? plain : secure;
    await grace.ok('start', src, backend.endpoint);
    const port = await grace.port(src);
    const look = watch(grace);
    const open = async () => {
      if (kind === 'plain') {
        const client = await openClient(t, { port });
        await client.line();
        return () => client.end();
      }
      const ca = readFileSync(files.root);
      const socket = connectTls({ port, host: '127.0.0.1', servername: 'www.example.com', ca });
      t.after(() => void socket.destroy());
      await once(socket, 'data');
      return async () => {
        socket.end();
        await once(socket, 'close');
      };
    };
    const ends = [await open(), await open()];
    await look();
    await grace.ok('restart');
    const restarted = await look();
    assert.equal(sum(restarted, 'grace_restarts_total'), 1);
    assert.equal(sum(restarted, 'grace_connections'), 2);
    await ends.pop()!();
    ends.push(await open());
    await look();
    await grace.ok('restart');
    await look();
    for (const end of ends) await end();
    await until('all has ended, and so have the older processes', async () => {
      const now = await look();
      return sum(now, 'grace_connections') === 0 && sum(now, 'grace_generations') === 1;
    });
    const last = await look();
    assert.equal(sum(last, 'grace_connections_total'), 3);
    assert.equal(sum(last, 'grace_connection_ends_total', 'finished'), 3);
    assert.equal(sum(last, 'grace_restarts_total'), 2);
    if (kind === 'secure') assert.equal(sum(last, 'grace_tls_handshakes_total', 'outcome="done"'), 3);
  });
}

for (const engine of ['native', 'portable'] as const) {
  test(
    `handshakes that went on with an earlier session are counted, over a restart too (${engine} engine)`,
    { timeout, skip: runtime === 'deno' && "Deno's TLS does not say which it has resumed" },
    async (t) => {
      const grace = makeGrace(t, engine === 'portable' ? { GRACE_TLS: 'portable' } : {});
      const files = pemFiles(t);
      const behind = await startTlsBackend(t, files, (socket) => void socket.pipe(socket));
      const src = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`;
      await grace.ok('start', src, `ssl:127.0.0.1:${behind}:caCertsDir=${files.caDir}`);
      const port = await grace.port(src);
      const ca = readFileSync(files.root);
      let session: Buffer | undefined;
      const visit = async () => {
        const host = { port, host: '127.0.0.1', servername: 'www.example.com', ca };
        const socket = connectTls({ ...host, ...(session && { session }) });
        socket.on('session', (each: Buffer) => (session = each));
        socket.write('hello');
        await once(socket, 'data');
        socket.end();
        await once(socket, 'close');
      };
      const look = watch(grace);
      const resumed = async () => {
        const now = await look();
        const of = (side: string) => sum(now, 'grace_tls_handshakes_resumed_total', `side="${side}"`);
        return [of('client'), of('upstream')];
      };
      // Only the threads have sessions with destinations.
      const ofUpstream = engine === 'native' ? [0, 1, 2] : [0, 0, 0];
      await visit();
      assert.deepEqual(await resumed(), [0, 0]);
      await visit();
      assert.deepEqual(await resumed(), [1, ofUpstream[1]]);
      await visit();
      assert.deepEqual(await resumed(), [2, ofUpstream[2]]);
      await grace.ok('restart');
      assert.deepEqual(await resumed(), [2, ofUpstream[2]]);
      // Clients go on with theirs, and towards a destination a new process begins anew.
      await visit();
      assert.deepEqual(await resumed(), [3, ofUpstream[2]]);
      assert.equal(sum(await look(), 'grace_tls_handshakes_total', 'outcome="done"'), 8);
    },
  );
}

test(
  'no counter goes back when the daemon is killed, and what was open has ended by a crash',
  { timeout, skip: runtime === 'executable' ? false : 'the keeper is the same everywhere' },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'A');
    await grace.ok('start', plain, backend.endpoint);
    const look = watch(grace);
    const port = await grace.port(plain);
    for (let round = 1; round <= 2; round++) {
      const clients = [await openClient(t, { port }), await openClient(t, { port })];
      for (const client of clients) await client.line();
      await clients.pop()!.end();
      await until('one has ended', async () => sum(await look(), 'grace_connections') === 1);
      const { pid } = await grace.status();
      process.kill(pid, 'SIGKILL');
      await gone(pid);
      await until('the next daemon answers', async () => (await grace.run('status')).code === 0);
      const now = await look();
      assert.equal(sum(now, 'grace_crashes_total'), round);
      assert.equal(sum(now, 'grace_connection_ends_total', 'crash'), round);
      assert.equal(sum(now, 'grace_connections_total'), 2 * round);
    }
    await grace.ok('stop');
    const daemon = grace.spawn('daemon');
    await until('a daemon answers', async () => (await grace.run('status')).code === 0);
    void daemon;
    const again = await look();
    assert.equal(sum(again, 'grace_crashes_total'), 2);
    assert.equal(sum(again, 'grace_connections_total'), 4);
  },
);
