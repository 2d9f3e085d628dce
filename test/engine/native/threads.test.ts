import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs';
import { test } from 'node:test';
import { openNativeEngine } from '../../../src/engine/native/engine.ts';
import { openEngine } from '../../../src/engine/open.ts';
import { openPortableEngine } from '../../../src/engine/portable/engine.ts';
import { closeFd } from '../../../src/sys/descriptor.ts';
import { shutListener } from '../../../src/sys/socket.ts';
import { countCpuMs } from '../../cpu-time.ts';
import { connectTo, endingOf, openBackend, openEcho, readBytes } from '../peers.ts';
import { acceptSuite } from '../accept-suite.ts';
import { FaultyForward, hasStrace } from '../faulty-forward.ts';
import { Rig, to } from '../rig.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' };

test('two threads serve one listener, and what both do is counted', options, async () => {
  await using rig = new Rig(() => openNativeEngine({ threads: 2 }));
  await using echo = await openEcho();
  const { connect, upstream } = await rig.forward({ to: to(echo) });
  const clients = await Promise.all(Array.from({ length: 60 }, () => connect()));
  await Promise.all(
    clients.map(async (client) => {
      client.write('hello');
      assert.equal(await readBytes(client, 5), 'hello');
    }),
  );
  assert.deepEqual(upstream.stats(), { connections: 60, dialing: 0, bytesIn: 300, bytesOut: 300 });
  for (const client of clients) client.end();
  await upstream.drained();
  assert.equal((await rig.endedConnections(60)).length, 60);
});

test('a client does not wake all threads', { ...options, skip: !hasStrace && 'strace is not installed' }, async (t) => {
  await using echo = await openEcho();
  await using forward = await FaultyForward.start({ engine: 'native:8', to: to(echo) });
  const traceCalls = await forward.trace('trace=accept4');
  if (!traceCalls) return t.skip('strace may not attach here');
  const clients = 40;
  for (let count = 0; count < clients; count++) {
    const client = await connectTo(forward.address);
    client.write('x');
    await readBytes(client, 1);
    client.destroy();
  }
  const calls = traceCalls();
  const inVain = calls.filter((line) => line.includes('EAGAIN')).length;
  t.diagnostic(`${calls.length} calls of accept4 for ${clients} clients, ${inVain} in vain`);
  // One looks once more after its client, and a second is woken when the first was not waiting. All would be 7 in vain for each client.
  assert.ok(inVain < 3 * clients, `${inVain} in vain`);
});

test('with two threads maxconn still is a limit for both together', options, async () => {
  await using rig = new Rig(() => openNativeEngine({ threads: 2 }));
  await using echo = await openEcho();
  const { connect, upstream } = await rig.forward({ to: to(echo), from: { maxconn: 2 } });
  const [first, second, third] = [await connect(), await connect(), await connect()];
  for (const client of [first, second, third]) client.write('x');
  assert.deepEqual([await readBytes(first, 1), await readBytes(second, 1)], ['x', 'x']);
  assert.equal(upstream.stats().connections, 2);
  first.end();
  assert.equal(await readBytes(third, 1), 'x');
  assert.equal(upstream.stats().bytesIn, 3);
});

test('a route that only the portable engine can serve is taken by it at once, and given back', options, async () => {
  await using rig = new Rig(() => openNativeEngine({ threads: 2, portable: openPortableEngine() }));
  await using plain = await openBackend();
  const path = rig.path();
  await using locked = await openEcho({ path });
  symlinkSync(`${process.pid}`, `${path}.lock`);
  const { connect, frontend, upstream } = await rig.forward({ to: to(plain) });
  const before = await connect();
  const peer = await plain.next();

  const other = rig.upstream(to(locked, { lockfile: true }));
  frontend.route(other);
  for (let round = 0; round < 5; round++) {
    const client = await connect();
    client.write('locked');
    assert.equal(await readBytes(client, 6), 'locked');
  }
  assert.equal(other.stats().connections, 5);
  assert.equal(upstream.stats().connections, 1);

  frontend.route(upstream);
  const after = await connect();
  after.write('again');
  assert.equal(await readBytes(await plain.next(), 5), 'again');
  before.write('still here');
  assert.equal(await readBytes(peer, 10), 'still here');
});

test('when a thread dies its connections end, and the portable engine accepts from then on', options, async () => {
  const failures: Error[] = [];
  const { engine, reason } = openEngine({ wanted: 'auto', threads: 1, onFailure: (error) => failures.push(error) });
  await using rig = new Rig(() => engine);
  await using echo = await openEcho();
  const { connect, upstream, listener } = await rig.forward({ to: to(echo) });
  const client = await connect();
  client.write('x');
  await readBytes(client, 1);
  assert.equal(rig.engine.name, 'native');

  closeFd(epollThatWatches(listener.inode));
  assert.equal(await endingOf(client), 'reset');
  await upstream.drained();
  assert.match(failures[0]?.message ?? '', /epoll_wait/);
  assert.equal(rig.engine.name, 'portable');
  assert.match(reason(), /^the native one failed: epoll_wait/);
  const next = await connect();
  next.write('on');
  assert.equal(await readBytes(next, 2), 'on');
});

/** The epoll descriptor that the thread waits on: without it the thread can not go on. */
function epollThatWatches(inode: number): number {
  for (const fd of readdirSync('/proc/self/fd').map(Number)) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`) !== 'anon_inode:[eventpoll]') continue;
      const inodes = [...readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8').matchAll(/ino:([0-9a-f]+)/g)].map(
        ([, hex = '']) => parseInt(hex, 16),
      );
      if (inodes.includes(inode)) return fd;
    } catch {
      // closed meanwhile
    }
  }
  throw new Error('no thread watches the listener');
}

if (process.platform === 'linux') acceptSuite(() => openNativeEngine({ threads: 2 }));

test('a listener that another process has shut down is let be, and its connections go on', options, async () => {
  await using rig = new Rig(() => openNativeEngine());
  await using echo = await openEcho();
  const { connect, listener } = await rig.forward({ to: to(echo) });
  const client = await connect();
  client.write('before');
  assert.equal(await readBytes(client, 6), 'before');
  const copy = listener.dup();
  shutListener(copy);
  closeFd(copy);
  const cpuMs = countCpuMs();
  await new Promise((resolve) => setTimeout(resolve, 400)); // what it takes in a time is what is tested
  const tookMs = cpuMs();
  assert.ok(tookMs < 200, `${tookMs} ms of 400`);
  client.write('after');
  assert.equal(await readBytes(client, 5), 'after');
});

test('threads have settled when they have done what they were told before', options, async () => {
  const engine = openNativeEngine({ threads: 2 });
  await using rig = new Rig(() => engine);
  await using echo = await openEcho();
  const { connect, upstream } = await rig.forward({ to: to(echo) });
  const client = await connect();
  client.write('x');
  await readBytes(client, 1);
  const order: string[] = [];
  const listed = engine.connections([upstream]).then((connections) => order.push(`${connections.length} listed`));
  const settled = engine.settled().then(() => order.push('settled'));
  await Promise.all([listed, settled]);
  assert.deepEqual(order, ['1 listed', 'settled']);
});
