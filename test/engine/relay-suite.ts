import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import type { Socket } from 'node:net';
import { closed, connectTo, endingOf, openBackend, openEcho, readAll, readBytes, readToClose, reset } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { socketOptionsOfPeers } from './socket-options.ts';
import { stalled, writeMuch } from './stall.ts';

export function relaySuite(openEngine: OpenEngine): void {
  for (const source of ['tcp', 'unix'] as const) {
    for (const destination of ['tcp', 'unix'] as const) {
      test(`every byte is relayed both ways from ${source} to ${destination}`, { timeout: 60_000 }, async () => {
        await using rig = new Rig(openEngine);
        await using echo = await openEcho(destination === 'tcp' ? {} : { path: rig.path() });
        const { connect, upstream } = await rig.forward({ to: to(echo), on: source });
        const client = await connect();
        const sent = randomBytes(3_000_000);
        const received = readAll(client);
        client.end(sent);
        assert.equal(digest(await received), digest(sent.toString('latin1')));
        const [end] = await rig.endedConnections(1);
        assert.deepEqual(
          { ...end, peer: '', startedMs: 0, connectMs: 0, durationMs: 0 },
          {
            peer: '',
            via: null,
            upstream,
            stage: 'relay',
            error: null,
            reason: 'finished',
            startedMs: 0,
            connectMs: 0,
            tls: null,
            generation: null,
            bytesIn: sent.length,
            bytesOut: sent.length,
            durationMs: 0,
          },
        );
        assert.deepEqual(upstream.stats(), { connections: 0, dialing: 0, bytesIn: sent.length, bytesOut: sent.length });
      });
    }
  }

  test('the end of a client is passed on, and the upstream goes on sending', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend) });
    const client = await connect();
    const peer = await backend.next();
    client.end('request');
    assert.equal(await readAll(peer), 'request');
    peer.write('first ');
    assert.equal(await readBytes(client, 6), 'first ');
    const rest = readAll(client);
    peer.end('second');
    assert.equal(await rest, 'second');
    assert.equal((await rig.endedConnections(1))[0]?.error, null);
  });

  test('the end of an upstream is passed on, and the client goes on sending', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend) });
    const client = await connect();
    const peer = await backend.next();
    peer.end('banner');
    assert.equal(await readAll(client), 'banner');
    const received = readAll(peer);
    client.write('one ');
    client.end('two');
    assert.equal(await received, 'one two');
    assert.equal((await rig.endedConnections(1))[0]?.error, null);
  });

  test('a reset by the client becomes a reset of the upstream', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend) });
    const client = await connect();
    const peer = await backend.next();
    client.write('x');
    assert.equal(await readBytes(peer, 1), 'x');
    reset(client);
    assert.equal(await endingOf(peer), 'reset');
    assert.equal((await rig.endedConnections(1))[0]?.error, null);
  });

  test(
    'a reset by the upstream becomes a reset of the client, after what was sent before',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const { connect } = await rig.forward({ to: to(backend) });
      const client = await connect();
      const peer = await backend.next();
      peer.write('answer');
      assert.equal(await readBytes(client, 6), 'answer');
      reset(peer);
      assert.equal(await endingOf(client), 'reset');
      assert.equal((await rig.endedConnections(1))[0]?.error, null);
    },
  );

  for (const on of ['tcp', 'unix'] as const) {
    test(`what a peer sent before it closed with bytes unread arrives, over ${on}`, { timeout: 60_000 }, async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend(on === 'tcp' ? {} : { path: rig.path() });
      const { connect } = await rig.forward({ to: to(backend), on });
      for (let round = 0; round < 10; round++) {
        const client = await connect();
        const peer = await backend.next();
        const [early, other] = round % 2 === 0 ? [peer, client] : [client, peer];
        const received = readToClose(other);
        other.write(Buffer.alloc(100_000));
        await once(early, 'readable');
        early.write('last words', () => early.destroy());
        assert.equal(await received, 'last words');
        other.destroy();
      }
      for (const end of await rig.endedConnections(10)) assert.equal(end.error, null);
    });
  }

  test('a reset after the other direction has ended is a reset still', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend) });
    const client = await connect();
    const peer = await backend.next();
    client.end('request');
    assert.equal(await readAll(peer), 'request');
    reset(peer);
    assert.equal(await endingOf(client), 'reset');
    await rig.endedConnections(1);
  });

  test('a reset reaches a peer that does not read', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine, { lookMs: 20 });
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    const client = await connect();
    const peer = await backend.next();
    writeMuch(peer, 100_000_000);
    await stalled(() => upstream.stats().bytesOut);
    reset(peer);
    const [end] = await rig.endedConnections(1);
    assert.equal(end?.error, null);
    assert.equal(await endingOf(client), 'reset');
  });

  test('a reset reaches a peer that sends without an end', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    const client = await connect();
    const peer = await backend.next();
    const sendOn = () => {
      while (!peer.destroyed && peer.write(Buffer.alloc(1_000_000)));
    };
    peer.on('drain', sendOn);
    sendOn();
    client.write('x');
    assert.equal(await readBytes(peer, 1), 'x');
    await once(client, 'readable');
    reset(client);
    assert.equal(await endingOf(peer), 'reset');
    // What it sent to nobody is little beside what it could have in the time of a slow look.
    assert.ok(upstream.stats().bytesOut < 1_000_000_000);
    await rig.endedConnections(1);
  });

  for (const reader of ['client', 'upstream'] as const) {
    test(
      `a stalled ${reader} stops its peer, costs bounded memory, and gets everything in the end`,
      { timeout: 60_000 },
      async () => {
        await using rig = new Rig(openEngine);
        await using backend = await openBackend();
        const { connect, upstream } = await rig.forward({ to: to(backend) });
        const client = await connect();
        const peer = await backend.next();
        const [from, into] = reader === 'client' ? [peer, client] : [client, peer];
        const moved = () => upstream.stats().bytesIn + upstream.stats().bytesOut;
        const total = 100_000_000;
        const before = process.memoryUsage();
        writeMuch(from, total);
        await stalled(moved);
        const after = process.memoryUsage();
        // What was moved sits in the queues of the kernel; of the rest there is one buffer or two.
        assert.ok(moved() < total / 2, `${moved()} bytes were moved`);
        // Buffers of what has been moved may not be collected yet, and how much the queues take is the machine's to say.
        assert.ok(
          after.arrayBuffers - before.arrayBuffers < moved() + 8_000_000,
          `${after.arrayBuffers - before.arrayBuffers} bytes are kept`,
        );
        assert.equal(await countAll(into), total);
        into.end();
        from.resume();
        await rig.endedConnections(1);
      },
    );
  }

  test('a stalled connection does not hold up another one', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    await connect();
    writeMuch(await backend.next(), 100_000_000);
    await stalled(() => upstream.stats().bytesOut);
    const client = await connect();
    const peer = await backend.next();
    peer.end('hello');
    assert.equal(await readAll(client), 'hello');
  });

  test('both sockets of a connection have TCP_NODELAY and keep-alive', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend) });
    const client = await connect();
    const peer = await backend.next();
    client.write('x');
    await readBytes(peer, 1);
    for (const end of [client, peer]) assert.deepEqual(socketOptionsOfPeers(end), [{ noDelay: true, keepAlive: true }]);
  });

  test('keepalive=0 turns keep-alive off', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend, { keepalive: 0 }) });
    const client = await connect();
    const peer = await backend.next();
    client.write('x');
    await readBytes(peer, 1);
    assert.deepEqual(socketOptionsOfPeers(peer), [{ noDelay: true, keepAlive: false }]);
  });

  test('an idle connection is closed, one with traffic is not', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend), from: { idle: 1000 } });
    const idle = await connect();
    const idlePeer = await backend.next();
    const busy = await connect();
    const busyPeer = await backend.next();
    busyPeer.pipe(busyPeer);
    const ticking = tick(busy, 20);
    assert.equal(await endingOf(idle), 'end');
    assert.equal(await endingOf(idlePeer), 'end');
    const [end] = await rig.endedConnections(1);
    assert.match(end?.error?.message ?? '', /idle for 1 s/);
    assert.equal(upstream.stats().connections, 1);
    ticking.stop();
    assert.equal(await endingOf(busy), 'end');
  });

  test('destroy closes both peers of every connection and says how many', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    const clients = [await connect(), await connect()];
    const peers = [await backend.next(), await backend.next()];
    assert.equal(upstream.destroy(), 2);
    for (const socket of [...clients, ...peers]) assert.equal(await endingOf(socket), 'end');
    await upstream.drained();
    assert.equal(upstream.destroy(), 0);
    const ends = await rig.endedConnections(2);
    assert.deepEqual(
      ends.map(({ error }) => error),
      [null, null],
    );
  });

  test('bytes that a client sent before it ended and closed at once arrive', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend) });
    const client = await connectTo(address);
    client.end('fire and forget');
    const peer = await backend.next();
    assert.equal(await readAll(peer), 'fire and forget');
    peer.end();
    client.resume();
    await closed(client);
    await rig.endedConnections(1);
  });
}

function digest(text: string): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}

async function countAll(socket: Socket): Promise<number> {
  let count = 0;
  socket.on('data', (chunk: Buffer) => (count += chunk.length));
  socket.resume();
  await once(socket, 'end');
  return count;
}

/** Send a byte now and then. */
function tick(socket: Socket, everyMs: number): { stop(): void } {
  socket.resume();
  const timer = setInterval(() => socket.write('.'), everyMs);
  return { stop: () => clearInterval(timer) };
}
