import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { OpenConnection } from '../../src/engine/engine.ts';
import { openFullBackend } from './full-backend.ts';
import { until } from '../until.ts';
import { endingOf, openBackend, readBytes } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { connectTls, openTlsBackend, pemFiles, read, sslFrom, sslTo } from './tls-peers.ts';

const isDeno = 'Deno' in globalThis;

export function listSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();

  for (const on of ['tcp', 'tcp6', 'unix'] as const)
    test(`an open connection (${on}) is listed with its client, its bytes, its age and how it stands`, async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const forward = await rig.forward({ to: to(backend), on });
      const elsewhere = rig.upstream(to(backend));
      const before = Date.now();
      const client = await forward.connect();
      const port = client.localPort ?? 0;
      const peer = await backend.next();
      client.write('hello');
      await readBytes(peer, 5);
      peer.write('answer');
      await readBytes(client, 6);
      const one = await theOnly(rig, forward.upstream);
      const name = { tcp: `127.0.0.1:${port}`, tcp6: `[::1]:${port}`, unix: 'unix' }[on];
      assert.equal(one.client, name);
      assert.equal(one.upstream, forward.upstream);
      assert.deepEqual([one.state, one.bytesIn, one.bytesOut], ['open', 5, 6]);
      assert.ok(one.startedMs >= before - 1 && one.startedMs <= Date.now());
      assert.ok(one.idleMs >= 0 && one.idleMs <= Date.now() - before + 20, `idle for ${one.idleMs} ms`);
      assert.deepEqual(await rig.engine.connections([elsewhere]), []);
      await until('it is idle', async () => (await theOnly(rig, forward.upstream)).idleMs > 60);
      peer.write('!');
      await readBytes(client, 1);
      const later = await theOnly(rig, forward.upstream);
      assert.ok(later.idleMs < 60, `idle for ${later.idleMs} ms after a byte`);
      assert.equal(later.id, one.id);
      client.end();
      await until('it is half-closed', async () => (await theOnly(rig, forward.upstream)).state === 'half-closed');
      peer.end();
      await forward.upstream.drained();
      assert.deepEqual(await rig.engine.connections([forward.upstream]), []);
    });

  test('a client whose upstream does not answer yet is listed as dialing, and can be closed', async () => {
    await using rig = new Rig(openEngine);
    using full = await openFullBackend();
    const forward = await rig.forward({ to: to(full.address) });
    const client = await forward.connect();
    await until('it is listed', async () => (await rig.engine.connections([forward.upstream])).length === 1);
    const { state, id } = await theOnly(rig, forward.upstream);
    assert.equal(state, 'dialing');
    const ending = endingOf(client);
    assert.equal(await rig.engine.closeConnections([forward.upstream], [id]), 1);
    assert.equal(await ending, 'end');
    assert.equal(forward.upstream.stats().connections, 0);
  });

  test('those that are named are closed, both sides in order, and no other one', async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    const pairs: { client: Socket; peer: Socket }[] = [];
    for (let at = 0; at < 5; at++) {
      const client = await connect();
      const peer = await backend.next();
      client.write(String(at));
      await readBytes(peer, 1);
      pairs.push({ client, peer });
    }
    const listed = await rig.engine.connections([upstream]);
    const idOf = (at: number) => {
      const port = pairs[at]?.client.localPort;
      return listed.find(({ client }) => client.endsWith(`:${port}`))?.id ?? assert.fail();
    };
    assert.equal(new Set(listed.map(({ id }) => id)).size, 5);
    const endings = [1, 3].flatMap((at) => [endingOf(pairs[at]!.client), endingOf(pairs[at]!.peer)]);
    const ids = [idOf(1), idOf(3), 'nosuchone', '', '-1'];
    assert.equal(await rig.engine.closeConnections([upstream], ids), 2);
    assert.deepEqual(await Promise.all(endings), ['end', 'end', 'end', 'end']);
    assert.equal(await rig.engine.closeConnections([upstream], ids), 0);
    const left = await rig.engine.connections([upstream]);
    assert.deepEqual(left.map(({ id }) => id).sort(), [idOf(0), idOf(2), idOf(4)].sort());
    pairs[2]!.peer.write('still there');
    assert.equal(await readBytes(pairs[2]!.client, 11), 'still there');
  });

  test('more connections than one answer holds are all listed once, and all closed', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    const count = 450;
    for (let at = 0; at < count; at++) {
      await connect();
      await backend.next();
    }
    const listed = await rig.engine.connections([upstream]);
    assert.equal(new Set(listed.map(({ id }) => id)).size, count);
    const ids = listed.map(({ id }) => id);
    assert.equal(await rig.engine.closeConnections([upstream], ids), count);
    assert.deepEqual(await rig.engine.connections([upstream]), []);
  });

  test('TLS of clients of a plain destination is listed, wherever it is served', { timeout: 30_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const forward = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    for (const [options, version, group] of [
      [{}, 'TLSv1.3', /X25519/],
      [{ ecdhCurve: 'P-256' }, 'TLSv1.3', /^secp256r1$/],
      [{ maxVersion: 'TLSv1.2', ecdhCurve: 'X25519:P-256' }, 'TLSv1.2', /^X25519$/],
    ] as const) {
      const trust = { ca: read(pem().root), servername: 'www.example.com' };
      const client = await connectTls(forward.address, { ...trust, ...options });
      const peer = await backend.next();
      client.write('x');
      await readBytes(peer, 1);
      const one = await theOnly(rig, forward.upstream);
      assert.equal(one.clientTls?.version, version);
      assert.match(one.clientTls?.cipher ?? '', /^TLS_/);
      if (!isDeno) assert.match(one.clientTls?.group ?? '', group);
      assert.equal(one.upstreamTls, undefined);
      assert.equal(await rig.engine.closeConnections([forward.upstream], [one.id]), 1);
    }
  });

  test('TLS is listed for the side that has it: version, cipher and key exchange', { timeout: 30_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openTlsBackend({ key: read(pem().key), cert: read(pem().fullChain) });
    const forward = await rig.forward({
      to: sslTo(backend.port, pem(), { hostname: 'www.example.com' }),
      from: sslFrom(pem()),
    });
    const client = await connectTls(forward.address, { ca: read(pem().root), servername: 'www.example.com' });
    const peer = await backend.next();
    client.write('x');
    await readBytes(peer, 1);
    const { clientTls, upstreamTls } = await theOnly(rig, forward.upstream);
    for (const facts of [clientTls, upstreamTls]) {
      assert.equal(facts?.version, 'TLSv1.3');
      assert.match(facts?.cipher ?? '', /^TLS_/);
      if (!isDeno) assert.match(facts?.group ?? '', /X25519/);
    }
  });
}

async function theOnly(rig: Rig, upstream: OpenConnection['upstream']): Promise<OpenConnection> {
  const connections = await rig.engine.connections([upstream]);
  assert.equal(connections.length, 1);
  return connections[0]!;
}
