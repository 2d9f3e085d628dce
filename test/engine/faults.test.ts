/** What both engines do when the system has nothing left, or the network fails: each in a process of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { Socket } from 'node:net';
import type { ClientEndpoint } from '../../src/endpoint/model.ts';
import { openNativeEngine } from '../../src/engine/native/engine.ts';
import { openPortableEngine } from '../../src/engine/portable/engine.ts';
import { libc } from '../../src/sys/libc.ts';
import { makeTempDir } from '../net/temp-dir.ts';
import { until } from '../until.ts';
import { FaultyForward, hasStrace, ownNetwork } from './faulty-forward.ts';
import type { ForwardOptions } from './faulty-forward.ts';
import { openFullBackend } from './full-backend.ts';
import { connectTo, endingOf, openBackend, openEcho, readAll, readBytes, reset } from './peers.ts';
import type { Backend } from './peers.ts';
import { Rig, to } from './rig.ts';
import { openStream, openStreamServer, pattern } from './soak-streams.ts';
import type { StreamServer } from './soak-streams.ts';

const isLinux = process.platform === 'linux';
const isDeno = 'Deno' in globalThis;
const options = { timeout: 60_000, skip: !isLinux };
const traced = { ...options, skip: !hasStrace && 'strace is not installed' };

/** The system calls of an engine: the portable one leaves the choice to its runtime. */
const calls = {
  native: { accept: 'accept4', wait: 'epoll_wait,epoll_pwait', send: 'sendto' },
  portable: { accept: 'accept4', wait: 'epoll_wait,epoll_pwait,epoll_pwait2', send: 'write,writev,sendto,sendmsg' },
};

/** A stream through a forward, for so many bytes; what went wrong, or null. */
async function exchange(
  address: { host: string; port: number },
  { bytes, id = 1 }: { bytes: number; id?: number },
): Promise<string | null> {
  const stream = await openStream(address, { id, piece: 60_000, pauseMs: 0 });
  await until(
    () => `${stream.received} of ${bytes} bytes have come`,
    () => stream.received >= bytes || stream.socket.destroyed,
  );
  return (await stream.finish()).problem;
}

/** An endpoint that leads to a server of streams. */
function toServer({ address }: StreamServer): ForwardOptions['to'] {
  return to(address);
}

async function ask(address: { host: string; port: number }, word: string): Promise<string | null> {
  const client = await connectTo(address);
  client.end(word);
  return readAll(client).catch(() => null);
}

/** Have the peer of a Unix socket fail to write with EPIPE. */
function shutReading(socket: Socket): void {
  const { fd } = Reflect.get(socket, '_handle') as { fd: number };
  assert.equal(libc().shutdown(fd, 0), 0);
}

