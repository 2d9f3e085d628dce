/** Networks that delay, lose, reorder, narrow and swallow what is sent: bytes are right all the same, and time-outs are those that are documented. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { makeGrace } from '../e2e/grace.ts';
import type { Grace } from '../e2e/grace.ts';
import { openStream, openStreamServer } from '../engine/soak-streams.ts';
import { until } from '../until.ts';
import { Link, linkObstacle } from './link.ts';

const options = { timeout: 240_000, skip: linkObstacle() };
const suiteOptions = { timeout: 900_000, skip: options.skip };
const seed = 4711;

type Place = { link: Link; grace: Grace; log: () => string; socket: string };

/** A daemon on a machine beyond a line. */
async function makePlace(
  t: TestContext,
  { engine, ...line }: { engine: string; mtu?: number; hosts?: (link: Link) => string },
): Promise<Place> {
  const grace = makeGrace(t);
  const dir = dirname(grace.dir);
  mkdirSync(dir, { recursive: true });
  const link = await Link.open(t, { dir, seed, ...line });
  await link.startDaemon(grace, '--engine', engine);
  return {
    link,
    grace,
    log: () => readFileSync(join(dir, 'grace.log'), 'utf8'),
    // A client of a Unix socket is on the near machine, whatever becomes of the line.
    socket: join(dir, 'source.sock'),
  };
}

/** A server on the far machine that answers each connection with a greeting, and then echoes. */
async function openGreeter(t: TestContext, host: string): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.write('hello');
    socket.pipe(socket);
  });
  server.listen(0, host);
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

/** A client that has been greeted. */
async function openGreeted(t: TestContext, path: string): Promise<Socket> {
  const client = connect(path).setEncoding('utf8');
  t.after(() => client.destroy());
  await once(client, 'data');
  return client;
}

/** How a connection ended for its client, and after how many seconds. */
async function endOf(client: Socket): Promise<{ how: string; seconds: number }> {
  const begun = performance.now();
  let how = 'end';
  client.on('error', (error: NodeJS.ErrnoException) => (how = error.code ?? error.message));
  client.resume();
  await new Promise<void>((resolve) => client.once('end', resolve).once('close', resolve));
  return { how, seconds: (performance.now() - begun) / 1000 };
}

async function reasons(grace: Grace): Promise<string[]> {
  const lines = (await grace.ok('metrics')).split('\n');
  return lines.flatMap((line) => {
    const [, reason, ended] = /^grace_connection_ends_total\{.*reason="([^"]+)".*\} ([0-9]+)/.exec(line) ?? [];
    return reason !== undefined && Number(ended) > 0 ? [reason] : [];
  });
}

