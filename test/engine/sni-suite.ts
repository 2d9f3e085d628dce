import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DirectClient, SniClient } from '../../src/endpoint/model.ts';
import type { Upstream } from '../../src/engine/engine.ts';
import { Hold } from '../../src/engine/hold.ts';
import { until } from '../until.ts';
import { endingOf, openBackend, openEcho, readAll, readBytes, readToClose, reset } from './peers.ts';
import type { Backend } from './peers.ts';
import { helloMessage, inRecords, rawHello } from './hellos.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';

const options = { timeout: 60_000 };
const direct = (backend: Backend, extras: object = {}) => to(backend, extras) as DirectClient;

/** By name: `a.example` and so on, `default`. */
function sniTo(ways: Record<string, Backend | DirectClient>): SniClient {
  const { default: fallback, ...named } = ways;
  const endpointOf = (way: Backend | DirectClient) => ('type' in way ? way : direct(way));
  const routes = Object.entries(named).map(([pattern, way]) => {
    const [name = '', alpn = null] = pattern.split('+');
    return { name, alpn, endpoint: endpointOf(way) };
  });
  return { type: 'sni', routes, default: fallback ? endpointOf(fallback) : null };
}

async function sendSlowly(client: Socket, parts: readonly Buffer[]): Promise<void> {
  for (const part of parts) {
    await new Promise<void>((resolve) => client.write(part, () => resolve()));
    await nextTurn();
  }
}

