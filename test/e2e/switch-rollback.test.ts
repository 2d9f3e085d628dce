import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback } from './grace.ts';
import type { Grace } from './grace.ts';

const src = 'tcp:0:interface=127.0.0.1';
/** Long enough not to pass before what the test waits for. */
const long = '60s';

async function startServer(t: TestContext, serve: (socket: Socket) => void): Promise<{ server: Server; dst: string }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(0, ownLoopback);
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === 'object' && address);
  return { server, dst: `tcp:${ownLoopback}:${address.port}` };
}

/** A rule that leads to a good server, with an open connection; resolves with what switches it, and what connects. */
async function setUp(t: TestContext) {
  const grace = makeGrace(t);
  const good = await startBackend(t, 'good');
  await grace.ok('start', src, good.endpoint);
  const port = await grace.port(src);
  const open = await openClient(t, { port });
  assert.equal(await open.line(), 'good');
  const active = async () => (await grace.ls()).filter((row) => row.active).map(({ dst }) => dst);
  /** Clients that send a line, until one has come to the destination that is tried and failed there. */
  const clients = async (isOver: () => boolean) => {
    while (!isOver()) {
      // It may be reset before it has noticed that it was connected.
      const client = await openClient(t, { port }).catch(() => null);
      client?.socket.write('hello\n');
      await client?.line().catch(() => {});
      client?.socket.destroy();
    }
  };
  return { grace, good, port, open, active, clients };
}

type Case = {
  what: string;
  /** Returns the destination. */
  serve: (t: TestContext) => Promise<string>;
  /** Of the switch; a short time for one that shows only at its end. */
  args?: string[];
  why: RegExp;
};

const cases: Case[] = [
  {
    what: 'accepts and then resets',
    serve: async (t) => (await startServer(t, (socket) => socket.once('data', () => socket.resetAndDestroy()))).dst,
    why: /before a byte came back/,
  },
  {
    what: 'accepts and then ends',
    serve: async (t) => (await startServer(t, (socket) => socket.once('data', () => socket.end()))).dst,
    why: /before a byte came back/,
  },
  {
    what: 'refuses',
    serve: async (t) => {
      const { server, dst } = await startServer(t, () => {});
      server.close();
      await once(server, 'close');
      return dst;
    },
    args: ['--no-check'],
    why: /connection refused \(ECONNREFUSED\)/,
  },
  {
    what: 'speaks no TLS',
    serve: async (t) =>
      (await startServer(t, (socket) => socket.once('data', () => socket.end('no\n')))).dst.replace('tcp:', 'tls:') +
      ':insecure=yes',
    args: ['--no-check'],
    why: /TLS/,
  },
];

for (const { what, serve, args = [], why } of cases)
  test(
    `a switch to a server that ${what} is rolled back, and open connections stay`,
    { timeout: 60_000 },
    async (t) => {
      const { grace, good, open, active, clients } = await setUp(t);
      const dst = await serve(t);
      let isOver = false;
      const load = clients(() => isOver);
      const { code, stdout, stderr } = await grace.run('switch', src, dst, '--rollback-if-fails', long, ...args);
      isOver = true;
      await load;
      assert.deepEqual([code, stdout], [5, ''], stderr);
      assert.match(stderr, /^grace: rolled back: tcp:0.* does not go to .*\nhint: new connections go to .* again/);
      assert.match(stderr, why);
      assert.deepEqual(await active(), [good.endpoint]);
      assert.equal(await open.echo('still here'), 'still here');
      assert.match(grace.log(), /switch rolled back/);
      assert.match(stored(grace), new RegExp(good.endpoint));
    },
  );

test('a switch to a server that is silent is rolled back at the end of its time', { timeout: 60_000 }, async (t) => {
  const { grace, good, port, active } = await setUp(t);
  const waiting: Socket[] = [];
  const silent = await startServer(t, (socket) => void waiting.push(socket.resume()));
  const switching = grace.run('switch', src, silent.dst, '--rollback-if-fails', '6s');
  await switched(grace);
  const client = await openClient(t, { port });
  client.socket.write('hello\n');
  const { code, stderr } = await switching;
  assert.equal(code, 5, stderr);
  assert.match(stderr, /rolled back: .*no byte came back within 3 s/);
  assert.deepEqual(await active(), [good.endpoint]);
  waiting.at(-1)?.write('late, but here\n');
  assert.equal(await client.line(), 'late, but here');
});

test('a switch whose new connections do not fail is for good after its time', { timeout: 60_000 }, async (t) => {
  const { grace, good, open, clients } = await setUp(t);
  const better = await startBackend(t, 'better');
  let isOver = false;
  const load = clients(() => isOver);
  const began = performance.now();
  const switching = grace.ok('switch', src, better.endpoint, '--rollback-if-fails', '2s', '--wait');
  await switched(grace);
  assert.match(stored(grace), new RegExp(good.endpoint));
  await until('it is not stored', () => stored(grace).includes(better.endpoint));
  assert.ok(performance.now() - began >= 2000);
  assert.equal(await open.echo('still here'), 'still here');
  await open.end();
  assert.equal(await switching, 'Switched\n');
  isOver = true;
  await load;
});

test('a restart in the middle changes nothing of it', { timeout: 60_000 }, async (t) => {
  const { grace, good, open, active, clients } = await setUp(t);
  const { dst } = await startServer(t, (socket) =>
    socket.once('data', () => (isBad ? socket.resetAndDestroy() : socket.end('fine\n'))),
  );
  let isBad = false;
  let isOver = false;
  const load = clients(() => isOver);
  const switching = grace.run('switch', src, dst, '--rollback-if-fails', long);
  await switched(grace);
  await grace.ok('restart');
  assert.deepEqual(await active(), [dst]);
  isBad = true;
  const { code, stderr } = await switching;
  isOver = true;
  await load;
  assert.equal(code, 5, stderr);
  assert.match(stderr, /rolled back: .* before a byte came back/);
  assert.deepEqual(await active(), [good.endpoint]);
  assert.equal(await open.echo('still here'), 'still here');
});

test('after a crash in the middle the rule goes where it went before', { timeout: 60_000 }, async (t) => {
  const { grace, good, active } = await setUp(t);
  const better = await startBackend(t, 'better');
  const switching = grace.spawn('switch', src, better.endpoint, '--rollback-if-fails', long);
  await switched(grace);
  switching.child.kill('SIGKILL');
  await switching.ended;
  process.kill((await grace.status()).pid, 'SIGKILL');
  await until('no daemon is there again', async () => (await grace.run('ls', '--json')).code === 0);
  assert.deepEqual(await active(), [good.endpoint]);
});

/** The log tells sooner than a command, on a machine that is busy. */
function switched(grace: Grace): Promise<void> {
  return until('it is not switched', () => grace.log().includes('rule switched'));
}

function stored({ dir }: Grace): string {
  return readFileSync(join(dir, 'state.json'), 'utf8');
}