for (const engine of ['native', 'portable'] as const) {
  const { accept, wait, send } = calls[engine];
  const openEngine = engine === 'native' ? openNativeEngine : openPortableEngine;
  const start = (backend: Backend, more: Partial<ForwardOptions> = {}) =>
    FaultyForward.start({ engine, to: to(backend), ...more });
  /** A forward to each of these, in a network of its own which a shell's command sets up. The test is skipped where that is not allowed: null. */
  const startAlone = async (t: TestContext, setup: string, destinations: readonly ClientEndpoint[]) => {
    const under = ownNetwork(setup);
    if (under === null) {
      t.skip('no network of its own is allowed here');
      return null;
    }
    const dir = makeTempDir();
    t.after(() => dir[Symbol.dispose]());
    const path = dir.file('socket');
    const forward = await FaultyForward.start({ engine, under, path, to: destinations });
    return {
      forward,
      /** A client of the forward to one of them. */
      connect: (index = 0) => connectTo({ path: index === 0 ? path : `${path}.${index}` }),
      [Symbol.asyncDispose]: () => forward[Symbol.asyncDispose](),
    };
  };
  const skipTrace = (t: TestContext) => t.skip('strace may not attach here');

  const panics = isDeno && engine === 'portable' && 'its runtime may panic where it has no descriptor left for itself';
  test(
    `${engine}: while there are no descriptors the process rests`,
    { ...traced, skip: traced.skip || panics },
    async (t) => {
      await using echo = await openEcho();
      await using forward = await start(echo, { before: 'ulimit -n 64' });
      const clients: Socket[] = [];
      for (let count = 0; count < 60; count++) {
        const client = await connectTo(forward.address);
        client.write('x');
        clients.push(client);
      }
      assert.match((await forward.line()).paused ?? '', /EMFILE/);
      const traceCalls = await forward.trace(`trace=${accept},${wait},socket`);
      if (!traceCalls) return skipTrace(t);
      const cpuBefore = forward.cpuMs;
      await new Promise((resolve) => setTimeout(resolve, 600)); // what it does in a time is what is tested
      const count = traceCalls().length;
      const cpuMs = forward.cpuMs - cpuBefore;
      t.diagnostic(`${count} system calls and ${cpuMs} ms of the processor in 600 ms`);
      assert.ok(count < 100, `${count} system calls`);
      assert.ok(cpuMs < 200, `${cpuMs} ms`);
      for (const client of clients) client.destroy();
      // Some were in the queue: accepted now, and gone.
      while (!(await forward.line()).resumed);
      assert.equal(await ask(forward.address, 'there again'), 'there again');
    },
  );

  const deafAfterFailure =
    isDeno && engine === 'portable' && 'after an accept that failed its runtime accepts no more, without a word';
  test(
    `${engine}: when the system has no file left, accepting pauses and goes on`,
    { ...traced, skip: traced.skip || deafAfterFailure },
    async (t) => {
      await using echo = await openEcho();
      await using forward = await start(echo);
      const traceCalls = await forward.trace(`trace=${accept}`, `inject=${accept}:error=ENFILE:when=1..4`);
      if (!traceCalls) return skipTrace(t);
      const answers = await Promise.all(['a', 'b', 'c'].map((word) => ask(forward.address, word)));
      // libuv is rid of those that wait, by accepting and closing them.
      if (engine === 'native') assert.deepEqual(answers, ['a', 'b', 'c']);
      assert.equal(await ask(forward.address, 'd'), 'd');
      const failed = traceCalls().filter((line) => line.includes('ENFILE')).length;
      assert.equal(failed, 4);
      assert.ok(traceCalls().length < 40, traceCalls().join('\n'));
      if (engine === 'portable') return;
      for (let pauses = 0; pauses < 4; pauses++) assert.match((await forward.line()).paused ?? '', /ENFILE/);
      assert.equal((await forward.line()).resumed, true);
    },
  );

  const givesUpOnWrites =
    isDeno && engine === 'portable' && 'its runtime gives up whatever has failed to be written, its own output too';
  test(
    `${engine}: writes that find no buffers lose and double no byte`,
    { ...traced, skip: traced.skip || givesUpOnWrites },
    async (t) => {
      const server = await openStreamServer();
      await using forward = await FaultyForward.start({ engine, to: toServer(server) });
      const traceCalls = await forward.trace(`trace=${send}`, `inject=${send}:error=ENOBUFS:when=3+5`);
      if (!traceCalls) return skipTrace(t);
      let failed = 0;
      // The larger the pieces that come, the fewer writes an exchange takes.
      for (let exchanges = 0; failed <= 2 && exchanges < 10; exchanges++) {
        assert.equal(await exchange(forward.address, { bytes: 1_000_000 }), null);
        failed = traceCalls().filter((line) => line.includes('ENOBUFS')).length;
      }
      t.diagnostic(`${failed} of ${traceCalls().length} writes failed`);
      assert.ok(failed > 2);
      await forward.untrace();
      const { lines, stats } = await forward.end();
      assert.deepEqual([lines.filter(({ error }) => error), stats?.connections], [[], 0]);
      await server.close();
    },
  );

  test(
    `${engine}: a destination that takes no more (EPIPE) may still answer, and nothing else is touched`,
    { ...options, skip: options.skip || (isDeno && 'its sockets do not tell their descriptor') },
    async () => {
      await using rig = new Rig(() => openEngine());
      await using backend = await openBackend({ path: rig.path() });
      const { connect, upstream } = await rig.forward({ to: to(backend) });
      const other = await connect();
      const otherPeer = await backend.next();
      const client = await connect();
      const peer = await backend.next();
      shutReading(peer);
      client.write('is anybody there?');
      peer.write('not listening');
      assert.equal(await readBytes(client, 13), 'not listening');
      peer.destroy();
      await endingOf(client);
      client.destroy();
      other.end('2');
      assert.equal(await readAll(otherPeer), '2');
      otherPeer.end();
      other.resume();
      await upstream.drained();
      assert.deepEqual(
        (await rig.endedConnections(2)).map(({ error }) => error),
        [null, null],
      );
    },
  );

  test(
    `${engine}: a destination without a listener is refused, and never is it the forwarder itself`,
    options,
    async (t) => {
      // Of few ports to connect from, the one of the destination comes up soon. IPv6 is off, so that ::1 has no address to be reached from.
      await using alone = await startAlone(
        t,
        'echo 40020 40025 > /proc/sys/net/ipv4/ip_local_port_range && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6',
        [to({ host: '127.0.0.1', port: 40_023 }), to({ host: '::1', port: 40_023 })],
      );
      if (alone === null) return;
      const { forward, connect } = alone;
      for (let count = 0; count < 100; count++) {
        const client = await connect();
        client.write('to whom?');
        assert.equal(
          (await forward.line()).error,
          'cannot connect to tcp:127.0.0.1:40023: connection refused (ECONNREFUSED)',
        );
        await endingOf(client);
      }
      const client = await connect(1);
      // Deno has no name for it.
      assert.match(
        (await forward.line()).error ?? '',
        /^cannot connect to tcp:\[::1\]:40023: (address not available \(EADDRNOTAVAIL\)|invalid argument \(EINVAL\))$/,
      );
      await endingOf(client);
      await forward.end();
    },
  );

  test(
    `${engine}: this machine by the address of no host, or from an address or zone that it has not, is refused at once`,
    options,
    async (t) => {
      const destinations = [
        [
          to({ host: '0.0.0.0', port: 40_020 }),
          /^cannot connect to tcp:0\.0\.0\.0:40020: connection refused \(ECONNREFUSED\)$/,
        ],
        [to({ host: '::', port: 40_020 }), /^cannot connect to tcp:\[::\]:40020: connection refused \(ECONNREFUSED\)$/],
        [to({ host: '::ffff:127.0.0.1', port: 40_020 }), /: connection refused \(ECONNREFUSED\)$/],
        [
          to({ host: '127.0.0.1', port: 80 }, { bindAddress: '192.0.2.1' }),
          /^cannot connect to tcp:127\.0\.0\.1:80: address not available \(EADDRNOTAVAIL\)$/,
        ],
        [to({ host: 'fe80::1%nosuch', port: 80 }), /^cannot connect to tcp:\[fe80::1%nosuch\]:80: .*\(E[A-Z]+\)$/],
      ] as const;
      // The only port there is to connect from is that of the destination.
      await using alone = await startAlone(
        t,
        'echo 40020 40020 > /proc/sys/net/ipv4/ip_local_port_range',
        destinations.map(([endpoint]) => endpoint),
      );
      if (alone === null) return;
      const { forward, connect } = alone;
      for (const [index, [, error]] of destinations.entries()) {
        const client = await connect(index);
        client.write('to whom?');
        assert.match((await forward.line()).error ?? '', error);
        await endingOf(client);
      }
      await forward.end();
    },
  );

  test(
    `${engine}: a destination for which there is no local port left is not the one that is blamed`,
    { ...options, skip: options.skip || (engine === 'portable' && 'it does not wait for a port') },
    async (t) => {
      // One port, and what is sent to the destination comes back and is for nobody.
      const patient = to({ host: '198.51.100.1', port: 80 }, { timeout: 100 });
      const hasty = to({ host: '198.51.100.1', port: 80 }, { timeout: 0.2 });
      await using alone = await startAlone(
        t,
        'echo 40020 40020 > /proc/sys/net/ipv4/ip_local_port_range && ip route add 198.51.100.0/24 dev lo src 127.0.0.1',
        [patient, hasty],
      );
      if (alone === null) return;
      const { forward, connect } = alone;
      const first = await connect();
      const client = await connect(1);
      assert.equal(
        (await forward.line()).error,
        'cannot connect to tcp:198.51.100.1:80: every local port towards it is taken, for 0.2 s (net.ipv4.ip_local_port_range, or bindAddress=)',
      );
      await endingOf(client);
      first.destroy();
      await forward.end();
    },
  );

  test(
    `${engine}: destinations that cannot be reached or do not answer are said to be the trouble, and the client is closed`,
    options,
    async (t) => {
      const destinations = [
        ['192.0.2.1', /^cannot connect to tcp:192\.0\.2\.1:80: .*\(EHOSTUNREACH\)$/],
        ['203.0.113.1', /^cannot connect to tcp:203\.0\.113\.1:80: .*\(ENETUNREACH\)$/],
        ['198.51.100.1', /^cannot connect to tcp:198\.51\.100\.1:80: timed out, no answer within 0\.2 s/],
        ['127.0.0.1', /^cannot connect to tcp:127\.0\.0\.1:80: .*\(ECONNREFUSED\)$/],
      ] as const;
      // What is sent to the second network comes back, and is for nobody.
      await using alone = await startAlone(
        t,
        'ip route add unreachable 192.0.2.0/24 && ip route add 198.51.100.0/24 dev lo src 127.0.0.1',
        destinations.map(([host]) => to({ host, port: 80 }, { timeout: 0.2 })),
      );
      if (alone === null) return;
      const { forward, connect } = alone;
      for (const [index, [, error]] of destinations.entries()) {
        const client = await connect(index);
        assert.match((await forward.line()).error ?? '', error);
        await endingOf(client);
      }
      const { lines } = await forward.end();
      assert.deepEqual(
        lines,
        destinations.map(() => ({ stats: { connections: 0, dialing: 0, bytesIn: 0, bytesOut: 0 } })),
      );
    },
  );

  test(
    `${engine}: a Unix destination whose queue stays full is given up after the time-out of the endpoint`,
    { ...options, skip: options.skip || (isDeno && engine === 'portable' && 'its runtime waits in the connect') },
    async () => {
      await using rig = new Rig(() => openEngine());
      using full = await openFullBackend(rig.path());
      const { connect, upstream } = await rig.forward({ to: to(full.address, { timeout: 0.2 }) });
      const clients = await Promise.all([connect(), connect(), connect()]);
      const endings = await Promise.all(clients.map(endingOf));
      assert.deepEqual(endings, ['reset', 'reset', 'reset']);
      await upstream.drained();
      for (const { error } of await rig.endedConnections(3)) assert.match(error?.message ?? '', /timed out/);
    },
  );

  test(
    `${engine}: a peer that never reads holds its own connection alone, for as long as it likes`,
    options,
    async () => {
      await using rig = new Rig(() => openEngine());
      await using backend = await openBackend();
      const { connect, upstream } = await rig.forward({ to: to(backend) });
      const deaf = await connect();
      deaf.pause();
      const peer = await backend.next();
      const data = Buffer.alloc(65_536, 'z');
      let isOver = false;
      const pour = async () => {
        while (!isOver && peer.writable) {
          if (!peer.write(data))
            await new Promise<void>((resolve) => peer.once('drain', resolve).once('close', resolve));
        }
      };
      const pouring = pour();
      // Meanwhile others are served as ever.
      for (let count = 0; count < 50; count++) {
        const client = await connect();
        const other = await backend.next();
        client.end('hello');
        assert.equal(await readAll(other), 'hello');
        other.end();
        client.resume();
      }
      assert.equal(upstream.stats().bytesIn, 250);
      reset(deaf);
      assert.equal(await endingOf(peer), 'reset');
      isOver = true;
      await pouring;
      await upstream.drained();
    },
  );
}

