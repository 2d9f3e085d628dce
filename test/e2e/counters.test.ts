/** Counters of a rule never go back: not at a restart, whatever carries the connections, and not at a crash. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import type { Grace } from './grace.ts';
import { pemFiles } from './pem-files.ts';
import { gone } from './processes.ts';

const timeout = 180_000;
const plain = 'tcp:0:interface=127.0.0.1';

type Totals = { bytesIn: number; bytesOut: number; since: string };

/** Of all processes together, with when the rule began. */
async function totals(grace: Grace, src: string): Promise<Totals> {
  const rows = (await grace.ls()).filter((row) => row.src === src);
  const sum = (name: 'bytesIn' | 'bytesOut') => rows.reduce((total, row) => total + row[name], 0);
  return { bytesIn: sum('bytesIn'), bytesOut: sum('bytesOut'), since: rows.find(({ active }) => active)!.since };
}

/** A source of each kind, and how to connect to it and hear lines. */
function sources(t: TestContext) {
  const files = pemFiles(t);
  const secure = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`;
  const connectSecure = async (port: number) => {
    const socket = connectTls({ port, host: '127.0.0.1', servername: 'www.example.com', ca: readFileSync(files.root) });
    t.after(() => void socket.destroy());
    await once(socket, 'data'); // the greeting
    return {
      async echo(text: string) {
        socket.write(text);
        await once(socket, 'data');
      },
      async end() {
        socket.resume().end();
        await once(socket, 'close');
      },
    };
  };
  const connectPlain = async (port: number) => {
    const client = await openClient(t, { port });
    await client.line();
    return client;
  };
  return { plain: { src: plain, connect: connectPlain }, secure: { src: secure, connect: connectSecure } };
}

for (const [what, engine, kind] of [
  ['plain connections', 'auto', 'plain'],
  ['connections of a TLS source', 'auto', 'secure'],
  ['connections of the portable engine', 'portable', 'plain'],
] as const) {
  test(`${what} are counted once over restarts, also when their process has ended`, { timeout }, async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'A');
    const { src, connect } = sources(t)[kind];
    await startWith(grace, engine, src, backend.endpoint);
    const port = await grace.port(src);
    const seen: Totals[] = [];
    const look = async () => {
      const now = await totals(grace, src);
      const last = seen.at(-1) ?? now;
      assert.ok(
        now.bytesIn >= last.bytesIn && now.bytesOut >= last.bytesOut,
        `${JSON.stringify(last)}, then ${JSON.stringify(now)}`,
      );
      assert.equal(now.since, last.since);
      seen.push(now);
      return now;
    };
    // Of ten characters with the line's end, plus the greeting of two.
    const first = await connect(port);
    await first.echo('123456789');
    const before = await look();
    const unit = { in: before.bytesIn, out: before.bytesOut - 2 };
    await grace.ok('restart');
    assert.deepEqual(await look(), before);
    await first.echo('123456789');
    const second = await connect(port);
    await second.echo('123456789');
    const three = { bytesIn: 3 * unit.in, bytesOut: 3 * unit.out + 4, since: before.since };
    assert.deepEqual(await look(), three);
    await grace.ok('restart');
    assert.deepEqual(await look(), three);
    await first.echo('123456789');
    await first.end();
    await second.end();
    const four = { ...three, bytesIn: 4 * unit.in, bytesOut: 4 * unit.out + 4 };
    await until('the older processes have ended', async () => {
      await look();
      return (await grace.status()).generations.length === 1;
    });
    assert.deepEqual(await look(), four);
    await grace.ok('restart');
    assert.deepEqual(await look(), four);
  });
}

async function startWith(grace: Grace, engine: string, src: string, dst: string): Promise<void> {
  if (engine === 'auto') return void (await grace.ok('start', src, dst));
  const daemon = grace.spawn('daemon', '--engine', engine);
  await until('the daemon answers', async () => (await grace.run('status')).code === 0);
  void daemon;
  await grace.ok('start', src, dst);
}

test(
  'what was shown of counters does not go back at a crash, nor at a stop',
  { timeout, skip: runtime === 'executable' ? false : 'the keeper is the same everywhere' },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'A');
    await grace.ok('start', plain, backend.endpoint);
    const port = await grace.port(plain);
    const client = await openClient(t, { port });
    await client.line();
    await client.echo('123456789');
    const before = await totals(grace, plain);
    assert.deepEqual([before.bytesIn, before.bytesOut], [10, 12]);
    const { pid } = await grace.status();
    process.kill(pid, 'SIGKILL');
    await gone(pid);
    await until('the next daemon answers', async () => (await grace.run('status')).code === 0);
    assert.deepEqual(await totals(grace, plain), before);
    const next = await openClient(t, { port });
    await next.line();
    await next.end();
    await until('the next connection is counted', async () => (await totals(grace, plain)).bytesOut === 14);
    await grace.ok('stop');
    const daemon = grace.spawn('daemon');
    await until('a daemon answers', async () => (await grace.run('status')).code === 0);
    void daemon;
    assert.deepEqual(await totals(grace, plain), { ...before, bytesOut: 14 });
  },
);
