import assert from 'node:assert/strict';
import { symlinkSync } from 'node:fs';
import net from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import type { Socket } from 'node:net';
import type { Upstream } from '../../src/engine/engine.ts';
import { proxyHeader } from '../../src/engine/proxy-header.ts';
import { openTcpDiagnosis } from '../../src/engine/portable/tcp-diag.ts';
import { openListener } from '../../src/net/open.ts';
import { openFullBackend } from './full-backend.ts';
import { endingOf, openBackend, openEcho, readAll, readBytes, reset } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';

export function dialSuite(openEngine: OpenEngine): void {
  test(
    'a client whose upstream is being dialled is counted, and nothing is read from it',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      using full = await openFullBackend();
      const { connect, upstream } = await rig.forward({ to: to(full.address) });
      const client = await connect();
      client.write('12345');
      await dialing(upstream, 1);
      assert.equal(await unreadByEngine(client), 5);
      assert.deepEqual(upstream.stats(), { connections: 1, dialing: 1, bytesIn: 0, bytesOut: 0 });
      assert.equal(upstream.destroy(), 1);
      await upstream.drained();
      assert.equal(upstream.stats().connections, 0);
    },
  );

  for (const on of ['tcp', 'unix'] as const) {
    test(
      `a ${on} client that gives up while its upstream is dialled is not counted any more`,
      { timeout: 60_000 },
      async (t) => {
        if (on === 'unix' && 'Deno' in globalThis) return t.skip('Deno does not tell');
        await using rig = new Rig(openEngine, { lookMs: 20 });
        using full = await openFullBackend();
        const { connect, upstream } = await rig.forward({ to: to(full.address), on });
        const client = await connect();
        await dialing(upstream, 1);
        // Over TCP only a reset tells that nobody waits there any more.
        if (on === 'tcp') reset(client);
        else client.destroy();
        await upstream.drained();
        const [end] = await rig.endedConnections(1);
        assert.equal(end?.stage, 'dial');
        assert.equal(end.error, null);
      },
    );
  }

  test(
    'a client that sent something and was reset while its upstream is dialled is not counted any more',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine, { lookMs: 20 });
      using full = await openFullBackend();
      const { connect, upstream } = await rig.forward({ to: to(full.address) });
      const client = await connect();
      client.write('12345');
      await unreadByEngine(client);
      reset(client);
      await upstream.drained();
      assert.equal((await rig.endedConnections(1))[0]?.error, null);
    },
  );

  test(
    'what a client sent before it ended is delivered when its upstream comes up, and the answer reaches it',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine, { lookMs: 10 });
      const path = rig.path();
      const { connect, upstream } = await rig.forward({ to: to({ path }, { retry: 40_000 }) });
      const client = await connect();
      client.end('request');
      await dialing(upstream, 1);
      await using backend = await openBackend({ path });
      const peer = await backend.next();
      assert.equal(await readAll(peer), 'request');
      peer.end('answer');
      assert.equal(await readAll(client), 'answer');
    },
  );

  test(
    'a client that has nothing to say, and says so at once, gets what the server says, however late it comes up',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine, { lookMs: 10 });
      const path = rig.path();
      const { connect, upstream } = await rig.forward({ to: to({ path }, { retry: 40_000 }) });
      const client = await connect();
      client.end();
      await dialing(upstream, 1);
      // One that ends with a reset is noticed after several looks: by then the other has been looked at as often.
      const other = await connect();
      await dialing(upstream, 2);
      reset(other);
      await rig.endedConnections(1);
      await using backend = await openBackend({ path });
      const peer = await backend.next();
      assert.equal(await readAll(peer), '');
      peer.end('greeting');
      assert.equal(await readAll(client), 'greeting');
    },
  );

  test('a refused connect is tried again for as long as retry says', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    const path = rig.path();
    const { connect, upstream } = await rig.forward({ to: to({ path }, { retry: 200 }) });
    const begin = performance.now();
    const client = await connect();
    assert.equal(await endingOf(client), 'reset');
    const [end] = await rig.endedConnections(1);
    // What the engine says of the duration may begin later: it looks at its clock once for all that has come.
    const tookMs = performance.now() - begin;
    assert.ok(tookMs >= 200, `${tookMs} ms`);
    assert.equal(end?.error?.message, `cannot connect to unix:${path}: no such file or directory (ENOENT)`);
    assert.equal(upstream.stats().connections, 0);
  });

  test('a client whose upstream refuses is reset, and everything else goes on', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    const backend = await openEcho();
    await using other = await openEcho();
    const { connect } = await rig.forward({ to: to(backend) });
    const healthy = await rig.forward({ to: to(other) });
    const unaffected = await healthy.connect();
    await backend.close();
    const client = await connect();
    assert.equal(await endingOf(client), 'reset');
    const [end] = await rig.endedConnections(1);
    assert.equal(end?.stage, 'dial');
    assert.equal(
      end.error?.message,
      `cannot connect to tcp:127.0.0.1:${backend.port}: connection refused (ECONNREFUSED)`,
    );
    unaffected.end('still here');
    assert.equal(await readAll(unaffected), 'still here');
  });

  test('a connect that is not answered ends after the time-out of the endpoint', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    using full = await openFullBackend();
    const { connect } = await rig.forward({ to: to(full.address, { timeout: 0.15 }) });
    const client = await connect();
    assert.equal(await endingOf(client), 'reset');
    const [end] = await rig.endedConnections(1);
    assert.match(
      end?.error?.message ?? '',
      /^cannot connect to tcp:127\.0\.0\.1:[0-9]+: timed out, no answer within 0\.15 s$/,
    );
  });

  test('a Unix socket whose queue is full is waited for', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    using full = await openFullBackend(rig.path());
    const { connect, upstream } = await rig.forward({ to: to(full.address) });
    const client = await connect();
    await dialing(upstream, 1);
    const server = net.createServer((socket) => void (socket.remotePort === undefined && socket.end('served')));
    server.listen({ fd: full.listener.dup() });
    assert.equal(await readAll(client), 'served');
    client.end();
    server.close();
  });

  test('a name is resolved when a client comes, and every address of it is tried', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openEcho();
    const { connect } = await rig.forward({
      to: { type: 'tcp', host: 'localhost', port: backend.port, timeout: 5, bindAddress: null },
    });
    const client = await connect();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
    await backend.close();
    await rig.endedConnections(1); // threads tell of theirs each for itself
    await endingOf(await connect());
    const [, end] = await rig.endedConnections(2);
    assert.match(
      end?.error?.message ?? '',
      /^cannot connect to tcp:localhost:[0-9]+: .*127\.0\.0\.1: connection refused \(ECONNREFUSED\)/,
    );
  });

  test('a name that does not exist is said to be the trouble', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    const { connect } = await rig.forward({
      to: { type: 'tcp', host: 'nobody.invalid', port: 80, timeout: 5, bindAddress: null },
    });
    assert.equal(await endingOf(await connect()), 'reset');
    const [end] = await rig.endedConnections(1);
    assert.match(
      end?.error?.message ?? '',
      /^cannot connect to tcp:nobody\.invalid:80: the name cannot be resolved \(E/,
    );
  });

  test('IPv6 is listened on and connected to', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openEcho({ host: '::1' });
    const { connect } = await rig.forward({ to: to(backend), on: 'tcp6' });
    const client = await connect();
    client.end('six');
    assert.equal(await readAll(client), 'six');
    const [end] = await rig.endedConnections(1);
    assert.match(end?.peer ?? '', /^\[::1\]:[0-9]+$/);
  });

  test('bindAddress is the address that the upstream sees', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend, { bindAddress: '127.0.0.2' }) });
    await connect();
    assert.equal((await backend.next()).remoteAddress, '127.0.0.2');
  });

  test('lockfile=1 connects only while a live process holds the lock', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    const path = rig.path();
    await using _backend = await openEcho({ path });
    const { connect } = await rig.forward({ to: to({ path }, { lockfile: true }) });
    assert.equal(await endingOf(await connect()), 'reset');
    const [end] = await rig.endedConnections(1);
    assert.equal(end?.error?.message, `cannot connect to unix:${path}: no process holds ${path}.lock`);
    symlinkSync(`${process.pid}`, `${path}.lock`);
    const client = await connect();
    client.end('locked');
    assert.equal(await readAll(client), 'locked');
  });

  test('drained waits for the last connection and ends with its signal', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openEcho();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    await upstream.drained();
    const client = await connect();
    await once(
      client.setEncoding('latin1').on('data', () => {}),
      client.write('x') ? 'data' : 'drain',
    );
    const controller = new AbortController();
    const aborted = upstream.drained({ signal: controller.signal });
    controller.abort(new Error('enough'));
    await assert.rejects(aborted, /enough/);
    const drained = upstream.drained();
    client.end();
    await drained;
    assert.equal(upstream.stats().connections, 0);
  });

  test('a probe connects and closes again, or says why it cannot', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { signal } = new AbortController();
    await rig.engine.probe(to(backend), { signal });
    assert.equal(await endingOf(await backend.next()), 'end');
    await backend.close();
    await assert.rejects(rig.engine.probe(to(backend), { signal }), {
      name: 'GraceError',
      message: /connection refused \(ECONNREFUSED\)$/,
    });
    using full = await openFullBackend();
    const controller = new AbortController();
    const probing = rig.engine.probe(to(full.address), { signal: controller.signal });
    controller.abort(new Error('not any more'));
    await assert.rejects(probing, /not any more/);
  });

  for (const on of ['tcp', 'tcp6', 'unix'] as const) {
    for (const version of ['v1', 'v2'] as const) {
      test(
        `a destination with proxy=${version} is told of a client of ${on} before all else, and bytes come after it`,
        { timeout: 60_000 },
        async () => {
          await using rig = new Rig(openEngine);
          await using backend = await openBackend();
          const { connect, address, upstream } = await rig.forward({ to: to(backend, { proxy: version }), on });
          for (let round = 0; round < 2; round++) {
            const client = await connect();
            client.write('first bytes');
            const peer = await backend.next();
            const ends =
              'port' in address
                ? { client: { host: address.host, port: client.localPort! }, accepted: address }
                : 'unknown';
            const header = Buffer.from(proxyHeader(version, ends)).toString('latin1');
            assert.equal(await readBytes(peer, header.length + 11), `${header}first bytes`);
            peer.write('answer');
            assert.equal(await readBytes(client, 6), 'answer');
            client.end('last');
            assert.equal(await readAll(peer), 'last');
            peer.end();
            assert.equal(await readAll(client), '');
          }
          await upstream.drained();
          assert.deepEqual([upstream.stats().bytesIn, upstream.stats().bytesOut], [30, 12]); // it is none of the client's bytes
        },
      );
    }
  }

  test('a check of a destination with proxy= says that there is no client', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    for (const version of ['v1', 'v2'] as const) {
      await rig.engine.probe(to(backend, { proxy: version }), { signal: AbortSignal.timeout(20_000) });
      const header = Buffer.from(proxyHeader(version, 'local')).toString('latin1');
      assert.equal(await readBytes(await backend.next(), header.length), header);
    }
  });

  test(
    'an upstream that is switched to an abstract Unix socket is reached',
    { timeout: 60_000, skip: process.platform !== 'linux' },
    async () => {
      await using rig = new Rig(openEngine);
      const name = `\0grace-engine-${process.pid}-${Math.random()}`;
      const listener = await openListener({ kind: 'unix', path: name, mode: 0, backlog: 5 }, { name: 'abstract' });
      const { connect, upstream } = await rig.forward({ to: to({ path: name }) });
      const client = await connect();
      client.write('x');
      const server = net.createServer();
      server.listen({ fd: listener.dup() });
      const [peer] = (await once(server, 'connection')) as [Socket];
      assert.equal(await readBytes(peer, 1), 'x');
      assert.equal(upstream.stats().dialing, 0);
      server.close();
      peer.destroy();
      listener.close();
    },
  );
}

/** Resolves when so many clients of an upstream are being dialled. */
async function dialing(upstream: Upstream, count: number): Promise<void> {
  while (upstream.stats().dialing < count) await new Promise((resolve) => setImmediate(resolve));
}

/** Resolves with what the engine has not read of what a client sent, as the kernel counts it, once that has come. */
async function unreadByEngine({ localAddress, localPort, remoteAddress, remotePort }: Socket): Promise<number> {
  assert.ok(localAddress && localPort && remoteAddress && remotePort);
  using diagnosis = openTcpDiagnosis();
  for (;;) {
    // The engine's end: its local address is our remote one.
    const state = diagnosis?.stateOf({
      localAddress: remoteAddress,
      localPort: remotePort,
      remoteAddress: localAddress,
      remotePort: localPort,
    });
    if (state && state.unread > 0) return state.unread;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
