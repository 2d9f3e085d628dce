import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ConnectionEnd, Upstream } from '../../src/engine/engine.ts';
import { openFullBackend } from './full-backend.ts';
import { countEnds, tallyFields } from '../../src/engine/tally.ts';
import { seededRandom } from '../random.ts';
import type { Random } from '../random.ts';
import { until } from '../until.ts';
import { closed, openBackend, reset } from './peers.ts';
import type { Backend } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { connectTls, pemFiles, read, resetTls, sslFrom } from './tls-peers.ts';

const steps = 250;

export function countSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();

  for (const on of ['tcp', 'tls'] as const)
    test(
      `whoever asks for it hears of every end of an upstream's connections, until asking no more (${on})`,
      { timeout: 20_000 },
      async () => {
        await using rig = new Rig(openEngine);
        await using backend = await openBackend();
        const forward = await rig.forward({
          to: to(backend),
          ...(on === 'tls' && { from: sslFrom(pem()) }),
          observer: { wantsOrderlyEnds: false },
        });
        const ends: ConnectionEnd[] = [];
        const endHearing = forward.upstream.onEnd((end) => void ends.push(end));
        const exchange = async (text: string) => {
          const client =
            on === 'tls' ? await connectTls(forward.address, { ca: read(pem().root) }) : await forward.connect();
          const socket = await backend.next();
          client.end(text);
          socket.end('answer');
          socket.resume();
          await closed(client.resume());
        };
        await exchange('hello');
        await until(
          () => `${ends.length} ends are heard of`,
          () => ends.length === 1,
        );
        const [{ stage, error, bytesIn, bytesOut, upstream } = assert.fail()] = ends;
        assert.deepEqual([stage, error, bytesIn, bytesOut], ['relay', null, 5, 6]);
        assert.equal(upstream, forward.upstream);
        endHearing();
        await exchange('again');
        await forward.upstream.drained();
        assert.equal(ends.length, 1);
      },
    );

  for (const seed of [1, 2, Date.now() % 1_000_000]) {
    test(
      `whatever clients and upstreams do, every connection is counted until it has ended (seed ${seed})`,
      { timeout: 60_000 },
      async () => {
        pem();
        const before = descriptors();
        {
          const random = seededRandom(seed);
          await using rig = new Rig(openEngine, { lookMs: 10 });
          await using tcp = await openBackend();
          await using unix = await openBackend({ path: rig.path() });
          using full = await openFullBackend();
          for (const backend of [tcp, unix]) void misbehave(backend, random);
          const refusing = { path: rig.path() };
          const targets = [
            to(tcp),
            to(tcp),
            to(unix),
            to(refusing),
            to(refusing, { retry: 100 }),
            to(full.address, { timeout: 0.1 }),
          ];
          const upstreams = targets.map((target) => rig.upstream(target));
          const [first = to(tcp)] = targets;
          const plain = await rig.forward({ to: first });
          const local = await rig.forward({ to: first, on: 'unix' });
          const secure = await rig.forward({ to: first, from: sslFrom(pem()) });
          const forwards = [plain, local, secure];
          const clients: Socket[] = [];
          const pending: Promise<unknown>[] = [];

          const connect = async () => {
            const forward = random.pick(forwards);
            const client =
              forward === secure && random.chance(0.7)
                ? await connectTls(secure.address, { ca: read(pem().root) }).catch(() => null)
                : await forward.connect();
            if (client === null) return;
            client.resume();
            clients.push(client);
          };
          for (let step = 0; step < steps; step++) {
            const client = clients[random.below(clients.length)];
            switch (
              random.pick([
                'connect',
                'connect',
                'connect',
                'write',
                'end',
                'reset',
                'destroy',
                'route',
                'wait',
                'kill',
              ] as const)
            ) {
              case 'connect':
                pending.push(connect());
                break;
              case 'write':
                client?.write(Buffer.alloc(random.below(200_000), 'w'));
                break;
              case 'end':
                client?.end();
                break;
              case 'reset':
                if (client) leave(client);
                break;
              case 'destroy':
                client?.destroy();
                break;
              case 'route':
                random.pick(forwards).frontend.route(random.pick(upstreams));
                break;
              case 'wait':
                await new Promise((resolve) => setImmediate(resolve));
                break;
              case 'kill':
                if (random.chance(0.1)) random.pick(upstreams).destroy();
                break;
            }
            for (const upstream of upstreams) assertSane(upstream);
          }
          await Promise.all(pending);
          for (const client of clients) client.destroy();
          await Promise.all(clients.map(closed));
          // Those that still waited in a queue are accepted, if only to find that they have gone.
          await until(
            () => `${rig.ends.length} ends of ${clients.length} clients`,
            () => rig.ends.length >= clients.length,
            { limitMs: 40_000 },
          );
          const all = [...upstreams, ...forwards.map(({ upstream }) => upstream)];
          await Promise.all(all.map((upstream) => upstream.drained()));
          for (const upstream of all)
            assert.deepEqual(
              { ...upstream.stats(), bytesIn: 0, bytesOut: 0 },
              { connections: 0, dialing: 0, bytesIn: 0, bytesOut: 0 },
            );
          for (const upstream of all)
            assert.equal(countEnds(upstream.tally()), upstream.tally()[tallyFields.indexOf('accepted')]);
          const moved = (name: 'bytesIn' | 'bytesOut') =>
            all.reduce((sum, upstream) => sum + upstream.stats()[name], 0);
          const ended = (name: 'bytesIn' | 'bytesOut') => rig.ends.reduce((sum, end) => sum + end[name], 0);
          const sums = () => [ended('bytesIn'), ended('bytesOut'), moved('bytesIn'), moved('bytesOut')];
          // A thread tells of an end after it has counted it.
          await until(
            () => `of the ended and of all: ${sums().join(', ')} bytes`,
            () => ended('bytesIn') === moved('bytesIn') && ended('bytesOut') === moved('bytesOut'),
            { limitMs: 40_000 },
          );
        }
        await sameDescriptors(before);
      },
    );
  }
}

