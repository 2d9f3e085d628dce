/** What happens when a thread of the native engine dies or hangs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { openNativeEngine } from '../../../src/engine/native/engine.ts';
import type { NativeEngine, NativeEngineOptions } from '../../../src/engine/native/engine.ts';
import { receiveBatch, sendBatch } from '../../../src/engine/transfer.ts';
import { closeFd } from '../../../src/sys/descriptor.ts';
import { openSocketPair } from '../../../src/sys/socket.ts';
import { descriptorsAsBefore, openDescriptors } from '../descriptors.ts';
import { blockMs, IllThreads } from '../ill-threads.ts';
import type { Illness } from '../ill-threads.ts';
import { endingOf, openBackend, openEcho, readBytes } from '../peers.ts';
import { Rig, to } from '../rig.ts';
import { openStream, openStreamServer } from '../soak-streams.ts';
import { stalled } from '../stall.ts';

const isDeno = 'Deno' in globalThis;
const options = { timeout: 120_000, skip: process.platform !== 'linux' };

type Patient = { rig: Rig; engine: NativeEngine; ill: IllThreads; failure: Promise<Error> };

function openPatient(more: NativeEngineOptions = {}): Patient {
  const ill = new IllThreads();
  const { promise: failure, resolve } = Promise.withResolvers<Error>();
  const engine = openNativeEngine({ startWorker: ill.startWorker, onFailure: resolve, stopTimeoutMs: 200, ...more });
  return { rig: new Rig(() => engine), engine, ill, failure };
}

const deaths: { how: Illness | 'is terminated'; says: RegExp; onDeno?: false }[] = [
  { how: 'throws', says: /a mistake of the thread/ },
  { how: 'is terminated', says: /thread 0 ended with code/ },
  // Deno ends the whole process in these two cases.
  { how: 'ends by itself', says: /thread 0 ended with code 7/, onDeno: false },
  { how: 'runs out of memory', says: /memory/, onDeno: false },
];

for (const { how, says, onDeno } of deaths) {
  test(
    `when a thread ${how} its connections end, nothing of it stays open, and the portable engine goes on`,
    { ...options, skip: options.skip || (isDeno && onDeno === false) },
    async () => {
      const before = openDescriptors();
      {
        const { rig, engine, ill, failure } = openPatient();
        await using _rig = rig;
        await using echo = await openEcho();
        await using backend = await openBackend();
        const { connect, upstream } = await rig.forward({ to: to(echo) });
        const bulk = await rig.forward({ to: to(backend) });
        const quiet = await connect();
        quiet.write('x');
        await readBytes(quiet, 1);
        // Pipes full of bytes that nobody takes.
        const stuck = await bulk.connect();
        stuck.pause();
        (await backend.next()).end(Buffer.alloc(20_000_000));
        await stalled(() => bulk.upstream.stats().bytesOut);
        assert.ok((openDescriptors()['pipe'] ?? 0) >= (before['pipe'] ?? 0) + 2);

        if (how === 'is terminated') ill.terminate(0);
        else ill.fallIll(0, how);
        assert.match((await failure).message, says);
        assert.deepEqual([await endingOf(quiet), await endingOf(stuck)], ['reset', 'reset']);
        await Promise.all([upstream.drained(), bulk.upstream.drained()]);
        assert.equal(engine.name, 'portable');
        const next = await connect();
        next.write('on');
        assert.equal(await readBytes(next, 2), 'on');
      }
      await descriptorsAsBefore(before);
    },
  );
}

test('a client that waits in the queue while a thread dies is served by the portable engine', options, async () => {
  const { rig, ill, failure } = openPatient();
  await using _rig = rig;
  await using echo = await openEcho();
  const { connect } = await rig.forward({ to: to(echo) });
  ill.fallIll(0, 'loops');
  // The first one wakes the thread.
  const clients = [await connect(), await connect(), await connect()];
  await ill.isIll(0);
  for (const client of clients) client.write('x');
  ill.terminate(0);
  await failure;
  for (const client of clients) assert.equal(await readBytes(client, 1), 'x');
});

test('when one of two threads dies the connections of the other go on', options, async () => {
  const { rig, ill, failure } = openPatient({ threads: 2 });
  await using _rig = rig;
  await using echo = await openEcho();
  const { connect, upstream } = await rig.forward({ to: to(echo) });
  const clients = await Promise.all(Array.from({ length: 60 }, () => connect()));
  await Promise.all(
    clients.map((client) => {
      client.write('a');
      return readBytes(client, 1);
    }),
  );
  ill.terminate(1);
  await failure;
  for (const client of clients) client.write('b');
  const answers = await Promise.all(clients.map((client) => readBytes(client, 1).catch(() => null)));
  const left = answers.filter((answer) => answer === 'b').length;
  assert.equal(upstream.stats().connections, left);
  const next = await connect();
  next.write('c');
  assert.equal(await readBytes(next, 1), 'c');
});

for (const how of ['loops', 'blocks in a system call'] as const) {
  test(`a thread that ${how} is taken for dead once it is wanted, and nothing waits for it`, options, async () => {
    const { rig, engine, ill, failure } = openPatient({ answerTimeoutMs: 50 });
    await using _rig = rig;
    await using echo = await openEcho();
    const { connect, frontend, upstream } = await rig.forward({ to: to(echo) });
    const client = await connect();
    client.write('x');
    await readBytes(client, 1);
    ill.fallIll(0, how);
    client.write('y');
    await ill.isIll(0);
    assert.deepEqual(await engine.mover.freeze(upstream, 10), []);
    assert.match((await failure).message, /thread 0 does not answer/);
    assert.equal(await endingOf(client), 'reset');
    await frontend.stop();
    await upstream.drained();
  });
}

test("connections that were frozen when their thread died are the other process's still", options, async () => {
  const { rig, engine, ill, failure } = openPatient();
  await using _rig = rig;
  const server = await openStreamServer();
  const { upstream, address } = await rig.forward({ to: to(server.address) });
  const streams = await Promise.all(Array.from({ length: 12 }, (_, id) => openStream(address, { id, piece: 2000 })));
  await Promise.all(streams.map(({ socket }) => once(socket, 'data')));
  const frozen = await engine.mover.freeze(upstream, 8);
  assert.equal(frozen.length, 8);
  ill.terminate(0);
  await failure;
  await upstream.drained();

  const pair = openSocketPair('seqpacket');
  sendBatch(pair[0], 1, frozen);
  const received = receiveBatch(pair[1], 1);
  engine.mover.release(frozen);
  const successor = openNativeEngine();
  const own = successor.openUpstream(upstream.endpoint);
  successor.mover.adopt(received, { upstream: own, frontend: null, observer: {}, idleMs: null });
  const results = await Promise.all(streams.map((stream) => stream.finish()));
  assert.equal(results.filter(({ problem }) => problem === null).length, 8);
  await own.drained();
  await successor.close();
  for (const fd of pair) closeFd(fd);
  await server.close();
});

test('frozen connections that come back to a thread that died are reset', options, async () => {
  const { rig, engine, ill, failure } = openPatient();
  await using _rig = rig;
  await using echo = await openEcho();
  const { connect, upstream } = await rig.forward({ to: to(echo) });
  const client = await connect();
  client.write('x');
  await readBytes(client, 1);
  const frozen = await engine.mover.freeze(upstream, 8);
  ill.terminate(0);
  await failure;
  engine.mover.thaw(frozen);
  assert.equal(await endingOf(client), 'reset');
});

test('connections on their way to a thread that dies before it has them are closed', options, async () => {
  const before = openDescriptors();
  {
    const { rig, engine, ill, failure } = openPatient();
    await using _rig = rig;
    const source = openNativeEngine();
    await using sourceRig = new Rig(() => source);
    await using echo = await openEcho();
    const { connect, upstream } = await sourceRig.forward({ to: to(echo) });
    const client = await connect();
    client.write('x');
    await readBytes(client, 1);
    const frozen = await source.mover.freeze(upstream, 8);
    const pair = openSocketPair('seqpacket');
    sendBatch(pair[0], 1, frozen);
    const received = receiveBatch(pair[1], 1);
    source.mover.release(frozen);
    for (const fd of pair) closeFd(fd);
    ill.fallIll(0, 'loops');
    const own = rig.upstream(upstream.endpoint);
    await ill.isIll(0);
    engine.mover.adopt(received, { upstream: own, frontend: null, observer: {}, idleMs: null });
    assert.equal(own.stats().connections, 1);
    ill.terminate(0);
    await failure;
    await own.drained();
    assert.equal(await endingOf(client), 'reset');
  }
  await descriptorsAsBefore(before);
});

for (const state of ['healthy', 'blocks in a system call'] as const) {
  test(
    `a process whose thread ${state === 'healthy' ? 'waits for events' : state} ends when it is told to, with its code`,
    options,
    async (t) => {
      const run = isDeno ? ['run', '-A', '--no-check'] : ['--disable-warning=ExperimentalWarning'];
      const script = new URL('../fixtures/exit-with-thread.ts', import.meta.url).pathname;
      const child = spawn(process.execPath, [...run, script, state], { stdio: ['pipe', 'pipe', 'inherit'] });
      const exited = once(child, 'exit');
      await once(createInterface({ input: child.stdout }), 'line');
      const start = performance.now();
      child.stdin.end();
      assert.deepEqual(await exited, [3, null]);
      const took = performance.now() - start;
      t.diagnostic(`${Math.round(took)} ms`);
      assert.ok(took < blockMs / 2, `${took} ms`);
    },
  );
}

test(
  'whoever waits for the threads to settle waits for one that has ended not at all, and for one that hangs not for long',
  options,
  async () => {
    const { rig, engine, ill } = openPatient({ threads: 2 });
    await using _rig = rig;
    await engine.settled();
    ill.fallIll(0, 'throws');
    ill.fallIll(1, 'blocks in a system call');
    const startMs = performance.now();
    const settled = engine.settled();
    await ill.isIll(1);
    await settled;
    assert.ok(performance.now() - startMs < blockMs / 2);
  },
);

test(
  'connections that are adopted do not wait for handshakes',
  { ...options, skip: options.skip || (isDeno && 'Deno has no OpenSSL that can be called') },
  async () => {
    const { rig, engine, ill } = openPatient({ tls: true });
    await using _rig = rig;
    assert.ok(engine.speaksTls);
    await engine.settled();
    ill.fallIll(1, 'blocks in a system call');
    void engine.settled(); // wakes it, and may still be answered
    await ill.isIll(1);
    const order: string[] = [];
    const all = engine.settled().then(() => order.push('the threads of handshakes too'));
    await Promise.all([all, engine.mover.settled().then(() => order.push('those of bytes'))]);
    assert.deepEqual(order, ['those of bytes', 'the threads of handshakes too']);
  },
);
