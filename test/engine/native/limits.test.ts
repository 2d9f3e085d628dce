/** Limits and times of a connection hold wherever it goes: from engine to engine, from the threads to the portable engine. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Socket } from 'node:net';
import { openNativeEngine } from '../../../src/engine/native/engine.ts';
import type { NativeEngine } from '../../../src/engine/native/engine.ts';
import { Slots } from '../../../src/engine/slots.ts';
import type { Upstream } from '../../../src/engine/engine.ts';
import type { ClientEndpoint } from '../../../src/endpoint/model.ts';
import { IPPROTO_TCP } from '../../../src/sys/constants.ts';
import { dupFd } from '../../../src/sys/descriptor.ts';
import { peerName, socketName, socketOption } from '../../../src/sys/socket.ts';
import { until } from '../../until.ts';
import { openFullBackend } from '../full-backend.ts';
import { openBackend, openEcho, readBytes } from '../peers.ts';
import { Rig, to } from '../rig.ts';
import { openTlsBackend, pemFiles, read, sslTo } from '../tls-peers.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };
const TCP_KEEPIDLE = 4;

/** Move all connections of an upstream. Returns where they are then, and how many they were. */
async function move(
  from: NativeEngine,
  upstream: Upstream,
  own: { engine: NativeEngine; upstream: Upstream },
  { idleMs = null, slots = null }: { idleMs?: number | null; slots?: Slots | null } = {},
): Promise<number> {
  const frozen = await from.mover.freeze(upstream, 100);
  // As over a process boundary: what is not written down is lost.
  const received = frozen.map((connection) => structuredClone(connection));
  for (const { client, server } of received)
    for (const leg of server === null ? [client] : [client, server]) leg.fd = dupFd(leg.fd);
  from.mover.release(frozen);
  if (received.length > 0)
    own.engine.mover.adopt(received, { upstream: own.upstream, frontend: null, observer: {}, idleMs, slots });
  return received.length;
}

/** Move to and fro, again and again, until there is nothing to move. Rejects when that does not come about. */
async function moveUntilOver(
  first: NativeEngine,
  upstream: Upstream,
  endpoint: ClientEndpoint,
  { everyMs, idleMs = null }: { everyMs: number; idleMs?: number | null },
): Promise<number> {
  const second = openNativeEngine();
  const [here, there] = [
    { engine: first, upstream: first.openUpstream(endpoint) },
    { engine: second, upstream: second.openUpstream(endpoint) },
  ];
  let at: { engine: NativeEngine; upstream: Upstream } = { engine: first, upstream };
  try {
    for (let moves = 0; moves < 300; moves++) {
      await delay(everyMs);
      const next = at.engine === first ? there : here;
      if ((await move(at.engine, at.upstream, next, { idleMs })) === 0) return moves;
      at = next;
    }
    throw new Error('it goes on and on');
  } finally {
    for (const each of [here, there]) {
      each.upstream.destroy();
      await each.upstream.drained();
    }
    await second.close();
  }
}

test(
  'a quiet connection that moves more often than anybody looks is ended when its idle time is over, and not before',
  options,
  async () => {
    const engine = openNativeEngine();
    await using rig = new Rig(() => engine);
    await using echo = await openEcho();
    const idleMs = 1000;
    const { connect, upstream } = await rig.forward({ to: to(echo), from: { idle: idleMs } });
    const client = await connect();
    client.write('x');
    await readBytes(client, 1);
    const quietSince = performance.now();
    const moves = await moveUntilOver(engine, upstream, upstream.endpoint, { everyMs: 60, idleMs });
    const quietMs = performance.now() - quietSince;
    assert.ok(moves > 3 && quietMs >= idleMs - 20, `ended after ${moves} moves and ${Math.round(quietMs)} ms`);
  },
);

test('a dial is not given more time by moving: neither to retry nor to connect', options, async () => {
  const engine = openNativeEngine();
  await using rig = new Rig(() => engine);
  const refusing = to({ path: rig.path() }, { retry: 600 });
  const first = await rig.forward({ to: refusing });
  await first.connect();
  await until('it is dialled', () => first.upstream.stats().dialing === 1);
  await moveUntilOver(engine, first.upstream, refusing, { everyMs: 50 });
  using full = await openFullBackend();
  const silent = to(full.address, { timeout: 0.6 });
  const second = await rig.forward({ to: silent });
  await second.connect();
  await until('it is dialled', () => second.upstream.stats().dialing === 1);
  await moveUntilOver(engine, second.upstream, silent, { everyMs: 50 });
});

