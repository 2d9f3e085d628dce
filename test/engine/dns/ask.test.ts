import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { decode, encode, TRUNCATED_RESPONSE } from 'dns-packet';
import type { Packet } from 'dns-packet';
import { askServers } from '../../../src/engine/dns/ask.ts';
import { ownLoopback } from '../../e2e/grace.ts';
import { openNameServer } from './name-server.ts';

const timeout = 60_000;
const name = '_web._tcp.a.test';
const answers: Packet['answers'] = [
  { type: 'SRV', name, ttl: 60, data: { priority: 1, weight: 1, port: 80, target: 'a.test' } },
];

const answer = ({ id, questions }: Packet, more: Packet = {}) =>
  encode({ type: 'response', id, flags: 0x80, questions, ...more });
const never = new AbortController().signal;

test('each question has a number and a port of its own', { timeout }, async (t) => {
  const seen: string[] = [];
  const server = await openNameServer(t, ({ packet, socket, from }) => {
    seen.push(`${packet.id}`, `port ${from.port}`);
    socket.send(answer(packet, { answers }), from.port, from.address);
  });
  for (let round = 0; round < 5; round++) {
    const { services } = await askServers(name, 'SRV', { servers: [server], signal: never });
    assert.deepEqual(services, [{ priority: 1, weight: 1, port: 80, host: 'a.test' }]);
  }
  assert.ok(new Set(seen).size >= 9, seen.join()); // of five numbers two may be the same by chance
});

test('what others send, and what is no answer, is not heard', { timeout }, async (t) => {
  const forged = [
    { ...answers[0]!, data: { priority: 0, weight: 1, port: 666, target: 'evil.test' } },
  ] as Packet['answers'];
  const other = createSocket('udp4').bind(0, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const server = await openNameServer(t, ({ packet, socket, from }) => {
    const send = (bytes: Uint8Array) => socket.send(bytes, from.port, from.address);
    send(answer({ ...packet, id: packet.id! ^ 1 }, { answers: forged! }));
    send(answer({ ...packet, questions: [{ type: 'SRV', name: 'b.test' }] }, { answers: forged! }));
    send(Buffer.from('not DNS at all'));
    other.send(answer(packet, { answers: forged! }), from.port, from.address, () => send(answer(packet, { answers })));
  });
  const { services } = await askServers(name, 'SRV', { servers: [server], signal: never });
  assert.equal(services[0]?.port, 80);
});

test('an answer that is too long for a datagram is asked for over TCP', { timeout }, async (t) => {
  // The same port of TCP is to be free too, whatever other tests do.
  const udp = await openNameServer(
    t,
    ({ packet, socket, from }) =>
      socket.send(answer(packet, { flags: 0x80 | TRUNCATED_RESPONSE }), from.port, from.address),
    ownLoopback,
  );
  const many = Array.from({ length: 100 }, (_, at) => ({
    ...answers[0]!,
    data: { priority: at, weight: 1, port: 80, target: `host-${at}.a.test` },
  })) as NonNullable<Packet['answers']>;
  const tcp = createServer((socket) => {
    socket.once('data', (bytes) => {
      const packet = answer(decode(Buffer.from(bytes).subarray(2)), { answers: many });
      const length = Buffer.alloc(2);
      length.writeUInt16BE(packet.length);
      socket.write(length.subarray(0, 1));
      setImmediate(() => socket.write(Buffer.concat([length.subarray(1), packet])));
    });
    socket.on('error', () => {});
  }).listen(udp.port, udp.host);
  await once(tcp, 'listening');
  t.after(() => void tcp.close());
  const { services } = await askServers(name, 'SRV', { servers: [udp], signal: never });
  assert.equal(services.length, 100);
  assert.equal((tcp.address() as AddressInfo).port, udp.port);
});

test(
  'the next server is asked where one fails or says nothing, and none is an error that names each',
  { timeout },
  async (t) => {
    const failing = await openNameServer(t, ({ packet, socket, from }) =>
      socket.send(answer(packet, { flags: 0x82 }), from.port, from.address),
    );
    const silent = await openNameServer(t, () => {});
    const good = await openNameServer(t, ({ packet, socket, from }) =>
      socket.send(answer(packet, { answers }), from.port, from.address),
    );
    const { services } = await askServers(name, 'SRV', { servers: [failing, silent, good], signal: never });
    assert.equal(services.length, 1);
    await assert.rejects(
      askServers(name, 'SRV', { servers: [failing, silent], signal: never }),
      ({ message, code }: Error & { code?: string }) =>
        code === 'EAI_AGAIN' &&
        message ===
          `no name server answers for ${name}: 127.0.0.1:${failing.port} answers SERVFAIL; 127.0.0.1:${silent.port} does not answer`,
    );
    const enough = new AbortController();
    const asking = askServers(name, 'SRV', { servers: [silent], signal: enough.signal });
    enough.abort(new Error('enough'));
    await assert.rejects(asking, /enough/);
  },
);

test('a server that floods is left', { timeout }, async (t) => {
  const flooding = await openNameServer(t, ({ socket, from }) => {
    for (let sent = 0; sent < 300; sent++) socket.send(Buffer.alloc(512), from.port, from.address);
  });
  await assert.rejects(
    askServers(name, 'SRV', { servers: [flooding], signal: never }),
    /cannot be asked|does not answer/,
  );
});
