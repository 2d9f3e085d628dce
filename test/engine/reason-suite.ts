import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClientEndpoint } from '../../src/endpoint/model.ts';
import { closingReasons } from '../../src/engine/closing-reason.ts';
import type { ClosingReason } from '../../src/engine/closing-reason.ts';
import type { Upstream } from '../../src/engine/engine.ts';
import { countEnds, tallyFields } from '../../src/engine/tally.ts';
import { openFullBackend } from './full-backend.ts';
import { endingOf, openBackend, openEcho, readAll, readBytes, reset } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { Forward, ForwardOptions } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { connectTls, pemFiles, read, sslFrom, sslTo } from './tls-peers.ts';

const timeout = 60_000;

/** What an upstream has counted under a name of tally.ts. */
export function counted(upstream: Upstream, name: string): number {
  const at = tallyFields.indexOf(name);
  assert.notEqual(at, -1, `there is no ${name}`);
  return upstream.tally()[at]!;
}

/** One connection has ended, for this reason, in the report as in the numbers. */
async function mustEnd(rig: Rig, upstream: Upstream, reason: ClosingReason): Promise<void> {
  const [end] = await rig.endedConnections(1);
  assert.equal(end?.reason, reason);
  await upstream.drained();
  const ends = closingReasons.filter((each) => counted(upstream, `end ${each}`) > 0);
  assert.deepEqual(ends, [reason]);
  assert.equal(countEnds(upstream.tally()), 1);
  assert.equal(counted(upstream, 'accepted'), 1);
}

