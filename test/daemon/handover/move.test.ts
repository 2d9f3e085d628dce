/** Open connections between two processes of which one is killed or hangs in the middle: none is lost, none is served twice. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { readLines, writeLine } from '../../../src/control/lines.ts';
import { moveIn } from '../../../src/daemon/handover/move-in.ts';
import { moveOut } from '../../../src/daemon/handover/move-out.ts';
import type { MoveChannel } from '../../../src/daemon/handover/messages.ts';
import { openNativeEngine } from '../../../src/engine/native/engine.ts';
import { openListener } from '../../../src/net/open.ts';
import { closeFd } from '../../../src/sys/descriptor.ts';
import { openSocketPair } from '../../../src/sys/socket.ts';
import { openStream, openStreamServer } from '../../engine/soak-streams.ts';
import type { Stream } from '../../engine/soak-streams.ts';
import { Rig, to } from '../../engine/rig.ts';
import { movableTo, newService, silentLog } from './moving.ts';

const options = { timeout: 30_000, skip: process.platform !== 'linux' };
/** More than fit into one batch. */
const count = 140;

class Other implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly socket: number;
  readonly exited: Promise<unknown>;
  readonly #messages: AsyncGenerator<unknown, void, void>;

  constructor(role: 'old' | 'new', target = '') {
    const [socket, theirs] = openSocketPair('seqpacket');
    const run = 'Deno' in globalThis ? ['run', '-A', '--no-check'] : ['--disable-warning=ExperimentalWarning'];
    const script = new URL('../fixtures/mover.ts', import.meta.url).pathname;
    this.child = spawn(process.execPath, [...run, script, role, target], {
      stdio: ['pipe', 'pipe', 'inherit', theirs],
    });
    this.child.stdin!.on('error', () => {}); // it was killed
    this.exited = once(this.child, 'exit');
    this.socket = socket;
    this.#messages = readLines(this.child.stdout!);
    closeFd(theirs);
  }

  readonly say = (message: unknown): void => writeLine(this.child.stdin!, message);
  readonly hear = async (): Promise<Record<string, unknown> | null> =>
    ((await this.#messages.next()).value ?? null) as Record<string, unknown> | null;

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeFd(this.socket);
    await this.kill();
  }
}

async function openStreams(address: { host: string; port: number } | { path: string }): Promise<Stream[]> {
  const streams = await Promise.all(
    Array.from({ length: count }, (_, id) =>
      openStream(address, { id, piece: 1 + (id % 7) * 300, pauseMs: 20 + (id % 20) }),
    ),
  );
  await flowing(streams);
  return streams;
}

/** Resolves when every one of them has received something new. */
async function flowing(streams: readonly Stream[]): Promise<void> {
  await Promise.all(streams.map(({ socket }) => once(socket, 'data')));
}

async function assertWhole(streams: readonly Stream[]): Promise<void> {
  const results = await Promise.all(streams.map((stream) => stream.finish()));
  assert.deepEqual(
    results.map(({ problem }) => problem).filter((problem) => problem !== null),
    [],
  );
}

for (const how of ['is killed', 'hangs'] as const) {
  test(
    `a successor that ${how} while it has connections that were not let go leaves them to the old process`,
    options,
    async () => {
      const server = await openStreamServer();
      const engine = openNativeEngine();
      await using rig = new Rig(() => engine);
      await using successor = new Other('new');
      const target = movableTo(engine, `tcp:127.0.0.1:${'port' in server.address ? server.address.port : 0}`);
      const { upstream } = target.destination;
      const { address, frontend } = await rig.forward({
        to: to(server.address),
        on: await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 500 }, { name: 'test' }),
      });
      frontend.route(upstream);
      const streams = await openStreams(address);
      assert.deepEqual(await successor.hear(), { ready: true });
      let batches = 0;
      // The first batch moves; in the middle of the second it happens.
      const channel: MoveChannel = {
        send(message) {
          if ('batch' in message && ++batches === 2 && how === 'hangs') process.kill(successor.child.pid!, 'SIGSTOP');
          successor.say(message);
        },
        async receive() {
          const answer = await successor.hear();
          if (batches < 2 || how === 'hangs') return answer;
          assert.deepEqual(answer, { received: 2 });
          await successor.kill();
          return null;
        },
      };
      const startMs = performance.now();
      const { moved } = await moveOut(
        { engine, log: silentLog },
        { channel, socket: successor.socket, movable: [target], batchTimeoutMs: 3000 },
      );
      assert.ok(performance.now() - startMs < 10_000);
      assert.ok(moved > 0 && moved < count, `${moved} moved`);
      assert.equal(upstream.stats().connections, count - moved);
      // What the successor has dies with it, or waits until that goes on.
      if (how === 'hangs') {
        process.kill(successor.child.pid!, 'SIGCONT');
        await flowing(streams);
        await assertWhole(streams);
      } else {
        const left = await Promise.all(streams.map(async (stream) => (await stream.finish()).problem));
        assert.equal(left.filter((problem) => problem === null).length, count - moved);
      }
      await upstream.drained();
      await server.close();
    },
  );
}

