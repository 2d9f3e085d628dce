import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Upstream } from '../../src/engine/engine.ts';
import { Hold } from '../../src/engine/hold.ts';
import { until } from '../until.ts';
import { closed, endingOf, openBackend, openEcho, readAll, readBytes, reset } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { connectTls, openTlsBackend, pemFiles, read, resetTls, sslFrom, sslTo } from './tls-peers.ts';

const options = { timeout: 60_000 };

function begun({ limit = 100 } = {}): Hold<Upstream> {
  const hold = new Hold<Upstream>();
  hold.begin({ limit });
  return hold;
}

export function holdSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();

  for (const on of ['tcp', 'unix'] as const)
    test(
      `${on} clients of a held rule wait without a dial, and go on in the order in which they came`,
      options,
      async () => {
        await using rig = new Rig(openEngine);
        await using backend = await openBackend();
        const hold = begun();
        const { connect, upstream } = await rig.forward({ to: to(backend), on, hold });
        const clients = [];
        for (let index = 0; index < 5; index++) {
          const client = await connect();
          client.write(String(index));
          clients.push(client);
          await until('it waits', () => hold.waiting === index + 1);
          const cameMs = Date.now();
          await until('the next one comes later by the clock, which tells them apart', () => Date.now() > cameMs);
        }
        assert.deepEqual(upstream.stats(), { connections: 5, dialing: 5, bytesIn: 0, bytesOut: 0 });
        assert.equal(backend.accepted, 0);
        assert.equal(hold.end(), 5);
        for (let index = 0; index < 5; index++) {
          const peer = await backend.next();
          assert.equal(await readBytes(peer, 1), String(index));
          peer.write('answer');
        }
        for (const client of clients) assert.equal(await readBytes(client, 6), 'answer');
        assert.equal(hold.waiting, 0);
        assert.equal(upstream.stats().dialing, 0);
      },
    );

  test('what a client sent before it ended is delivered once its rule is held no longer', options, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const hold = begun();
    const { connect } = await rig.forward({ to: to(echo), hold });
    const client = await connect();
    client.end('question');
    await until('it waits', () => hold.waiting === 1);
    hold.end();
    assert.equal(await readAll(client), 'question');
  });

  test('a connection that was there before its rule was held goes on', options, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const hold = new Hold<Upstream>();
    const { connect } = await rig.forward({ to: to(echo), hold });
    const client = await connect();
    client.write('1');
    assert.equal(await readBytes(client, 1), '1');
    hold.begin({ limit: 10 });
    client.write('2');
    assert.equal(await readBytes(client, 1), '2');
    assert.equal(hold.waiting, 0);
  });

  test('a client that gives up while it waits is not counted any more, and is not dialled for', options, async () => {
    await using rig = new Rig(openEngine, { lookMs: 20 });
    await using backend = await openBackend();
    const hold = begun();
    const { connect, upstream } = await rig.forward({ to: to(backend), hold });
    const [gone, patient] = [await connect(), await connect()];
    await until('both wait', () => hold.waiting === 2);
    reset(gone);
    await until('one waits', () => hold.waiting === 1);
    await until('one is counted', () => upstream.stats().connections === 1);
    hold.end();
    patient.write('x');
    assert.equal(await readBytes(await backend.next(), 1), 'x');
    assert.equal(backend.accepted, 1);
  });

  test(
    'as many wait as may; the next ones wait in the queue of the listener, and come in their turn',
    options,
    async () => {
      await using rig = new Rig(openEngine, { lookMs: 20 });
      await using echo = await openEcho();
      const hold = begun({ limit: 2 });
      const { connect, upstream } = await rig.forward({ to: to(echo), hold });
      const clients = [await connect(), await connect()];
      await until('two wait', () => hold.waiting === 2);
      clients.push(await connect(), await connect());
      reset(clients[0]!);
      // Whichever engine it is, one place is one client's.
      await until('another one waits', () => upstream.stats().connections >= 2 && hold.waiting === 2);
      hold.begin({ limit: 3 });
      await until('one more may', () => hold.waiting === 3);
      hold.end();
      for (const [index, client] of clients.entries()) {
        if (index === 0) continue;
        client.write('x');
        assert.equal(await readBytes(client, 1), 'x');
      }
    },
  );

  test('clients that wait go where their rule is switched to, and count for it from then on', options, async () => {
    await using rig = new Rig(openEngine);
    await using before = await openBackend();
    await using after = await openEcho();
    const hold = begun();
    const { connect, frontend, upstream } = await rig.forward({ to: to(before), hold });
    const clients = [await connect(), await connect()];
    await until('both wait', () => hold.waiting === 2);
    const next = rig.upstream(to(after));
    frontend.route(next);
    hold.route(next);
    await upstream.drained();
    await until('both are counted there', () => next.stats().connections === 2);
    assert.equal(hold.waiting, 2);
    hold.end();
    for (const client of clients) {
      client.write('x');
      assert.equal(await readBytes(client, 1), 'x');
    }
    assert.equal(before.accepted, 0);
    assert.equal(next.stats().dialing, 0);
  });

  test('plain clients that wait can be switched to a destination with TLS, and back', options, async () => {
    await using rig = new Rig(openEngine);
    await using before = await openBackend();
    await using after = await openTlsBackend({ key: read(pem().key), cert: read(pem().fullChain) });
    await using last = await openEcho();
    const hold = begun();
    const { connect, frontend, upstream } = await rig.forward({ to: to(before), hold });
    const first = await connect();
    await until('it waits', () => hold.waiting === 1);
    const secure = rig.upstream(sslTo(after.port, pem(), { hostname: 'www.example.com' }));
    frontend.route(secure);
    hold.route(secure);
    await until('it waits for the other', () => upstream.stats().connections === 0 && secure.stats().connections === 1);
    const second = await connect();
    await until('both wait', () => hold.waiting === 2);
    hold.end();
    first.write('1');
    second.write('2');
    const texts = await Promise.all([after.next(), after.next()].map(async (peer) => await readBytes(await peer, 1)));
    assert.deepEqual(texts.sort(), ['1', '2']);
    hold.begin({ limit: 10 });
    const third = await connect();
    await until('it waits', () => hold.waiting === 1);
    const plain = rig.upstream(to(last));
    frontend.route(plain);
    hold.route(plain);
    hold.end();
    third.write('3');
    assert.equal(await readBytes(third, 1), '3');
  });

  test('a TLS client has shaken hands before it waits, and one that gives up is noticed', options, async () => {
    await using rig = new Rig(openEngine, { lookMs: 20 });
    await using echo = await openEcho();
    const hold = begun();
    const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem()), hold });
    const ca = read(pem().root);
    const [client, gone] = [await connectTls(address, { ca }), await connectTls(address, { ca })];
    await until('both wait', () => hold.waiting === 2);
    client.write('question');
    resetTls(gone);
    await until('one waits', () => hold.waiting === 1);
    assert.equal(echo.accepted, 0);
    hold.end();
    assert.equal(await readBytes(client, 8), 'question');
  });

  test('a rule can be held again and again, and nobody is left behind', options, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const hold = new Hold<Upstream>();
    const { connect, upstream } = await rig.forward({ to: to(echo), hold });
    for (let round = 0; round < 20; round++) {
      hold.begin({ limit: 100 });
      const clients = await Promise.all(Array.from({ length: 5 }, () => connect()));
      if (round % 2 === 0) await until('all wait', () => hold.waiting === 5);
      hold.end();
      for (const client of clients) client.end('x');
      assert.deepEqual(await Promise.all(clients.map(readAll)), ['x', 'x', 'x', 'x', 'x']);
    }
    await upstream.drained();
    assert.equal(hold.waiting, 0);
  });

  test('clients that wait are closed with their destination', options, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const hold = begun();
    const { connect, upstream } = await rig.forward({ to: to(echo), hold });
    const client = await connect();
    await until('it waits', () => hold.waiting === 1);
    assert.equal(upstream.destroy(), 1);
    assert.equal(await endingOf(client), 'end');
    client.destroy();
    await closed(client);
    await upstream.drained();
    assert.equal(hold.waiting, 0);
  });

  test('an idle limit counts from when a client is let go', options, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const hold = begun();
    const { connect } = await rig.forward({ to: to(backend), from: { idle: 1000 }, hold });
    const client = await connect();
    await until('it waits', () => hold.waiting === 1);
    await new Promise((resolve) => setTimeout(resolve, 1500)); // that a limit of a second does not end it, only time can tell
    assert.equal(hold.waiting, 1);
    hold.end();
    client.write('x');
    const peer = await backend.next();
    assert.equal(await readBytes(peer, 1), 'x');
    peer.write('y');
    assert.equal(await readBytes(client, 1), 'y');
  });
}
