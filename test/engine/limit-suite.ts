import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { admissionOf } from '../../src/engine/admission/admission.ts';
import type { BindableServer } from '../../src/endpoint/model.ts';
import { proxyHeader } from '../../src/engine/proxy-header.ts';
import { until } from '../until.ts';
import { tallyFields } from '../../src/engine/tally.ts';
import { endingOf, openBackend, openEcho, readAll, readBytes } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';

const options = { timeout: 60_000 };
const nobodyRefused = { denied: 0, 'address-connections': 0, 'address-rate': 0 };

/** What may be refused at a source. */
export function limitSuite(openEngine: OpenEngine): void {
  const open = async (rig: Rig, from: Partial<BindableServer>, on: 'tcp' | 'tcp6' | 'unix' = 'tcp') => {
    const echo = await openEcho();
    const admission = admissionOf({ type: 'tcp', port: 0, interface: '', backlog: 50, ...from } as BindableServer);
    const forward = await rig.forward({ to: to(echo), from, on, admission });
    const isServed = async (client: Awaited<ReturnType<typeof forward.connect>>) => {
      client.write('?');
      return readBytes(client, 1).then(
        (byte) => byte === '?',
        () => false,
      );
    };
    return { ...forward, echo, admission: admission!, isServed };
  };

  for (const on of ['tcp', 'tcp6', 'unix'] as const) {
    test(
      `over ${on}, a client beyond maxconnPer is reset and counted, and one more comes in when one has left`,
      options,
      async () => {
        await using rig = new Rig(openEngine);
        const { connect, admission, echo, isServed, upstream } = await open(rig, { maxconnPer: 2 }, on);
        await using _ = echo;
        const [first, second, third] = [await connect(), await connect(), await connect()];
        assert.deepEqual([await isServed(first), await isServed(second)], [true, true]);
        assert.equal(await isServed(third), false);
        assert.equal(upstream.stats().connections, 2);
        assert.equal(upstream.tally()[tallyFields.indexOf('end address-connections')], 1);
        assert.deepEqual(admission.refused, { ...nobodyRefused, 'address-connections': 1 });
        first.end();
        await rig.endedConnections(1);
        assert.equal(await isServed(await connect()), true);
        assert.equal(await isServed(await connect()), false);
        assert.equal(echo.accepted, 3);
      },
    );
  }

  test('addresses have their connections each', options, async () => {
    await using rig = new Rig(openEngine);
    const { connect, echo, isServed } = await open(rig, { maxconnPer: 1 });
    await using _ = echo;
    assert.equal(await isServed(await connect()), true);
    assert.equal(await isServed(await connect()), false);
    assert.equal(await isServed(await connect({ localAddress: '127.0.0.2' })), true);
    assert.equal(await isServed(await connect({ localAddress: '127.0.0.2' })), false);
  });

  test('a client faster than ratePer is reset and counted', options, async () => {
    await using rig = new Rig(openEngine);
    const { connect, admission, echo, isServed } = await open(rig, {
      ratePer: { count: 1, perMs: 3_600_000, burst: 3 },
    });
    await using _ = echo;
    for (let count = 0; count < 3; count++) {
      const client = await connect();
      assert.equal(await isServed(client), true);
      client.destroy();
    }
    assert.equal(await isServed(await connect()), false);
    assert.equal(await isServed(await connect({ localAddress: '127.0.0.2' })), true);
    assert.deepEqual(admission.refused, { ...nobodyRefused, 'address-rate': 1 });
  });

  test('who is not in allow, or in deny, is reset and counted; a file of networks is read again', options, async () => {
    await using rig = new Rig(openEngine);
    const file = rig.path();
    writeFileSync(file, '127.0.0.0/8\n');
    const { connect, admission, echo, isServed } = await open(rig, {
      allow: [`@${file}`],
      deny: ['127.0.0.2', '10.0.0.0/8'],
    });
    await using _ = echo;
    const from = async (localAddress: string) => isServed(await connect({ localAddress }));
    assert.deepEqual([await from('127.0.0.1'), await from('127.0.0.2'), await from('127.0.0.3')], [true, false, true]);
    assert.equal(admission.isStale, false);
    writeFileSync(file, '127.0.0.3\n# changed');
    assert.equal(admission.isStale, true);
    admission.reload();
    await until('the new networks hold', async () => !(await from('127.0.0.1')));
    assert.equal(await from('127.0.0.3'), true);
    writeFileSync(file, 'localhost\n');
    assert.throws(() => admission.reload(), /line 1/);
    assert.match(admission.problem ?? '', /line 1/);
    assert.equal(admission.isStale, false);
    assert.deepEqual([await from('127.0.0.1'), await from('127.0.0.3')], [false, true]);
    assert.ok(admission.refused.denied >= 3);
  });

  test('with proxy=accept it is the address of the header that counts', options, async () => {
    await using rig = new Rig(openEngine);
    const { connect, admission, echo } = await open(rig, { proxy: 'accept', maxconnPer: 1, deny: ['192.0.2.9'] });
    await using _ = echo;
    const from = async (host: string) => {
      const client = await connect();
      const header = proxyHeader('v1', { client: { host, port: 1 }, accepted: { host: '198.51.100.1', port: 2 } });
      client.write(Buffer.concat([header, Buffer.from('?')]));
      return readBytes(client, 1).then(
        (byte) => byte === '?',
        () => false,
      );
    };
    assert.deepEqual([await from('192.0.2.7'), await from('192.0.2.8')], [true, true]);
    assert.equal(await from('192.0.2.7'), false);
    await rig.endedConnections(1); // threads tell of theirs each for itself
    assert.equal(await from('192.0.2.9'), false);
    assert.deepEqual(admission.refused, { ...nobodyRefused, denied: 1, 'address-connections': 1 });
    const ended = await rig.endedConnections(2);
    assert.deepEqual(
      ended.map(({ peer, stage }) => `${stage} ${peer}`),
      ['handshake 192.0.2.7:1', 'handshake 192.0.2.9:1'],
    );
  });

  for (const buffer of [16 * 1024, 256 * 1024])
    test(
      `of a connection whose peer does not read, ${buffer} bytes are kept, and all comes when it reads`,
      { ...options, skip: process.platform !== 'linux' && 'Linux only' },
      async () => {
        await using rig = new Rig(openEngine);
        await using backend = await openBackend();
        const { connect, upstream, listener } = await rig.forward({ to: to(backend), from: { buffer } });
        const client = await connect();
        const peer = await backend.next();
        peer.pause();
        const size = 16 * 2 ** 20;
        client.end(Buffer.alloc(size, 'x'));
        // Beyond what lies in the sockets to the peer, which take nothing any more: what moves from one to the other while
        // the kernel lists them, as when it asks for room again, may be in neither row.
        let held = -1;
        let before = -1;
        let looks = 0;
        await until('nothing moves any more', () => {
          const { bytesIn } = upstream.stats();
          const now = bytesIn - queuedAt(peer.localPort!);
          looks = bytesIn > 0 && bytesIn === before && now === held ? looks + 1 : 0;
          [before, held] = [bytesIn, now];
          return looks >= 100 && held >= 0;
        });
        assert.ok(before < size, `${before} of ${size} bytes were taken`);
        const runtimeReads = rig.engine.name === 'native' ? 0 : 2 * 64 * 1024;
        assert.ok(held <= buffer + runtimeReads, `${held} bytes are kept`);
        assert.ok(listener.isOpen);
        const whole = readAll(peer);
        peer.resume();
        assert.equal((await whole).length, size);
        peer.end();
      },
    );

  test('who is refused takes no place from others', options, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { connect } = await rig.forward({ to: to(backend), from: { maxconn: 2, deny: ['127.0.0.2'] } });
    for (let count = 0; count < 10; count++)
      assert.equal(await endingOf(await connect({ localAddress: '127.0.0.2' })), 'reset');
    const clients = [await connect(), await connect()];
    for (const client of clients) client.write('x');
    for (const _ of clients) assert.equal(await readBytes(await backend.next(), 1), 'x');
  });

  test(
    'a connection ends when it has lasted as long as it may, whatever moves on it, and not all at once',
    options,
    async () => {
      await using rig = new Rig(openEngine);
      const lifetimeMs = 1000;
      const { connect, echo, upstream } = await open(rig, { lifetime: lifetimeMs });
      await using _ = echo;
      const count = 12;
      const ends: Promise<'end' | 'reset'>[] = [];
      for (let index = 0; index < count; index++) {
        const client = await connect();
        const busy = setInterval(() => client.write('.'), 50);
        ends.push(endingOf(client).finally(() => clearInterval(busy)));
      }
      const ended = await rig.endedConnections(count);
      await Promise.all(ends);
      assert.deepEqual([...new Set(ended.map(({ reason, error }) => `${reason} ${error}`))], ['lifetime null']);
      const durations = ended.map(({ durationMs }) => durationMs);
      assert.ok(Math.min(...durations) >= 0.9 * lifetimeMs, `${Math.min(...durations)}`);
      assert.ok(new Set(durations.map((ms) => Math.round(ms / 20))).size > 1, durations.join());
      assert.equal(upstream.stats().connections, 0);
    },
  );
}

/** Bytes on their way to a port of this machine: in the queues of the sockets at both ends. */
function queuedAt(port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1);
  return rows.reduce((sum, row) => {
    const [, local = '', remote = '', state, queues = ''] = row.trim().split(/ +/);
    if (state !== '01' && state !== '04' && state !== '05' && state !== '08') return sum;
    const [tx, rx] = queues.split(':').map((text) => Number.parseInt(text, 16));
    if (remote.endsWith(`:${hex}`)) return sum + tx!;
    return local.endsWith(`:${hex}`) ? sum + rx! : sum;
  }, 0);
}