test(
  'a process that is held up while it tells of a batch takes no answer that the successor has given up on',
  options,
  async () => {
    const server = await openStreamServer();
    const engine = openNativeEngine();
    await using rig = new Rig(() => engine);
    const target = movableTo(engine, `tcp:127.0.0.1:${'port' in server.address ? server.address.port : 0}`);
    const { upstream } = target.destination;
    const { address, frontend } = await rig.forward({
      to: to(server.address),
      on: await openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 500 }, { name: 'test' }),
    });
    frontend.route(upstream);
    const streams = await openStreams(address);
    const [socket, theirs] = openSocketPair('seqpacket');
    const said: string[] = [];
    const channel: MoveChannel = {
      send(message) {
        said.push(Object.keys(message)[0]!);
        // As a process that is stopped right after its write: the answer is there when it goes on.
        if ('batch' in message) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
      },
      receive: async () => ({ received: 1 }),
    };
    assert.equal(
      (await moveOut({ engine, log: silentLog }, { channel, socket, movable: [target], batchTimeoutMs: 200 })).moved,
      0,
    );
    assert.deepEqual(said, ['batch', 'drop']);
    closeFd(theirs); // and with it the copies that lie there
    await flowing(streams);
    await assertWhole(streams);
    closeFd(socket);
    await upstream.drained();
    await server.close();
  },
);

/** An old process with streams to a server, which has begun to pass them on, and what takes them over here. */
async function openOld() {
  await using stack = new AsyncDisposableStack();
  const server = await openStreamServer();
  stack.defer(() => server.close());
  const engine = openNativeEngine();
  stack.defer(() => engine.close());
  const service = newService(engine);
  const predecessor = stack.use(
    new Other('old', `tcp:127.0.0.1:${'port' in server.address ? server.address.port : 0}`),
  );
  const { address } = (await predecessor.hear()) as { address: { host: string; port: number } };
  const streams = await openStreams(address);
  stack.defer(() => streams.forEach((stream) => stream.abandon()));
  predecessor.say('go');
  const all = stack.move();
  return {
    predecessor,
    service,
    streams,
    /** Resolves when all that came here has ended. */
    async drained() {
      for (const upstream of service.upstreams) await upstream.drained();
    },
    [Symbol.asyncDispose]: () => all[Symbol.asyncDispose](),
  };
}

test(
  'what the successor has when the old process is killed goes on there, and only what it did not have is lost',
  options,
  async () => {
    await using old = await openOld();
    const { predecessor, service, streams } = old;
    let received = 0;
    let isDead = false;
    const channel: MoveChannel = {
      send(message) {
        // It never hears that the second batch was received.
        if ('received' in message && ++received === 2) process.kill(predecessor.child.pid!, 'SIGKILL');
        else predecessor.say(message);
      },
      async receive() {
        if (received < 2) return predecessor.hear();
        await predecessor.exited;
        isDead = true;
        return null;
      },
    };
    const { moved: came } = await moveIn(service, { channel, socket: predecessor.socket, isDead: async () => isDead });
    assert.equal(came, count);
    await assertWhole(streams);
    await old.drained();
  },
);

test(
  'connections of an old process that hangs for long, and then goes on, are served by that one alone',
  options,
  async () => {
    await using old = await openOld();
    const { predecessor, service, streams } = old;
    let received = 0;
    const channel: MoveChannel = {
      send(message) {
        if ('received' in message && ++received === 2) process.kill(predecessor.child.pid!, 'SIGSTOP');
        predecessor.say(message);
      },
      receive: predecessor.hear,
    };
    const startMs = performance.now();
    const { moved: came } = await moveIn(service, {
      channel,
      socket: predecessor.socket,
      isDead: async () => false,
      silenceMs: 2000,
    });
    assert.ok(performance.now() - startMs < 20_000);
    assert.ok(came > 0 && came < count, `${came} came`);
    process.kill(predecessor.child.pid!, 'SIGCONT');
    await flowing(streams);
    // It finds the answer, too late, and keeps what the other one has given up. (That it says so is what the last look at the channel took.)
    assert.deepEqual(await predecessor.hear(), { moved: came });
    await assertWhole(streams);
    await predecessor.exited;
    await old.drained();
  },
);

test('a batch is said to be received when the threads have begun with all that came before it', options, async () => {
  await using old = await openOld();
  const { predecessor, service, streams } = old;
  const { engine } = service;
  const said: string[] = [];
  // One that has been asked, and has not answered, is behind with what it was given.
  let adopted = 0;
  let settled = 0;
  const watched = {
    ...service,
    engine: {
      mover: {
        canAdopt: true,
        adopt(...args: Parameters<NonNullable<typeof engine.mover>['adopt']>) {
          adopted++;
          engine.mover!.adopt(...args);
        },
        async settled() {
          const asked = adopted;
          await engine.mover!.settled();
          settled = asked;
        },
      },
    } as unknown as typeof engine,
  };
  const channel: MoveChannel = {
    send(message) {
      if ('received' in message) said.push(`${settled} of ${adopted}`);
      predecessor.say(message);
    },
    receive: predecessor.hear,
  };
  const { moved: came } = await moveIn(watched, { channel, socket: predecessor.socket, isDead: async () => false });
  assert.equal(came, count);
  assert.deepEqual(said, ['0 of 0', '1 of 1']);
  await assertWhole(streams);
  await predecessor.exited;
  await old.drained();
});