/** Pass-through by name. */
export function sniSuite(openEngine: OpenEngine): void {
  for (const on of ['tcp', 'unix'] as const)
    test(`${on} clients go by the name that they ask for, and every byte with them`, options, async () => {
      await using rig = new Rig(openEngine);
      await using a = await openBackend();
      await using b = await openBackend({ path: rig.path() });
      await using other = await openBackend();
      const { connect, upstream } = await rig.forward({
        to: sniTo({ 'a.example': a, '*.b.example+h2': b, default: other }),
        on,
      });
      const cases: [hello: Buffer, backend: Backend, name: string | null][] = [
        [rawHello({ name: 'a.example' }), a, 'a.example'],
        [rawHello({ name: 'A.Example.', protocols: ['h2'] }), a, 'a.example'],
        [rawHello({ name: 'x.b.example', protocols: ['http/1.1', 'h2'] }), b, 'x.b.example'],
        [rawHello({ name: 'x.b.example' }), other, 'x.b.example'],
        [rawHello({}), other, null],
        [Buffer.from('SSH-2.0-x\r\n'), other, null],
        [Buffer.from([22, 3, 1, 0, 4, 9, 9, 9, 9]), other, null],
        [inRecords(helloMessage({ name: 'a.example', padding: 40_000 }), 16_384), a, 'a.example'],
      ];
      for (const [index, [hello, backend, name]] of cases.entries()) {
        const client = await connect();
        client.write(Buffer.concat([hello, Buffer.from('and more')]));
        const peer = await backend.next();
        assert.equal(await readBytes(peer, hello.length + 8), `${hello.toString('latin1')}and more`, `case ${index}`);
        peer.write('answer');
        assert.equal(await readBytes(client, 6), 'answer');
        const [open] = await rig.engine.connections([upstream]);
        assert.equal(open?.chosen?.name, name);
        client.end();
        assert.equal(await readAll(peer), '');
        peer.end();
        assert.equal(await readAll(client), '');
        const end = (await rig.endedConnections(index + 1))[index]!;
        assert.equal(end.reason, 'finished');
        const place = 'path' in backend.address ? `unix:${backend.address.path}` : `tcp:127.0.0.1:${backend.port}`;
        assert.deepEqual(end.chosen, { name, to: place });
        client.destroy();
      }
      await upstream.drained();
    });

  test('a ClientHello that is split at every byte is waited for, in many records too', options, async () => {
    await using rig = new Rig(openEngine);
    await using a = await openBackend();
    await using other = await openBackend();
    const { connect } = await rig.forward({ to: sniTo({ 'a.example': a, default: other }) });
    const hello = rawHello({ name: 'a.example', protocols: ['h2'] });
    const many = inRecords(helloMessage({ name: 'a.example' }), 3);
    const sent = [
      ...Array.from({ length: hello.length - 1 }, (_, at) => [hello.subarray(0, at + 1), hello.subarray(at + 1)]),
      Array.from(hello, (byte) => Buffer.from([byte])),
      Array.from(many, (byte) => Buffer.from([byte])),
    ];
    const expected = new Map<string, number>();
    for (const parts of sent) {
      const text = Buffer.concat(parts).toString('latin1');
      expected.set(text, (expected.get(text) ?? 0) + 1);
    }
    // No more at once than fit into the queue of a listener.
    for (let at = 0; at < sent.length; at += 30) {
      const batch = sent.slice(at, at + 30);
      const clients = await Promise.all(
        batch.map(async (parts) => {
          const client = await connect();
          client.setNoDelay();
          await sendSlowly(client, parts);
          client.end();
          return client;
        }),
      );
      for (const _ of batch) {
        const peer = await a.next();
        const text = await readAll(peer);
        peer.end();
        assert.ok((expected.get(text) ?? 0) > 0, 'bytes were lost or changed');
        expected.set(text, expected.get(text)! - 1);
      }
      for (const client of clients) client.destroy();
    }
    assert.equal(other.accepted, 0);
  });

  test('a name of no destination is answered by an alert, which the client can read', options, async () => {
    await using rig = new Rig(openEngine);
    await using a = await openBackend();
    const { connect } = await rig.forward({ to: sniTo({ 'a.example': a }) });
    for (const [index, parts] of [{ name: 'b.example' }, { name: null }].entries()) {
      const client = await connect();
      const ending = endingOf(client);
      client.write(rawHello({ ...parts, padding: 2000 }));
      assert.equal(await readBytes(client, 7), '\x15\x03\x03\x00\x02\x02\x70');
      assert.equal(await ending, 'end');
      client.destroy();
      const end = (await rig.endedConnections(index + 1))[index]!;
      assert.deepEqual([end.reason, end.stage], ['unknown-name', 'handshake']);
      assert.match(end.error?.message ?? '', index === 0 ? /no destination is for b\.example/ : /asks for no name/);
    }
    assert.equal(a.accepted, 0);
  });

  test(
    'what is no TLS is reset where there is no default, and so is a ClientHello that never ends',
    options,
    async () => {
      await using rig = new Rig(openEngine);
      await using a = await openBackend();
      await using other = await openBackend();
      const none = await rig.forward({ to: sniTo({ 'a.example': a }) });
      const plain = await none.connect();
      const ending = endingOf(plain);
      plain.write('GET / HTTP/1.1\r\n\r\n');
      assert.equal(await ending, 'reset');
      await rig.endedConnections(1); // threads tell of theirs each for itself
      const withDefault = await rig.forward({ to: sniTo({ 'a.example': a, default: other }) });
      const endless = await withDefault.connect();
      const reset = endingOf(endless);
      endless.write(inRecords(helloMessage({ name: 'a.example', padding: 65_400 }), 100));
      assert.equal(await reset, 'reset');
      const ends = await rig.endedConnections(2);
      assert.deepEqual(
        ends.map(({ reason }) => reason),
        ['handshake-failed', 'handshake-failed'],
      );
      assert.match(ends[0]?.error?.message ?? '', /does not speak TLS/);
      assert.match(ends[1]?.error?.message ?? '', /longer than 64 KiB/);
      assert.equal(a.accepted + other.accepted, 0);
    },
  );

  test('half a ClientHello is refused when its time is up; who says nothing goes to the default', options, async () => {
    await using rig = new Rig(openEngine);
    await using a = await openBackend();
    await using greeter = await openBackend();
    const from = { headerTimeout: 150 };
    const { connect } = await rig.forward({ to: sniTo({ 'a.example': a, default: greeter }), from });
    const half = await connect();
    const ending = endingOf(half);
    half.write(rawHello({ name: 'a.example' }).subarray(0, 60));
    const silent = await connect();
    (await greeter.next()).write('220 hello\r\n');
    assert.equal(await readBytes(silent, 11), '220 hello\r\n');
    assert.equal(await ending, 'reset');
    const [end] = await rig.endedConnections(1);
    assert.equal(end?.reason, 'handshake-failed');
    assert.match(end?.error?.message ?? '', /no whole ClientHello came within 0\.15 s/);
    assert.equal(a.accepted, 0);
  });

  test('what a client sent before its end goes to the default, its end too', options, async () => {
    await using rig = new Rig(openEngine);
    await using a = await openBackend();
    await using echo = await openEcho();
    const { connect } = await rig.forward({ to: sniTo({ 'a.example': a, default: echo }) });
    for (const sent of [Buffer.from('plain'), rawHello({ name: 'a.example' }).subarray(0, 70), Buffer.alloc(0)]) {
      const client = await connect();
      client.end(sent);
      assert.equal(await readAll(client), sent.toString('latin1'));
      client.destroy();
    }
  });

  test('a client that leaves while it is listened to is counted no more, and nobody is dialled', options, async () => {
    await using rig = new Rig(openEngine, { lookMs: 20 });
    await using a = await openBackend();
    const { connect, upstream } = await rig.forward({ to: sniTo({ 'a.example': a }) });
    const leavers: ((client: Socket) => void)[] = [reset, (client) => void client.end()];
    for (const leave of leavers) {
      const client = await connect();
      await until('it is counted', () => upstream.stats().dialing === 1);
      leave(client);
      await upstream.drained();
      assert.equal(upstream.stats().dialing, 0);
      client.destroy();
    }
    const ends = await rig.endedConnections(2);
    assert.deepEqual(
      ends.map(({ reason }) => reason),
      ['client-gone', 'client-gone'],
    );
    const [kept] = [await connect()];
    await until('it is counted', () => upstream.stats().dialing === 1);
    assert.equal(upstream.destroy(), 1);
    await upstream.drained();
    assert.ok(['end', 'reset'].includes(await endingOf(kept)));
    assert.equal(a.accepted, 0);
  });

  test('held clients go by their names to where the rule leads when it is released', options, async () => {
    await using rig = new Rig(openEngine);
    await using a = await openBackend();
    await using b = await openBackend();
    const hold = new Hold<Upstream>();
    hold.begin({ limit: 10 });
    const { connect, frontend } = await rig.forward({ to: sniTo({ 'a.example': a }), hold });
    const clients = [await connect(), await connect()];
    const [early, ended] = clients;
    const hello = rawHello({ name: 'b.example' });
    early!.write(hello);
    ended!.end(hello);
    await until('they wait', () => hold.waiting === 2);
    const next = rig.upstream(sniTo({ 'b.example': b }));
    frontend.route(next);
    hold.route(next);
    hold.end();
    for (const _ of clients) {
      const peer = await b.next();
      assert.equal(await readBytes(peer, hello.length), hello.toString('latin1'));
      peer.end();
    }
    assert.equal(await readToClose(early!), '');
    assert.equal(a.accepted, 0);
  });

  test('a destination has its own parameters, and its failure names it', options, async () => {
    await using rig = new Rig(openEngine);
    await using a = await openBackend();
    const gone = await openBackend();
    await gone.close();
    const { connect, address } = await rig.forward({
      to: sniTo({
        'a.example': direct(a, { proxy: 'v1' }),
        'b.example': gone,
        'c.example': direct(gone, { host: 'nobody.invalid' }),
      }),
    });
    const hello = rawHello({ name: 'a.example' });
    const client = await connect();
    client.write(hello);
    const peer = await a.next();
    assert.ok('port' in address);
    const header = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.localPort} ${address.port}\r\n`;
    assert.equal(await readBytes(peer, header.length + hello.length), header + hello.toString('latin1'));
    client.destroy();
    peer.destroy();
    await rig.endedConnections(1);
    for (const [index, name] of ['b.example', 'c.example'].entries()) {
      const refused = await connect();
      const ending = endingOf(refused);
      refused.write(rawHello({ name }));
      assert.equal(await ending, 'reset');
      const end = (await rig.endedConnections(index + 2))[index + 1]!;
      assert.equal(end.reason, index === 0 ? 'dial-refused' : 'name-failed');
      assert.match(end.error?.message ?? '', index === 0 ? /tcp:127\.0\.0\.1:\d+/ : /nobody\.invalid/);
      assert.equal(end.chosen?.name, name);
    }
  });

  test('a check asks every destination, and names the one that does not accept', options, async () => {
    await using rig = new Rig(openEngine);
    await using a = await openBackend();
    const gone = await openBackend();
    await gone.close();
    const signal = AbortSignal.timeout(10_000);
    await rig.engine.probe(sniTo({ 'a.example': a, default: a }), { signal });
    await assert.rejects(rig.engine.probe(sniTo({ 'a.example': a, 'b.example': gone }), { signal }), {
      message: new RegExp(`tcp:127\\.0\\.0\\.1:${gone.port}`),
    });
  });
}
