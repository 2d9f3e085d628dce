/** Each kind of a handshake's last flight, with what is said first in the same segment, the next, or anywhere between: every byte arrives, and once. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import tls from 'node:tls';
import type { ConnectionOptions, TlsOptions } from 'node:tls';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import { Hold } from '../../../../src/engine/hold.ts';
import type { Upstream } from '../../../../src/engine/engine.ts';
import type { ClientEndpoint, SslClient, SslServer } from '../../../../src/endpoint/model.ts';
import { until } from '../../../until.ts';
import { openNativeTls } from '../../native-engine.ts';
import { openBackend, readAll, readBytes } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { openTlsBackend, pemFiles, read, sslFrom, sslTo } from '../../tls-peers.ts';
import { openSlowWay, poise, sendCut } from './flights.ts';
import { Passage } from './passage.ts';

const options = { timeout: 120_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const SIZE = 3000;

/** Where the bytes are cut, by where the data begins and where it ends. */
const places: readonly [string, (boundary: number) => number[]][] = [
  ['with it', () => []],
  ['in the next segment', (boundary) => [boundary]],
  ['its first byte with it', (boundary) => [boundary + 1]],
  ['its header with it', (boundary) => [boundary + 5]],
  ['half of it with it', (boundary) => [boundary + SIZE / 2]],
  ['with its last byte', (boundary) => [boundary - 1]],
  ['in many pieces', (boundary) => [1, 5, boundary - 20, boundary - 1, boundary + 3, boundary + SIZE]],
];

type Kind = {
  name: string;
  /** Number of the flight among the client's. */
  flight: number;
  /** The server finishes last, and a client has to wait for that. */
  isServerLast: boolean;
  isResumed: boolean;
  client: () => ConnectionOptions;
  from: () => Partial<SslServer>;
};

const only12 = { maxVersion: 'TLSv1.2' } as const;
const certified = () => ({ key: read(pem().key), cert: read(pem().fullChain) });
const full = { flight: 2, isServerLast: false, isResumed: false, client: () => ({}), from: () => ({}) };
const asked = { from: () => ({ clientCA: pem().root, clientAuth: 'required' }) as const };

const kinds: readonly Kind[] = [
  { ...full, name: 'TLS 1.3' },
  { ...full, name: 'TLS 1.3, resumed', isResumed: true },
  { ...full, ...asked, name: 'TLS 1.3, with a client certificate', client: certified },
  {
    ...full,
    name: 'TLS 1.3, with a HelloRetryRequest',
    flight: 3,
    client: () => ({ ecdhCurve: 'X25519:P-384' }),
    from: () => ({ groups: ['P-384'] }),
  },
  { ...full, name: 'TLS 1.2', isServerLast: true, client: () => only12 },
  { ...full, name: 'TLS 1.2, resumed', isResumed: true, client: () => only12 },
  {
    ...full,
    ...asked,
    name: 'TLS 1.2, with a client certificate',
    isServerLast: true,
    client: () => ({ ...only12, ...certified() }),
  },
];

type Place = readonly [NativeEngine, Upstream];

/** Two engines, and a source of the first that the second can go on for. */
class Scene implements AsyncDisposable {
  readonly here = new Rig(openNativeTls);
  readonly there = new Rig(openNativeTls);
  readonly hold = new Hold<Upstream>();
  readonly #passage = new Passage();

