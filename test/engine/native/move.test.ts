import assert from 'node:assert/strict';
import { test } from 'node:test';
import { once } from 'node:events';
import { openNativeEngine } from '../../../src/engine/native/engine.ts';
import type { NativeEngine } from '../../../src/engine/native/engine.ts';
import { Hold } from '../../../src/engine/hold.ts';
import { proxyHeader } from '../../../src/engine/proxy-header.ts';
import type { ProxySubject } from '../../../src/engine/proxy-header.ts';
import { CONNECTIONS_PER_BATCH, receiveBatch, sendBatch } from '../../../src/engine/transfer.ts';
import type { MovedConnection } from '../../../src/engine/transfer.ts';
import type { Upstream } from '../../../src/engine/engine.ts';
import { closeFd } from '../../../src/sys/descriptor.ts';
import { openSocketPair } from '../../../src/sys/socket.ts';
import { openFullBackend } from '../full-backend.ts';
import { endingOf, openBackend, openEcho, readAll, readBytes, reset } from '../peers.ts';
import { Rig, to } from '../rig.ts';
import { openStream, openStreamServer } from '../soak-streams.ts';
import type { Stream } from '../soak-streams.ts';
import { stalled } from '../stall.ts';
import { until } from '../../until.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };

/** An engine to move to, whose upstreams come to an end with it. */
class Successor implements AsyncDisposable {
  readonly engine = openNativeEngine({ threads: 2 });
  readonly #upstreams: Upstream[] = [];
  readonly #pair = openSocketPair('seqpacket');
  #batches = 0;

  upstreamLike(upstream: Upstream): Upstream {
    const own = this.engine.openUpstream(upstream.endpoint);
    this.#upstreams.push(own);
    return own;
  }