/** Every connection ends for exactly one reason. */
export function reasonSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();
  const cases: { reason: ClosingReason; what: string; run(rig: Rig): Promise<Upstream> }[] = [];
  const on = (reason: ClosingReason, what: string, run: (rig: Rig) => Promise<Upstream>) =>
    void cases.push({ reason, what, run });

  on('finished', 'both directions end', async (rig) => {
    await using echo = await openEcho();
    const { connect, upstream } = await rig.forward({ to: to(echo) });
    const client = await connect();
    const all = readAll(client);
    client.end('hello');
    assert.equal(await all, 'hello');
    client.destroy();
    await upstream.drained();
    return upstream;
  });

  on('client-reset', 'the client resets', async (rig) => {
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    const client = await connect();
    client.write('x');
    const peer = await backend.next();
    assert.equal(await readBytes(peer, 1), 'x');
    reset(client);
    assert.equal(await endingOf(peer), 'reset');
    await upstream.drained();
    return upstream;
  });

  on('upstream-reset', 'the destination resets', async (rig) => {
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend) });
    const client = await connect();
    client.write('x');
    const peer = await backend.next();
    assert.equal(await readBytes(peer, 1), 'x');
    reset(peer);
    assert.equal(await endingOf(client), 'reset');
    await upstream.drained();
    return upstream;
  });

  on('client-gone', 'the client resets before the destination is connected', async (rig) => {
    using full = await openFullBackend();
    const { connect, upstream } = await rig.forward({ to: to(full.address) });
    const client = await connect();
    while (upstream.stats().dialing === 0) await new Promise((resolve) => setImmediate(resolve));
    reset(client);
    await upstream.drained();
    return upstream;
  });

  const ofDial = (reason: ClosingReason, what: string, target: (rig: Rig) => ClientEndpoint, options = {}) =>
    on(reason, what, async (rig) => {
      const { connect, upstream } = await rig.forward({ to: target(rig), ...options });
      assert.equal(await endingOf(await connect()), 'reset');
      await upstream.drained();
      return upstream;
    });
  ofDial('dial-refused', 'nobody listens on the port', () => to({ host: '127.0.0.1', port: 1 }));
  ofDial('dial-refused', 'there is no such Unix socket', (rig) => to({ path: rig.path() }));
  ofDial('name-failed', 'the name does not resolve', () => to({ host: 'nobody.invalid', port: 1 }));

  on('dial-timeout', 'the destination does not answer in time', async (rig) => {
    using full = await openFullBackend();
    const { connect, upstream } = await rig.forward({ to: to(full.address, { timeout: 0.1 }) });
    assert.equal(await endingOf(await connect()), 'reset');
    await upstream.drained();
    return upstream;
  });

  on('idle', 'no byte moves for longer than allowed', async (rig) => {
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: to(backend), from: { idle: 100 } });
    await endingOf(await connect());
    await upstream.drained();
    return upstream;
  });

  for (const reason of ['closed', 'stopped'] as const) {
    on(reason, 'it is closed from here', async (rig) => {
      await using backend = await openBackend();
      const { connect, upstream } = await rig.forward({ to: to(backend) });
      const client = await connect();
      client.write('x');
      assert.equal(await readBytes(await backend.next(), 1), 'x');
      assert.equal(upstream.destroy(reason), 1);
      await endingOf(client);
      await upstream.drained();
      return upstream;
    });
    on(reason, 'it is closed from here while its destination is dialled', async (rig) => {
      using full = await openFullBackend();
      const { connect, upstream } = await rig.forward({ to: to(full.address) });
      const client = await connect();
      while (upstream.stats().dialing === 0) await new Promise((resolve) => setImmediate(resolve));
      upstream.destroy(reason);
      await endingOf(client);
      await upstream.drained();
      return upstream;
    });
  }

  on('handshake-failed', 'a client does not speak TLS', async (rig) => {
    await using echo = await openEcho();
    const { connect, upstream } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    const client = await connect();
    client.write('this is no TLS\n\n\n\n\n\n');
    await endingOf(client);
    await upstream.drained();
    assert.equal(counted(upstream, 'tls client failed'), 1);
    return upstream;
  });

  on('proxy-refused', 'a client sends no PROXY header', async (rig) => {
    await using echo = await openEcho();
    const { connect, upstream } = await rig.forward({
      to: to(echo),
      from: { proxy: 'accept' } as ForwardOptions['from'] & {},
    });
    const client = await connect();
    client.write('GET / HTTP/1.1\r\n\r\n');
    await endingOf(client);
    await upstream.drained();
    return upstream;
  });

  on('dial-tls-failed', 'the destination does not speak TLS', async (rig) => {
    await using backend = await openBackend();
    const { connect, upstream } = await rig.forward({ to: sslTo(backend.port, pem()) });
    const client = await connect();
    const peer = await backend.next();
    peer.end('this is no TLS\n\n\n\n\n\n');
    assert.equal(await endingOf(client), 'reset');
    await upstream.drained();
    return upstream;
  });

  for (const { reason, what, run } of cases) {
    test(`a connection ends as ${reason} when ${what}`, { timeout }, async () => {
      await using rig = new Rig(openEngine, { lookMs: 20 });
      await mustEnd(rig, await run(rig), reason);
    });
  }

  test('how long connecting took and how long connections lasted is counted', { timeout }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const { connect, upstream } = await rig.forward({ to: to(echo) });
    for (let count = 0; count < 3; count++) await finish(await connect());
    await upstream.drained();
    const ends = await rig.endedConnections(3);
    const sumOf = (name: string) =>
      tallyFields.reduce(
        (sum, field, at) => sum + (new RegExp(`^${name} [0-9I]`).test(field) ? upstream.tally()[at]! : 0),
        0,
      );
    assert.deepEqual([sumOf('connect'), sumOf('duration')], [3, 3]);
    assert.deepEqual([counted(upstream, 'bytesIn'), counted(upstream, 'bytesOut')], [15, 15]);
    for (const { connectMs, durationMs, startedMs } of ends) {
      assert.ok(connectMs !== null && connectMs >= 0 && durationMs >= 0);
      assert.ok(Math.abs(Date.now() - startedMs) < 60_000);
    }
  });

  test('a TLS client is reported with its version and the name it asked for', { timeout }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const { address, upstream } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    await finish(await connectTls(address, { ca: read(pem().root) }));
    await upstream.drained();
    const [end] = await rig.endedConnections(1);
    assert.deepEqual(end?.tls, { version: 'TLSv1.3', name: 'www.example.com' });
    assert.deepEqual(
      ['TLSv1.3', 'resumed'].map((name) => counted(upstream, `tls client ${name}`)),
      [1, 0],
    );
  });
}

async function finish(client: Awaited<ReturnType<Forward['connect']>>): Promise<void> {
  const all = readAll(client);
  client.end('hello');
  assert.equal(await all, 'hello');
  client.destroy();
}