for (const [call, error] of [
  ['recvfrom', 'ENOBUFS'],
  ['sendto', 'EINTR'],
] as const) {
  test(`native: ${call} that fails with ${error} is tried again, and no byte is lost or doubled`, traced, async (t) => {
    const server = await openStreamServer();
    await using forward = await FaultyForward.start({ engine: 'native', to: toServer(server) });
    const traceCalls = await forward.trace(`trace=${call}`, `inject=${call}:error=${error}:when=2+2`);
    if (!traceCalls) return t.skip('strace may not attach here');
    assert.equal(await exchange(forward.address, { bytes: 1_000_000 }), null);
    const failed = traceCalls().filter((line) => line.includes(error)).length;
    t.diagnostic(`${failed} of ${traceCalls().length} calls failed`);
    assert.ok(failed > 0);
    const { lines } = await forward.end();
    assert.deepEqual(
      lines.filter((line) => line.error),
      [],
    );
    await server.close();
  });
}

test(
  'native: a splice that finds no memory, in whichever half of its way, loses and doubles no byte',
  traced,
  async (t) => {
    await using backend = await openBackend();
    await using forward = await FaultyForward.start({ engine: 'native', to: to(backend) });
    const traceCalls = await forward.trace('trace=splice', 'inject=splice:error=ENOMEM:when=2+3');
    if (!traceCalls) return t.skip('strace may not attach here');
    const client = await connectTo(forward.address);
    const data = Buffer.alloc(16_000_000, pattern(3));
    const peer = await backend.next();
    const received = readAll(client);
    peer.end(data);
    assert.ok(Buffer.from(await received, 'latin1').equals(data));
    client.end();
    assert.equal(await readAll(peer), '');
    const failed = traceCalls().filter((line) => line.includes('ENOMEM'));
    t.diagnostic(`${failed.length} of ${traceCalls().length} calls failed`);
    assert.ok(failed.length > 2);
    assert.deepEqual((await forward.end()).stats, { connections: 0, dialing: 0, bytesIn: 0, bytesOut: data.length });
  },
);