describe('bytes and time-outs', { ...suiteOptions, concurrency: true }, () => {
  for (const engine of ['native', 'portable']) {
    describe(`${engine}: a network that`, { ...suiteOptions, concurrency: 2 }, () => {
      // It takes a minute: the others run meanwhile.
      test('goes away is noticed by the probes of keepalive=', options, async (t) => {
        const { link, grace, log, socket } = await makePlace(t, { engine });
        const { port } = await openGreeter(t, link.far);
        await grace.ok('start', `unix:${socket}`, `tcp:${link.far}:${port}:keepalive=1s`);
        const client = await openGreeted(t, socket);
        const { passed } = link;
        await until('a probe has been answered', () => link.passed >= passed + 2);
        link.conditions = { ...link.conditions, isCut: true };
        const { seconds } = await endOf(client);
        // A second of silence, and six probes ten seconds apart.
        assert.ok(seconds > 40 && seconds < 120, `after ${seconds} s`);
        assert.deepEqual(await reasons(grace), ['error']);
        await until('the log says so', () => /ETIMEDOUT/.test(log()));
        t.diagnostic(`after ${seconds.toFixed(1)} s`);
      });

      test('delays, loses and reorders costs no byte, over restarts too', options, async (t) => {
        const { link, grace } = await makePlace(t, { engine });
        const server = await openStreamServer({ host: link.far, port: 0 });
        t.after(() => server.close());
        assert.ok('port' in server.address);
        await grace.ok('start', 'tcp:7000', `tcp:${link.far}:${server.address.port}`);
        link.conditions = { delayMs: 5, jitterMs: 10, loss: 0.02, isCut: false };
        const address = { host: link.near, port: 7000 };
        const streams = await Promise.all(
          Array.from({ length: 6 }, (_, id) => openStream(address, { id, piece: 4000 * (1 + (id % 3)), pauseMs: 60 })),
        );
        for (const bytes of [50_000, 100_000]) {
          await until('bytes have come', () =>
            streams.every(({ received, socket }) => received > bytes || socket.destroyed),
          );
          await grace.ok('restart');
        }
        const late = await openStream(address, { id: 6 });
        const most = Math.max(...streams.map(({ received }) => received)) + 50_000;
        await until('more has come', () => streams.some(({ received }) => received > most) && late.received > 10_000);
        const results = await Promise.all([...streams, late].map((stream) => stream.finish()));
        assert.deepEqual(
          results.map(({ problem }) => problem),
          results.map(() => null),
        );
        assert.ok(link.lost > 20, `${link.lost} packets were lost`);
        const bytes = results.reduce((sum, { bytesUp, bytesDown }) => sum + bytesUp + bytesDown, 0);
        t.diagnostic(`${Math.round(bytes / 1000)} kB; ${link.lost} of ${link.passed + link.lost} packets were lost`);
      });

      test('takes small packets alone costs no byte', options, async (t) => {
        const { link, grace } = await makePlace(t, { engine, mtu: 576 });
        const server = await openStreamServer({ host: link.far, port: 0 });
        t.after(() => server.close());
        assert.ok('port' in server.address);
        await grace.ok('start', 'tcp:7000', `tcp:${link.far}:${server.address.port}`);
        link.conditions = { ...link.conditions, delayMs: 2 };
        const stream = await openStream({ host: link.near, port: 7000 }, { id: 1, piece: 20_000, pauseMs: 20 });
        await until('bytes have come', () => stream.received > 300_000 || stream.socket.destroyed);
        assert.equal((await stream.finish()).problem, null);
      });

      test('swallows a connect has it given up after the time-out of the destination', options, async (t) => {
        const { link, grace, log, socket } = await makePlace(t, { engine });
        await grace.ok('start', `unix:${socket}`, `tcp:${link.nowhere}:80:timeout=2`);
        const { how, seconds } = await endOf(connect(socket));
        // Of a Unix socket a reset that finds nothing unread is an end.
        assert.ok(['end', 'ECONNRESET'].includes(how), how);
        assert.ok(seconds > 1.8 && seconds < 20, `after ${seconds} s`);
        const said = new RegExp(`cannot connect to tcp:${link.nowhere}:80: timed out, no answer within 2 s`);
        await until(
          () => `the log says so: ${log()}`,
          () => said.test(log()),
        );
        assert.deepEqual(await reasons(grace), ['dial-timeout']);
      });

      test('swallows a connect to one address of a name has the next one tried', options, async (t) => {
        const { link, grace, socket } = await makePlace(t, {
          engine,
          hosts: ({ nowhere, far }) => `${nowhere} two.test\n${far} two.test\n`,
        });
        const { port } = await openGreeter(t, link.far);
        await grace.ok('start', `unix:${socket}`, `tcp:two.test:${port}`);
        const begun = performance.now();
        const first = await openGreeted(t, socket);
        const ms = performance.now() - begun;
        assert.ok(ms > 250, `the address that swallows was not tried first: ${ms} ms`);
        first.destroy();
        // The one that answered is the first to be tried from now on: before it there is nothing to wait for.
        await openGreeted(t, socket);
      });

      test('goes away leaves connections that end by idle=', options, async (t) => {
        const { link, grace, socket } = await makePlace(t, { engine });
        const { port } = await openGreeter(t, link.far);
        await grace.ok('start', `unix:${socket}:idle=2s`, `tcp:${link.far}:${port}`);
        const client = await openGreeted(t, socket);
        link.conditions = { ...link.conditions, isCut: true };
        const { seconds } = await endOf(client);
        assert.ok(seconds > 1 && seconds < 20, `after ${seconds} s`);
        assert.deepEqual(await reasons(grace), ['idle']);
      });

      test(
        'goes away with bytes under way ends the connection when the system gives up sending',
        options,
        async (t) => {
          const { link, grace, log, socket } = await makePlace(t, { engine });
          link.onNear('echo 3 > /proc/sys/net/ipv4/tcp_retries2');
          const { port } = await openGreeter(t, link.far);
          await grace.ok('start', `unix:${socket}`, `tcp:${link.far}:${port}`);
          const client = await openGreeted(t, socket);
          link.conditions = { ...link.conditions, isCut: true };
          client.write('is anybody there?');
          const { seconds } = await endOf(client);
          assert.ok(seconds < 60, `after ${seconds} s`);
          assert.deepEqual(await reasons(grace), ['error']);
          await until('the log says so', () => /ETIMEDOUT/.test(log()));
          t.diagnostic(`after ${seconds.toFixed(1)} s`);
        },
      );

      test('comes back to a peer that has forgotten its connections has them reset', options, async (t) => {
        const { link, grace, socket } = await makePlace(t, { engine });
        const { port, sockets } = await openGreeter(t, link.far);
        await grace.ok('start', `unix:${socket}`, `tcp:${link.far}:${port}`);
        const client = await openGreeted(t, socket);
        link.conditions = { ...link.conditions, isCut: true };
        // Its reset is lost, so that the near side does not know.
        for (const peer of sockets) peer.resetAndDestroy();
        const { lost } = link;
        await until('the reset is lost', () => link.lost > lost);
        link.conditions = { ...link.conditions, isCut: false };
        client.write('do you know me?');
        await endOf(client);
        assert.deepEqual(await reasons(grace), ['upstream-reset']);
      });
    });
  }
});
