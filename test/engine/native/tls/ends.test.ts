/** The ends of TLS connections, record by record: who has said what before, and what may still come. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import { ALERT, HANDSHAKE } from '../../../../src/engine/native/tls/records.ts';
import { openNativeTls } from '../../native-engine.ts';
import { endingOf, openBackend, readAll, readBytes } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { stalled } from '../../stall.ts';
import { pemFiles, sslFrom } from '../../tls-peers.ts';
import { Passage } from './passage.ts';
import { RawClient } from './raw-client.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const CLOSE_NOTIFY = { type: ALERT, bytes: Buffer.from([1, 0]) };
const versions = ['TLSv1.2', 'TLSv1.3'] as const;
const only = (version: (typeof versions)[number]) => ({ minVersion: version, maxVersion: version });

for (const isMoved of [false, true])
  test(
    `a client may change its keys after our end${isMoved ? ' and a move' : ''}, gets no answer, and all it says arrives`,
    options,
    async () => {
      await using rig = new Rig(openNativeTls);
      await using other = new Rig(openNativeTls);
      using passage = new Passage();
      await using backend = await openBackend();
      const { address, upstream } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
      using client = await RawClient.connect(address);
      const peer = await backend.next();
      peer.end('all that the server has to say');
      assert.equal(await client.ended(), 'end');
      assert.equal(client.plain.toString(), 'all that the server has to say');
      assert.deepEqual(client.received.at(-1), CLOSE_NOTIFY);
      const count = client.received.length;
      const next = other.upstream(upstream.endpoint);
      if (isMoved)
        assert.equal(
          await passage.move([rig.engine as NativeEngine, upstream], [other.engine as NativeEngine, next]),
          1,
        );
      const said = readAll(peer);
      const parts = Array.from({ length: 20 }, (_, index) => `part ${index}, `);
      for (const part of parts)
        client.carrier.write(Buffer.concat([client.keyUpdate({ isAnswerAsked: true }), client.data(part)]));
      client.carrier.end(client.alert(1, 0));
      assert.equal(await said, parts.join(''));
      await (isMoved ? next : upstream).drained();
      assert.equal(client.received.length, count, 'nothing is sent behind a close_notify');
      if (!isMoved) assert.equal((await rig.endedConnections(1))[0]?.error, null);
    },
  );

test(
  'nothing is lost for a client that ended, asks for new keys and goes on talking, and reads late',
  options,
  async () => {
    await using rig = new Rig(openNativeTls);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    for (let round = 0; round < 10; round++) {
      using client = await RawClient.connect(address);
      const peer = await backend.next();
      client.carrier.write(Buffer.concat([client.data('question'), client.keyUpdate({ isAnswerAsked: true })]));
      assert.equal(await readBytes(peer, 8), 'question');
      client.carrier.pause();
      // Its end is no FIN: what it says behind it comes when nobody is there to read it any more.
      client.carrier.write(client.alert(1, 0));
      assert.equal(await readAll(peer), '');
      const answer = randomBytes(3_000_000);
      peer.end(answer);
      client.carrier.write(Buffer.concat(Array.from({ length: 50 }, () => client.keyUpdate({ isAnswerAsked: false }))));
      client.carrier.resume();
      await client.until(({ received }) => received.at(-1)?.type === ALERT);
      client.carrier.write(Buffer.concat(Array.from({ length: 50 }, () => client.data('too late'))));
      assert.equal(await client.ended(), 'end');
      assert.ok(client.plain.equals(answer), `${client.plain.length} of ${answer.length} bytes`);
      assert.deepEqual(client.received.at(-1), CLOSE_NOTIFY);
      assert.equal(client.received.filter(({ type }) => type === HANDSHAKE).length, 1, 'one answer to its request');
      assert.equal((await rig.endedConnections(round + 1))[round]?.error, null);
    }
  },
);

for (const version of versions) {
  test(
    `${version}: an end while the other side takes nothing waits for its turn, and all arrives`,
    options,
    async () => {
      await using rig = new Rig(openNativeTls);
      await using backend = await openBackend();
      const { address, upstream } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
      using client = await RawClient.connect(address, only(version));
      const peer = await backend.next();
      // The server takes nothing of much that the client says before its end.
      const up = Array.from({ length: 600 }, (_, index) => Buffer.alloc(16_000, `${index} `));
      for (const part of up) client.carrier.write(client.data(part));
      client.carrier.write(client.alert(1, 0));
      await stalled(() => upstream.stats().bytesIn);
      // The client takes nothing of as much, and then its end comes.
      client.carrier.pause();
      const down = randomBytes(9_000_000);
      peer.end(down);
      await stalled(() => upstream.stats().bytesOut);
      const received = readAll(peer);
      assert.ok((await received) === Buffer.concat(up).toString('latin1'));
      client.carrier.resume();
      assert.equal(await client.ended(), 'end');
      assert.ok(client.plain.equals(down));
      assert.deepEqual(client.received.at(-1), CLOSE_NOTIFY);
      client.carrier.end();
      assert.equal((await rig.endedConnections(1))[0]?.error, null);
    },
  );

  test(`${version}: user_canceled before close_notify, as Java says it, is no end of its own`, options, async () => {
    await using rig = new Rig(openNativeTls);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    using client = await RawClient.connect(address, only(version));
    const peer = await backend.next();
    client.carrier.write(
      Buffer.concat([client.data('a'), client.alert(1, 90), client.data('b'), client.alert(1, 90), client.alert(1, 0)]),
    );
    assert.equal(await readAll(peer), 'ab');
    peer.end('c');
    assert.equal(await client.ended(), 'end');
    assert.equal(client.plain.toString(), 'c');
    client.carrier.end();
    assert.equal((await rig.endedConnections(1))[0]?.error, null);
  });

  test(`${version}: a fatal alert of a client resets its destination, behind what came before`, options, async () => {
    await using rig = new Rig(openNativeTls);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    using client = await RawClient.connect(address, only(version));
    const peer = await backend.next();
    client.carrier.write(client.data('last words'));
    assert.equal(await readBytes(peer, 10), 'last words');
    client.carrier.write(client.alert(2, 80));
    assert.equal(await endingOf(peer), 'reset');
    assert.match((await rig.endedConnections(1))[0]?.error?.message ?? '', /alert internal_error/);
  });

  /** What a client says before its FIN; what has come of it until then; whether the server has ended before. */
  const states: [what: string, say: (client: RawClient) => Buffer, heard: string, isServerFirst: boolean][] = [
    ['that said nothing', () => Buffer.alloc(0), '', false],
    ['that said something', (client) => client.data('said'), 'said', false],
    [
      'in the header of a record',
      (client) => Buffer.concat([client.data('said'), client.data('x').subarray(0, 3)]),
      'said',
      false,
    ],
    [
      'in the middle of a record',
      (client) => Buffer.concat([client.data('said'), client.data('x').subarray(0, -1)]),
      'said',
      false,
    ],
    ['after our end', (client) => client.data('said'), 'said', true],
    ['after its own close_notify', (client) => Buffer.concat([client.data('said'), client.alert(1, 0)]), 'said', false],
    ['after both', (client) => Buffer.concat([client.data('said'), client.alert(1, 0)]), 'said', true],
  ];
  test(`${version}: a FIN of a client is an end, whatever was said before it`, options, async () => {
    await using rig = new Rig(openNativeTls);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    for (const [index, [what, say, heard, isServerFirst]] of states.entries()) {
      using client = await RawClient.connect(address, only(version));
      const peer = await backend.next();
      if (isServerFirst) {
        peer.end('bye');
        await client.until(({ received }) => received.at(-1)?.type === ALERT);
      }
      const arrived = readAll(peer);
      client.carrier.end(say(client));
      assert.equal(await arrived, heard, what);
      if (!isServerFirst) peer.end('bye');
      assert.equal(await client.ended(), 'end', what);
      assert.equal(client.plain.toString(), 'bye', what);
      assert.deepEqual(client.received.at(-1), CLOSE_NOTIFY, what);
      assert.equal((await rig.endedConnections(index + 1))[index]?.error, null, what);
    }
  });
}

test('a renegotiation of TLS 1.2 is refused on the wire, and bytes go on both ways', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using backend = await openBackend();
  const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
  using client = await RawClient.connect(address, only('TLSv1.2'));
  const peer = await backend.next();
  client.carrier.write(Buffer.concat([client.record(HANDSHAKE, [1, 0, 0, 1, 0]), client.data('still here')]));
  assert.equal(await readBytes(peer, 10), 'still here');
  peer.write('and here');
  await client.until(({ plain }) => plain.length === 8);
  assert.deepEqual(
    client.received.filter(({ type }) => type === ALERT),
    [{ type: ALERT, bytes: Buffer.from([1, 100]) }],
  );
  client.carrier.end(client.alert(1, 0));
  peer.end();
  assert.equal((await rig.endedConnections(1))[0]?.error, null);
});