  /** Move every connection of an upstream, by the way that two processes use. Returns how many. */
  async take(from: NativeEngine, upstream: Upstream, own: Upstream): Promise<number> {
    let moved = 0;
    for (;;) {
      const frozen = await from.mover.freeze(upstream, CONNECTIONS_PER_BATCH);
      if (frozen.length === 0) return moved;
      sendBatch(this.#pair[0], ++this.#batches, frozen);
      const received = receiveBatch(this.#pair[1], this.#batches);
      from.mover.release(frozen);
      this.engine.mover.adopt(received, { upstream: own, frontend: null, observer: {}, idleMs: null });
      moved += received.length;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const upstream of this.#upstreams) {
      upstream.destroy();
      await upstream.drained();
    }
    await this.engine.close();
    for (const fd of this.#pair) closeFd(fd);
  }
}

function openRig(): { rig: Rig; engine: NativeEngine } {
  const engine = openNativeEngine({ threads: 2 });
  return { rig: new Rig(() => engine), engine };
}

for (const on of ['tcp', 'unix'] as const) {
  test(`streams over ${on} go on byte by byte in another engine, to and fro`, options, async () => {
    const { rig, engine } = openRig();
    await using _rig = rig;
    await using successor = new Successor();
    const server = await openStreamServer(on === 'tcp' ? { host: '127.0.0.1', port: 0 } : { path: rig.path() });
    const { upstream, address } = await rig.forward({ to: to(server.address), on });
    const streams: Stream[] = [];
    // One after the other: a Unix socket whose queue is full refuses at once.
    for (let id = 0; id < 60; id++) {
      const stream = await openStream(address, { id, piece: id % 3 === 0 ? 60_000 : 1000, pauseMs: 1 + (id % 5) });
      await once(stream.socket, 'data');
      streams.push(stream);
    }
    const [there, back] = [successor.upstreamLike(upstream), rig.upstream(upstream.endpoint)];
    assert.equal(await successor.take(engine, upstream, there), 60);
    await upstream.drained();
    await using returned = new Successor();
    const again = returned.upstreamLike(upstream);
    assert.equal(await returned.take(successor.engine, there, again), 60);
    await there.drained();
    const results = await Promise.all(streams.map((stream) => stream.finish()));
    assert.deepEqual(
      results.map(({ problem }) => problem).filter((problem) => problem !== null),
      [],
    );
    await again.drained();
    assert.equal(back.stats().connections, 0);
    await server.close();
  });
}

test(
  'bytes that a stalled reader has not taken move along, and so does a half-closed connection',
  options,
  async () => {
    const { rig, engine } = openRig();
    await using _rig = rig;
    await using successor = new Successor();
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    const client = await connect();
    const peer = await backend.next();
    client.pause();
    const data = Buffer.alloc(12_000_000, 'abcdefg');
    peer.end(data);
    await stalled(() => upstream.stats().bytesOut);

    const own = successor.upstreamLike(upstream);
    assert.equal(await successor.take(engine, upstream, own), 1);
    await upstream.drained();
    const all = readAll(client);
    assert.equal(await all, data.toString());
    client.end('bye');
    assert.equal(await readAll(peer), 'bye');
    await own.drained();
  },
);

test('a connection keeps its id, its age and its idle time when it moves', options, async () => {
  const { rig, engine } = openRig();
  await using _rig = rig;
  await using successor = new Successor();
  await using backend = await openBackend();
  const { connect, upstream } = await rig.forward({ to: to(backend) });
  const client = await connect();
  await backend.next();
  let [before] = await engine.connections([upstream]);
  await until('it is idle', async () => ([before] = await engine.connections([upstream]))[0]!.idleMs > 100);
  const own = successor.upstreamLike(upstream);
  assert.equal(await successor.take(engine, upstream, own), 1);
  await upstream.drained();
  assert.deepEqual(await engine.connections([upstream]), []);
  const [after = assert.fail()] = await successor.engine.connections([own]);
  assert.deepEqual([after.id, after.client], [before?.id, before?.client]);
  assert.ok(Math.abs(after.startedMs - before!.startedMs) < 50, `${after.startedMs - before!.startedMs} ms later`);
  assert.ok(after.idleMs > 80, `idle for ${after.idleMs} ms`);
  assert.equal(await engine.closeConnections([upstream], [after.id]), 0);
  const ending = endingOf(client);
  assert.equal(await successor.engine.closeConnections([own], [after.id]), 1);
  assert.equal(await ending, 'end');
});

test(
  'clients that a proxy speaks for are whom it says in another engine, too, wherever they were',
  options,
  async () => {
    const { rig, engine } = openRig();
    await using _rig = rig;
    await using successor = new Successor();
    await using backend = await openBackend();
    using full = await openFullBackend();
    const fields = [{ type: 0xe0, value: Uint8Array.of(1, 2) }];
    const subjectOf = (port: number): ProxySubject => ({
      client: { host: '2001:db8::7', port },
      accepted: { host: '2001:db8::1', port: 443 },
      fields: () => fields,
    });
    const hold = new Hold<Upstream>();
    hold.begin({ limit: 10 });
    const from = { proxy: 'accept', headerTimeout: 30_000 } as const;
    const connected = await rig.forward({ to: to(backend, { proxy: 'v2' }), from });
    const held = await rig.forward({ to: to(backend, { proxy: 'v2' }), from, hold });
    const dialing = await rig.forward({ to: to(full.address, { proxy: 'v2', timeout: 30 }), from });
    const [open, waiting, late, dialed] = await Promise.all(
      [connected, held, connected, dialing].map((f) => f.connect()),
    );
    const headers = [1, 2, 3, 4].map((port) => Buffer.from(proxyHeader('v2', subjectOf(port))));
    open!.write(headers[0]!);
    waiting!.write(Buffer.concat([headers[1]!, Buffer.from('held')]));
    late!.write(headers[2]!.subarray(0, 20));
    dialed!.write(headers[3]!);
    const peer = await backend.next();
    assert.equal(await readBytes(peer, headers[0]!.length), headers[0]!.toString('latin1'));
    await until(
      'one waits, and one is dialled for',
      () => hold.waiting === 1 && dialing.upstream.stats().dialing === 1,
    );
    const forwards = [connected, held, dialing];
    const owns = forwards.map(({ upstream }) => successor.upstreamLike(upstream));
    for (const [index, { upstream }] of forwards.entries()) {
      assert.equal(await successor.take(engine, upstream, owns[index]!), index === 0 ? 2 : 1);
      await upstream.drained();
    }
    // Nobody holds it there.
    const next = await backend.next();
    assert.equal(await readBytes(next, headers[1]!.length + 4), `${headers[1]!.toString('latin1')}held`);
    const moved = await successor.engine.connections(owns);
    const unspoken = `127.0.0.1:${late!.localPort}`;
    assert.deepEqual(
      moved.map(({ client, state }) => `${client} ${state}`).sort(),
      [`${unspoken} dialing`, '[2001:db8::7]:1 open', '[2001:db8::7]:2 open', '[2001:db8::7]:4 dialing'].sort(),
    );
    late!.write(Buffer.concat([headers[2]!.subarray(20), Buffer.from('late')]));
    const last = await backend.next();
    assert.equal(await readBytes(last, headers[2]!.length + 4), `${headers[2]!.toString('latin1')}late`);
    open!.write('open');
    assert.equal(await readBytes(peer, 4), 'open');
  },
);

test('a header that is late in another engine, too, is late', options, async () => {
  const { rig, engine } = openRig();
  await using _rig = rig;
  await using successor = new Successor();
  await using backend = await openBackend();
  const { connect, upstream } = await rig.forward({ to: to(backend), from: { proxy: 'accept', headerTimeout: 1500 } });
  const began = performance.now();
  const client = await connect();
  await until('it is counted', () => upstream.stats().connections === 1);
  const own = successor.upstreamLike(upstream);
  assert.equal(await successor.take(engine, upstream, own), 1);
  assert.equal(await endingOf(client), 'reset');
  assert.ok(performance.now() - began > 1000);
  await own.drained();
  assert.equal(backend.accepted, 0);
});

test('an end that was passed on is not passed on again, and a reset is a reset still', options, async () => {
  const { rig, engine } = openRig();
  await using _rig = rig;
  await using successor = new Successor();
  await using backend = await openBackend();
  const { connect, upstream } = await rig.forward({ to: to(backend) });
  const half = await connect();
  const halfPeer = await backend.next();
  half.end('asked');
  assert.equal(await readAll(halfPeer), 'asked');
  const other = await connect();
  const otherPeer = await backend.next();
  other.write('x');
  await readBytes(otherPeer, 1);

  const own = successor.upstreamLike(upstream);
  assert.equal(await successor.take(engine, upstream, own), 2);
  halfPeer.end('answered');
  assert.equal(await readAll(half), 'answered');
  reset(other);
  assert.equal(await endingOf(otherPeer), 'reset');
  await own.drained();
  assert.deepEqual(own.stats(), { connections: 0, dialing: 0, bytesIn: 0, bytesOut: 8 });
});

test('a client that is still being dialled for is dialled for by the other engine', options, async () => {
  const { rig, engine } = openRig();
  await using _rig = rig;
  await using successor = new Successor();
  using full = await openFullBackend();
  const { connect, upstream } = await rig.forward({ to: to(full.address) });
  const client = await connect();
  client.write('x');
  while (upstream.stats().dialing === 0) await new Promise(setImmediate);
  const own = successor.upstreamLike(upstream);
  assert.equal(await successor.take(engine, upstream, own), 1);
  await upstream.drained();
  assert.deepEqual([own.stats().connections, upstream.stats().dialing], [1, 0]);
  reset(client);
  await own.drained();
});

test('frozen connections that are not taken go on where they were', options, async () => {
  const { rig, engine } = openRig();
  await using _rig = rig;
  await using echo = await openEcho();
  const { connect, upstream } = await rig.forward({ to: to(echo) });
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect()));
  for (const client of clients) client.write('a');
  await Promise.all(clients.map((client) => readBytes(client, 1)));
  const frozen: MovedConnection[] = await engine.mover.freeze(upstream, 100);
  assert.equal(frozen.length, 20);
  for (const client of clients) client.write('b');
  assert.equal(upstream.stats().bytesIn, 20);
  engine.mover.thaw(frozen);
  await Promise.all(clients.map(async (client) => assert.equal(await readBytes(client, 1), 'b')));
  for (const client of clients) client.end();
  await Promise.all(clients.map((client) => once(client.resume(), 'end')));
  await upstream.drained();
});
