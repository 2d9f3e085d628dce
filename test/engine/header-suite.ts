/** Sources whose clients send a PROXY header, as tests for every engine. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { BindableServer, ServerEndpoint } from '../../src/endpoint/model.ts';
import type { Upstream } from '../../src/engine/engine.ts';
import { Hold } from '../../src/engine/hold.ts';
import { crc32c } from '../../src/engine/crc32c.ts';
import { tlsFields } from '../../src/engine/proxy-fields.ts';
import type { ProxyField } from '../../src/engine/proxy-fields.ts';
import { proxyHeader, withFields } from '../../src/engine/proxy-header.ts';
import type { ProxySubject } from '../../src/engine/proxy-header.ts';
import { readProxyHeader } from '../../src/engine/proxy-parser.ts';
import { until } from '../until.ts';
import { endingOf, openBackend, readAll, readBytes, reset } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { Forward, OpenEngine } from './rig.ts';
import { connectTls, pemFiles, read, sslFrom, sslTo } from './tls-peers.ts';

const options = { timeout: 60_000 };
const text = (value: string) => new TextEncoder().encode(value);
const bytes = (header: Uint8Array) => Buffer.from(header).toString('latin1');

const ends: ProxySubject = {
  client: { host: '192.0.2.7', port: 4711 },
  accepted: { host: '198.51.100.1', port: 443 },
};
const ends6: ProxySubject = {
  client: { host: '2001:db8::7', port: 1 },
  accepted: { host: '2001:db8::1', port: 65_535 },
};
const told: readonly ProxyField[] = [
  ...tlsFields({
    version: 'TLSv1.3',
    cipher: 'x',
    alpn: 'h2',
    serverName: 'a.example',
    clientName: 'me',
    isResumed: false,
  }),
  { type: 0x05, value: text('unique') },
  { type: 0xea, value: text('one of its own') },
];
const withTold = (subject: ProxySubject) => withFields(subject, () => told);
const unixPaths: ProxySubject = { paths: new Uint8Array(216).fill(0x2f, 0, 20) };

/** What grace itself knows of a client. */
function socketEnds({ address }: Forward, { localPort }: Socket): ProxySubject {
  assert.ok('port' in address);
  return { client: { host: '127.0.0.1', port: localPort! }, accepted: address };
}

/** Headers, and whom the destination is told of where that is not whom they tell of. */
const kinds: readonly { name: string; header: Uint8Array; isTold: ProxySubject | 'itself' }[] = [
  { name: 'TCP4 of v1', header: proxyHeader('v1', ends), isTold: ends },
  { name: 'TCP6 of v1', header: proxyHeader('v1', ends6), isTold: ends6 },
  { name: 'UNKNOWN of v1', header: proxyHeader('v1', 'unknown'), isTold: 'itself' },
  { name: 'UNKNOWN of v1 with more', header: text('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n'), isTold: 'itself' },
  { name: 'TCP4 of v2', header: proxyHeader('v2', withTold(ends), { isSummed: true }), isTold: withTold(ends) },
  { name: 'TCP6 of v2', header: proxyHeader('v2', withTold(ends6)), isTold: withTold(ends6) },
  { name: 'UNIX of v2', header: proxyHeader('v2', unixPaths), isTold: unixPaths },
  { name: 'UNSPEC of v2', header: proxyHeader('v2', 'unknown'), isTold: 'itself' },
  { name: 'LOCAL of v2', header: proxyHeader('v2', 'local'), isTold: 'itself' },
];