test('the times of keep-alive are set of a connection that moves when it is young', options, async () => {
  const engine = openNativeEngine();
  await using rig = new Rig(() => engine);
  const other = openNativeEngine();
  await using backend = await openBackend();
  const { connect, upstream } = await rig.forward({ to: to(backend, { keepalive: 33_000 }) });
  await connect();
  const peer = await backend.next();
  assert.deepEqual(keepIdleOf(peer), []);
  const own = other.openUpstream(upstream.endpoint);
  await move(engine, upstream, { engine: other, upstream: own });
  await until('its times are set', () => keepIdleOf(peer).includes(33));
  own.destroy();
  await own.drained();
  await other.close();
});

/** Seconds until the first probe of the other end of a test's socket, where they are not the system's. */
function keepIdleOf({ localPort, remotePort }: Socket): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .flatMap((fd) => {
      try {
        const [local, peer] = [socketName(fd), peerName(fd)];
        if (local.family === 'unix' || peer.family === 'unix' || local.port !== remotePort || peer.port !== localPort)
          return [];
        const seconds = socketOption(fd, IPPROTO_TCP, TCP_KEEPIDLE);
        return seconds === 7200 ? [] : [seconds];
      } catch {
        return []; // no socket, or closed by now
      }
    });
}

const pem = pemFiles();

test("a limit is the source's, whichever engine serves its clients", options, async () => {
  await using rig = new Rig(() => openNativeEngine({ threads: 2 }));
  await using backend = await openBackend();
  await using secure = await openTlsBackend({ key: read(pem().key), cert: read(pem().fullChain) });
  const { connect, upstream, frontend } = await rig.forward({ to: to(backend), from: { maxconn: 2 } });
  const clients = [await connect(), await connect()];
  const peers = [await backend.next(), await backend.next()];
  const other = rig.upstream(sslTo(secure.port, pem(), { hostname: 'www.example.com' }));
  frontend.route(other);
  const waiting = await connect();
  frontend.route(upstream);
  frontend.route(other);
  await delay(50); // that nobody is served beyond the limit, only time can tell
  assert.deepEqual([upstream.stats().connections, other.stats().connections], [2, 0]);
  // A place that a thread gives up is the portable engine's.
  clients[0]!.end();
  peers[0]!.end();
  await until('the one that waited is served', () => other.stats().connections === 1, { limitMs: 5000 });
  frontend.route(upstream);
  waiting.destroy();
  (await secure.next()).resume().end();
  const last = await connect();
  last.write('l');
  assert.equal(await readBytes(await backend.next(), 1), 'l');
});

test('connections that are adopted have their places, and give them up when they end', options, async () => {
  const engine = openNativeEngine();
  await using rig = new Rig(() => engine);
  await using echo = await openEcho();
  const { connect, upstream } = await rig.forward({ to: to(echo) });
  const clients = [await connect(), await connect()];
  for (const client of clients) client.write('a');
  await Promise.all(clients.map((client) => readBytes(client, 1)));
  const other = openNativeEngine({ threads: 2 });
  const own = other.openUpstream(upstream.endpoint);
  const slots = new Slots({ limit: 2 });
  slots.reserve(2);
  const rooms: number[] = [];
  slots.onRoom(() => rooms.push(slots.taken));
  assert.equal(await move(engine, upstream, { engine: other, upstream: own }, { slots }), 2);
  assert.equal(slots.taken, 4);
  slots.reserve(0);
  assert.equal(slots.taken, 2);
  rooms.length = 0;
  clients[0]!.end();
  await once(clients[0]!.resume(), 'end');
  await until(
    () => `its place is free, and who waits is told: ${slots.taken}, ${rooms.join()}`,
    () => slots.taken === 1 && rooms.length > 0,
    { limitMs: 30_000 },
  );
  own.destroy();
  await own.drained();
  assert.equal(slots.taken, 0);
  await until('nothing is kept of them', () => other.kept.frontends === 0);
  await other.close();
});