function assertSane(upstream: Upstream): void {
  const { connections, dialing } = upstream.stats();
  assert.ok(dialing >= 0 && dialing <= connections, `${dialing} of ${connections}`);
}

/** Serve each connection in one way of several. */
async function misbehave(backend: Backend, random: Random): Promise<void> {
  for (;;) {
    const socket = await backend.next();
    switch (random.pick(['echo', 'echo', 'end', 'reset', 'sink', 'answer'] as const)) {
      case 'echo':
        socket.pipe(socket);
        break;
      case 'end':
        socket.end();
        socket.resume();
        break;
      case 'reset':
        reset(socket);
        break;
      case 'sink':
        socket.resume().once('end', () => socket.end());
        break;
      case 'answer':
        socket.end(Buffer.alloc(100_000, 'a'));
        socket.resume();
        break;
    }
  }
}

/** With a reset, whatever the client is. */
function leave(client: Socket): void {
  if (client instanceof TLSSocket) resetTls(client);
  else reset(client);
}

/** The descriptors of this process and what they are, sorted. */
function descriptors(): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc/self/fd')
    .flatMap((fd) => {
      try {
        const target = readlinkSync(`/proc/self/fd/${fd}`);
        // Of a socket, the number says which it is.
        return target.startsWith('socket:') ? [`socket ${target}`] : [];
      } catch {
        return [];
      }
    })
    .sort();
}

/** Resolves when the process has no socket that it did not have before. */
async function sameDescriptors(before: readonly string[]): Promise<void> {
  const left = () => descriptors().filter((each) => !before.includes(each));
  await until(
    () => `${left().join(', ')} are left`,
    () => left().length === 0,
    { limitMs: 20_000 },
  );
}