export function headerSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();

  for (const { name, header, isTold } of kinds)
    test(`a header (${name}) is taken wherever it is cut, and told to the destination`, options, async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const forward = await rig.forward({ to: to(backend, { proxy: 'v2' }), from: { proxy: 'accept' } });
      const isSummed = name === 'TCP4 of v2';
      for (let cut = 0; cut <= header.length; cut += cut < 60 ? 1 : 11) {
        const client = await forward.connect();
        client.setNoDelay(true);
        const whole = Buffer.concat([header, text('first')]);
        if (cut > 0) await sent(client, whole.subarray(0, cut));
        await sent(client, whole.subarray(cut));
        const subject = isTold === 'itself' ? socketEnds(forward, client) : isTold;
        const expected = `${bytes(proxyHeader('v2', subject, { isSummed }))}first`;
        assert.equal(await readBytes(await backend.next(), expected.length), expected, `cut at ${cut}`);
        client.destroy();
      }
    });

  test(
    'a header that comes byte by byte is one, and so is one with an end right behind its data',
    options,
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const { connect, upstream } = await rig.forward({ to: to(backend, { proxy: 'v1' }), from: { proxy: 'accept' } });
      const slow = await connect();
      slow.setNoDelay(true);
      for (const byte of proxyHeader('v2', ends)) await sent(slow, Uint8Array.of(byte));
      const expected = bytes(proxyHeader('v1', ends));
      assert.equal(await readBytes(await backend.next(), expected.length), expected);
      const short = await connect();
      short.end(Buffer.concat([proxyHeader('v1', ends6), text('all')]));
      const peer = await backend.next();
      assert.equal(await readAll(peer), `${bytes(proxyHeader('v1', ends6))}all`);
      peer.end('answer');
      assert.equal(await readAll(short), 'answer');
      reset(slow);
      await upstream.drained();
      assert.equal(upstream.stats().bytesIn, 3); // a header is none of the client's bytes
    },
  );

  test('of what a header tells only what holds here is told on, with a checksum of its own', options, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend, { proxy: 'v2' }), from: { proxy: 'accept' } });
    const own: readonly ProxyField[] = [
      { type: 0x04, value: new Uint8Array(9) },
      { type: 0x30, value: text('blue') },
      { type: 0xe0, value: text('') },
      { type: 0xe0, value: text('twice') },
    ];
    const client = await connect();
    const header = Buffer.from(proxyHeader('v2', ends));
    const fields = own.flatMap(({ type, value }) => [type, 0, value.length, ...value]);
    const whole = Buffer.concat([header, Uint8Array.from(fields), Uint8Array.of(3, 0, 4, 0, 0, 0, 0)]);
    whole.writeUInt16BE(whole.length - 16, 14);
    whole.writeUInt32BE(crc32c(whole), whole.length - 4);
    client.write(whole);
    const { fields: heard, bytes: came } = await readHeader(await backend.next());
    assert.deepEqual(heard.slice(0, 2), own.slice(2));
    assert.deepEqual([heard.length, heard[2]!.type], [3, 3]);
    came.writeUInt32BE(0, came.length - 4);
    assert.equal(Buffer.from(heard[2]!.value).readUInt32BE(), crc32c(came));
    whole[20]! ^= 1;
    const spoiled = await connect();
    spoiled.write(whole);
    assert.equal(await endingOf(spoiled), 'reset');
    const [end] = await rig.endedConnections(1);
    assert.match(end!.error!.message, /its checksum is wrong/);
  });

  test('proxyTlv= says what else a destination is told', options, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const dst = (...proxyTlv: string[]) => to(backend, { proxy: 'v2', proxyTlv });
    const plain = await rig.forward({ to: dst('crc32c', 'unique-id') });
    const client = await plain.connect();
    const peer = await backend.next();
    const [id, sum] = (await readHeader(peer)).fields;
    const [connection] = await rig.engine.connections([plain.upstream]);
    assert.deepEqual([id!.type, Buffer.from(id!.value).toString()], [5, connection!.id]);
    assert.equal(sum!.type, 3);
    client.destroy();
    peer.destroy();
    const proxied = await rig.forward({ to: dst('none'), from: { proxy: 'accept' } });
    const spokenFor = await proxied.connect();
    spokenFor.write(proxyHeader('v2', withTold(ends)));
    assert.deepEqual((await readHeader(await backend.next())).fields, []);
    const named = await rig.forward({ to: dst('unique-id'), from: { proxy: 'accept' } });
    const namedClient = await named.connect();
    namedClient.write(proxyHeader('v2', withTold(ends)));
    assert.deepEqual((await readHeader(await backend.next())).fields, told);
    for (const each of [spokenFor, namedClient]) each.destroy();
  });

  test(
    'who spoke for a client is told when that ends, and its idle time is heeded behind haproxy:',
    options,
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const inner = { type: 'tcp', port: 0, interface: '', backlog: 50, idle: 200 } as BindableServer;
      const from = { type: 'haproxy', endpoint: inner } satisfies ServerEndpoint;
      const { connect, upstream } = await rig.forward({
        to: to(backend),
        from: from as unknown as Partial<BindableServer>,
      });
      const client = await connect();
      const via = `127.0.0.1:${client.localPort}`;
      client.write(Buffer.concat([proxyHeader('v2', ends6), text('hello')]));
      assert.equal(await readBytes(await backend.next(), 5), 'hello');
      const [listed] = await rig.engine.connections([upstream]);
      assert.equal(listed!.client, '[2001:db8::7]:1');
      assert.equal(await endingOf(client), 'end');
      const [end] = await rig.endedConnections(1);
      assert.deepEqual([end!.peer, end!.via, end!.reason], ['[2001:db8::7]:1', via, 'idle']);
    },
  );

  test('a client on a Unix socket may be spoken for, too', options, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend, { proxy: 'v1' }), from: { proxy: 'accept' }, on: 'unix' });
    const client = await connect();
    client.end(Buffer.concat([proxyHeader('v2', ends), text('hello')]));
    assert.equal(await readAll(await backend.next()), `${bytes(proxyHeader('v1', ends))}hello`);
  });

  test('one that ends before its header is whole has left, and reaches nobody', options, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend), from: { proxy: 'accept', headerTimeout: 30_000 } });
    const [half, quiet, gone] = [await connect(), await connect(), await connect()];
    half.end(proxyHeader('v1', ends).subarray(0, 10));
    quiet.end();
    gone.write(proxyHeader('v1', ends).subarray(0, 10));
    gone.resetAndDestroy();
    const ended = await rig.endedConnections(3);
    assert.deepEqual(
      ended.map(({ stage, reason, error }) => [stage, reason, error]),
      Array.from({ length: 3 }, () => ['handshake', 'client-gone', null]),
    );
    assert.equal(backend.accepted, 0);
  });

  test('a header goes before TLS, and what is known of that is told with it', options, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const from = { ...sslFrom(pem()), proxy: 'accept', alpn: ['h2', 'http/1.1'] } as Partial<BindableServer>;
    const { address } = await rig.forward({ to: to(backend, { proxy: 'v2' }), from });
    const header = proxyHeader(
      'v2',
      withFields(ends, () => [{ type: 0xe1, value: text('on') }]),
    );
    const client = await connectTls(address, { ca: read(pem().root), ALPNProtocols: ['http/1.1'] }, header);
    client.write('hello');
    const peer = await backend.next();
    const heard = await readHeader(peer);
    assert.deepEqual(heard.ends, ends);
    const of = (type: number) => heard.fields.find((field) => field.type === type)?.value;
    assert.equal(bytes(of(0xe1)!), 'on');
    const ssl = of(0x20)!;
    assert.deepEqual([ssl[0], Buffer.from(ssl).readUInt32BE(1) === 0], [1, false]);
    assert.ok(bytes(ssl).includes('!\0\x07TLSv1.3'));
    if (!('Deno' in globalThis)) {
      assert.equal(bytes(of(0x01)!), 'http/1.1');
      assert.equal(bytes(of(0x02)!), 'www.example.com');
      assert.ok(bytes(ssl).includes('#\0\x16TLS_AES_256_GCM_SHA384'));
      assert.match(bytes(ssl), /(EC256|RSA2048)$/);
    }
    assert.equal(await readBytes(peer, 5), 'hello');
    client.destroy();
  });

  for (const where of ['the same', 'another'] as const)
    test(`a client that is held after its header goes on to ${where} destination as whom it is`, options, async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const hold = new Hold<Upstream>();
      hold.begin({ limit: 10 });
      const forward = await rig.forward({ to: to(backend, { proxy: 'v2' }), from: { proxy: 'accept' }, hold });
      const client = await forward.connect();
      client.write(Buffer.concat([proxyHeader('v2', withTold(ends)), text('hello')]));
      await until('it waits', () => hold.waiting === 1);
      if (where === 'another') {
        // One of TLS is the portable engine's, whichever has the client now.
        const next = rig.upstream(sslTo(backend.port, pem(), { hostname: 'www.example.com', proxy: 'v2' }));
        forward.frontend.route(next);
        hold.route(next);
      }
      hold.end();
      const header = await readHeader(await backend.next());
      assert.deepEqual([header.ends, header.fields], [ends, told]);
      reset(client);
      const [end] = await rig.endedConnections(1);
      assert.equal(end!.peer, '192.0.2.7:4711');
    });
}

/** Write, and let it be sent before what comes next. */
async function sent(socket: Socket, part: Uint8Array): Promise<void> {
  await new Promise<void>((resolve) => socket.write(part, () => setImmediate(resolve)));
}

async function readHeader(peer: Socket) {
  const head = Buffer.from(await readBytes(peer, 16), 'latin1');
  const rest = Buffer.from(await readBytes(peer, head.readUInt16BE(14)), 'latin1');
  const whole = Buffer.concat([head, rest]);
  return { ...readProxyHeader(whole)!, bytes: whole };
}