test(
  'native: a connection that cannot be watched is reset and said, and everything else goes on',
  traced,
  async (t) => {
    await using echo = await openEcho();
    await using forward = await FaultyForward.start({ engine: 'native', to: to(echo) });
    const traceCalls = await forward.trace('trace=epoll_ctl', 'inject=epoll_ctl:error=ENOSPC:when=1..2');
    if (!traceCalls) return t.skip('strace may not attach here');
    // Of the first the client cannot be watched, of the second its upstream.
    for (let count = 0; count < 2; count++) {
      const client = await connectTo(forward.address);
      assert.equal(await endingOf(client), 'reset');
      assert.match((await forward.line()).error ?? '', /ENOSPC/);
      if (count === 0) assert.equal(traceCalls().length, 1);
    }
    assert.equal(await ask(forward.address, 'next'), 'next');
    assert.equal((await forward.end()).stats?.connections, 0);
  },
);

test('native: a dial that finds no sockets or ports is tried again until there are some', traced, async (t) => {
  await using echo = await openEcho();
  await using forward = await FaultyForward.start({ engine: 'native', to: to(echo) });
  const traceCalls = await forward.trace(
    'trace=socket,connect',
    'inject=socket:error=ENOBUFS:when=1',
    'inject=connect:error=EADDRNOTAVAIL:when=1',
  );
  if (!traceCalls) return t.skip('strace may not attach here');
  assert.equal(await ask(forward.address, 'patience'), 'patience');
  assert.equal(traceCalls().filter((line) => line.includes('INJECTED')).length, 2);
});