  async forward(endpoint: ClientEndpoint, from: Partial<SslServer> = {}) {
    const { address, connect, upstream } = await this.here.forward({ to: endpoint, from, hold: this.hold });
    const next = this.there.upstream(upstream.endpoint);
    const places: [Place, Place] = [
      [this.here.engine as NativeEngine, upstream],
      [this.there.engine as NativeEngine, next],
    ];
    return {
      address,
      connect,
      move: () => until('it has moved', async () => (await this.#passage.move(...places)) === 1),
      drained: () => Promise.all([upstream.drained(), next.drained()]),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#passage[Symbol.dispose]();
    await this.there[Symbol.asyncDispose]();
    await this.here[Symbol.asyncDispose]();
  }
}

/** The connection that bytes come from; one that was dialled by who gave it up has none of them. */
async function heardBy<Peer extends Socket>(
  backend: { next(): Promise<Peer> },
  size: number,
  greet: (peer: Peer) => void = () => {},
): Promise<[Peer, Buffer]> {
  for (;;) {
    const peer = await backend.next();
    greet(peer);
    const ended = new Promise<null>((resolve) =>
      peer.once('end', () => resolve(null)).once('close', () => resolve(null)),
    );
    const heard = await Promise.race([readBytes(peer, size).catch(() => null), ended]);
    if (heard !== null) return [peer, Buffer.from(heard, 'latin1')];
    assert.equal(peer.read(), null);
    peer.destroy();
  }
}

/** Ends of both, after which there is nothing that was said twice. */
async function finish(client: Socket, peer: Socket, place: string): Promise<void> {
  const rest = readAll(peer);
  client.end('the end');
  assert.equal(await rest, 'the end', place);
  const answer = readAll(client);
  peer.end('heard');
  assert.equal(await answer, 'heard', place);
}

/** Held or not, and moved to another process or not, each with each place. */
const ways = [false, true].flatMap((isHeld) =>
  [false, true].flatMap((isMoved) =>
    places.map(([place, cuts]) => {
      const what = `${isHeld ? 'held' : 'not held'}, ${isMoved ? 'moved at once, ' : ''}${place}`;
      return { isHeld, isMoved, what, cuts };
    }),
  ),
);

for (const { name, flight, isServerLast, isResumed, client: extras, from } of kinds)
  test(`${name}: what a client says first behind its last flight arrives, and once`, options, async () => {
    await using scene = new Scene();
    await using backend = await openBackend();
    const { hold } = scene;
    const { address, move, drained } = await scene.forward(to(backend), sslFrom(pem(), from()));
    let session: Buffer | undefined;
    if (isResumed) {
      const named = { servername: 'www.example.com', rejectUnauthorized: false };
      const client = tls.connect({ ...address, ...named, ...extras() });
      [session] = (await once(client, 'session')) as [Buffer];
      (await backend.next()).end();
      client.destroy();
      await drained();
    }
    for (const { isHeld, isMoved, what, cuts: cutsOf } of ways) {
      const first = randomBytes(SIZE);
      if (isHeld) hold.begin({ limit: 10 });
      const { client, carrier, bytes, boundary, release } = await poise(address, {
        flight,
        first: isServerLast ? null : first,
        ...extras(),
        ...(session && { session }),
      });
      assert.equal(client.isSessionReused(), isResumed, what);
      await sendCut(carrier, bytes, cutsOf(boundary), (sent) =>
        isHeld && sent >= boundary ? hold.waiting === 1 : null,
      );
      release();
      if (isServerLast) client.write(first);
      if (isHeld) {
        await until('it waits', () => hold.waiting === 1);
        assert.equal(hold.end(), 1);
      }
      if (isMoved) await move();
      const [peer, heard] = await heardBy(backend, SIZE);
      assert.ok(heard.equals(first), what);
      await finish(client, peer, what);
      await drained();
    }
  });

const destinations: readonly {
  name: string;
  flight: number;
  server: () => TlsOptions;
  to: () => Partial<SslClient>;
}[] = (
  [
    ['TLSv1.3', 3],
    ['TLSv1.2', 2],
  ] as const
).flatMap(([version, last]) => {
  const flight = version === 'TLSv1.3' ? 2 : last;
  const server = () => ({ ...certified(), minVersion: version, maxVersion: version });
  const plain = { name: version, flight, server, to: () => ({}) };
  return [
    plain,
    {
      ...plain,
      name: `${version}, with a client certificate`,
      server: () => ({ ...server(), requestCert: true, rejectUnauthorized: true, ca: read(pem().root) }),
      to: () => ({ privateKey: pem().key, certKey: pem().fullChain }),
    },
    ...(version === 'TLSv1.3'
      ? [
          {
            ...plain,
            name: `${version}, with a HelloRetryRequest`,
            flight: last,
            server: () => ({ ...server(), ecdhCurve: 'P-384' }),
          },
        ]
      : []),
  ];
});

for (const { name, flight, server, to: extras } of destinations)
  for (const isResumed of name.includes('with a') ? [false] : [false, true])
    test(
      `a destination with ${name}${isResumed ? ', resumed' : ''}: what it says first behind its last flight arrives, and once`,
      options,
      async (t) => {
        await using scene = new Scene();
        await using stack = new AsyncDisposableStack();
        await using backend = await openTlsBackend(server());
        const { hold } = scene;
        let cutsNow: (boundary: number) => readonly number[] = () => [];
        const forward = async () => {
          const cuts = (boundary: number) => cutsNow(boundary);
          const way = stack.use(await openSlowWay(backend.port, { flight, size: SIZE, cuts }));
          return scene.forward(sslTo(way.port, pem(), extras()));
        };
        // Sessions are of one upstream.
        let forwarded = await forward();
        let resumed = 0;
        for (const { isHeld, isMoved, what, cuts } of ways) {
          const first = randomBytes(SIZE);
          cutsNow = cuts;
          if (!isResumed) forwarded = await forward();
          const { connect, move, drained } = forwarded;
          if (isHeld) hold.begin({ limit: 10 });
          const client = await connect();
          client.write('question');
          if (isHeld) {
            await until('it waits', () => hold.waiting === 1);
            assert.equal(hold.end(), 1);
          }
          const hearing = heardBy(backend, 8, (peer) => void peer.write(first));
          if (isMoved) await move();
          assert.ok(Buffer.from(await readBytes(client, SIZE), 'latin1').equals(first), what);
          const [peer, heard] = await hearing;
          assert.equal(heard.toString(), 'question', what);
          if (peer.isSessionReused()) resumed++;
          await finish(client, peer, what);
          await drained();
        }
        t.diagnostic(`${resumed} of ${ways.length} were resumed`);
        assert.ok(isResumed ? resumed >= places.length - 1 : resumed === 0, `${resumed} were resumed`);
      },
    );
