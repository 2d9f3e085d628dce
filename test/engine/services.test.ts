import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { encode } from 'dns-packet';
import type { Packet } from 'dns-packet';
import { Names } from '../../src/engine/lookup.ts';
import { Services } from '../../src/engine/services.ts';
import type { RememberedService } from '../../src/engine/service-memory.ts';
import { until } from '../until.ts';
import { openNameServer } from './dns/name-server.ts';

const timeout = 60_000;
const name = '_web._tcp.a.test';
const never = new AbortController().signal;

type Zone = {
  records: { host: string; port: number; ttl: number }[];
  rcode: number;
  /** To questions for IPv6 addresses. */
  ipv6Rcode: number;
  isSilent: boolean;
  /** Questions for SRV records. */
  asked: number;
};

/** A name server, and what it serves at the moment; every host is 127.0.0.1. */
async function openZone(t: TestContext): Promise<{ zone: Zone; endpoint: Parameters<Services['resolve']>[0] }> {
  const zone: Zone = { records: [], rcode: 0, ipv6Rcode: 0, isSilent: false, asked: 0 };
  const server = await openNameServer(t, ({ packet, socket, from }) => {
    const { id, questions } = packet;
    const type = questions?.[0]?.type;
    if (type === 'SRV') zone.asked++;
    if (zone.isSilent) return;
    const answers: Packet['answers'] = [];
    if (type === 'SRV' && zone.rcode === 0)
      for (const { host, port, ttl } of zone.records)
        answers.push({ type, name, ttl, data: { priority: 1, weight: 1, port, target: host } });
    if (type === 'A') answers.push({ type, name: questions![0]!.name, ttl: 600, data: '127.0.0.1' });
    socket.send(
      encode({
        type: 'response',
        id,
        flags: 0x80 | (type === 'AAAA' ? zone.ipv6Rcode : zone.rcode),
        questions,
        answers,
      }),
      from.port,
      from.address,
    );
  });
  return {
    zone,
    endpoint: { name, bindAddress: null, server: [server] },
  };
}

const ports = async (services: Services, endpoint: Parameters<Services['resolve']>[0]) =>
  (await services.resolve(endpoint, never)).targets.map(({ port }) => port);

test('an answer is asked for once, and kept for its time', { timeout }, async (t) => {
  const { zone, endpoint } = await openZone(t);
  zone.records = [{ host: 'h.test', port: 80, ttl: 600 }];
  const services = new Services({ names: new Names() });
  const all = await Promise.all(Array.from({ length: 50 }, () => ports(services, endpoint)));
  assert.deepEqual(all, Array(50).fill([80]));
  zone.records = [];
  assert.deepEqual(await ports(services, { ...endpoint, name: name.toUpperCase() + '.' }), [80]);
  assert.equal(zone.asked, 1);
  const { targets, freshMs } = await services.resolve(endpoint, never);
  assert.deepEqual(targets[0]?.addresses, ['127.0.0.1']);
  assert.ok(freshMs <= 1000 && freshMs > 0);
});

test('a server that knows no IPv6 and refuses to speak of it is good for IPv4', { timeout }, async (t) => {
  const { zone, endpoint } = await openZone(t);
  zone.records = [{ host: 'h.test', port: 80, ttl: 600 }];
  zone.ipv6Rcode = 5;
  const { targets } = await new Services({ names: new Names() }).resolve(endpoint, never);
  assert.deepEqual(targets[0]?.addresses, ['127.0.0.1']);
});

test('an answer of no time is kept for a second, then the new one holds', { timeout }, async (t) => {
  const { zone, endpoint } = await openZone(t);
  zone.records = [{ host: 'h.test', port: 80, ttl: 0 }];
  const services = new Services({ names: new Names() });
  const beganMs = performance.now();
  assert.deepEqual(await ports(services, endpoint), [80]);
  zone.records = [{ host: 'h.test', port: 81, ttl: 0 }];
  await until('the new answer holds', async () => (await ports(services, endpoint))[0] === 81);
  assert.ok(performance.now() - beganMs >= 1000);
  assert.equal(zone.asked, 2);
});

test(
  'while the server is silent or fails the last good answer is used, and it is told once, and when it is over',
  { timeout },
  async (t) => {
    const { zone, endpoint } = await openZone(t);
    zone.records = [{ host: 'h.test', port: 80, ttl: 0 }];
    const told: (string | null)[] = [];
    const services = new Services({
      names: new Names(),
      troubled: (_, why) => told.push(why),
      recovered: () => told.push('recovered'),
    });
    assert.deepEqual(await ports(services, endpoint), [80]);
    zone.isSilent = true;
    const asked = zone.asked;
    await until('it is asked again', async () => (await ports(services, endpoint))[0] === 80 && zone.asked > asked);
    // Nobody waits for an answer that is late already.
    const beganMs = performance.now();
    for (let round = 0; round < 50; round++) assert.deepEqual(await ports(services, endpoint), [80]);
    assert.ok(performance.now() - beganMs < 2000);
    await until('it is told', () => told.length > 0);
    assert.match(told[0]!, /no name server answers for _web\._tcp\.a\.test: .* does not answer/);
    zone.isSilent = false;
    zone.rcode = 2;
    await until('it fails otherwise', () => told.some((why) => /SERVFAIL/.test(why ?? '')));
    zone.rcode = 0;
    zone.records = [{ host: 'h.test', port: 82, ttl: 60 }];
    await until('it is over', () => told.includes('recovered'));
    assert.deepEqual(told.slice(-2), [null, 'recovered']);
    assert.deepEqual(await ports(services, endpoint), [82]);
  },
);

test('a process that begins while the server is silent uses what was written down', { timeout }, async (t) => {
  const { zone, endpoint } = await openZone(t);
  zone.records = [{ host: 'h.test', port: 80, ttl: 60 }];
  let written: readonly RememberedService[] = [];
  const first = new Services({ names: new Names(), changed: (all) => (written = all) });
  await ports(first, endpoint);
  zone.isSilent = true;
  const remembered = JSON.parse(JSON.stringify(written));
  const beganMs = performance.now();
  assert.deepEqual(await ports(new Services({ names: new Names(), remembered }), endpoint), [80]);
  assert.ok(performance.now() - beganMs < 1500); // its clients do not wait for what does not come
});

test('that there is none is an answer, which takes back the one before', { timeout }, async (t) => {
  const { zone, endpoint } = await openZone(t);
  zone.records = [{ host: 'h.test', port: 80, ttl: 0 }];
  const services = new Services({ names: new Names() });
  await ports(services, endpoint);
  zone.rcode = 3;
  const isNowhere = () =>
    ports(services, endpoint).then(
      () => false,
      ({ code }) => code === 'ENOTFOUND',
    );
  await until('it is nowhere', isNowhere);
  const asked = zone.asked;
  assert.ok(await isNowhere());
  assert.equal(zone.asked, asked);
  zone.rcode = 0;
  zone.records = [{ host: '.', port: 0, ttl: 1 }];
  await until('it is not offered', () =>
    ports(services, endpoint).then(
      () => false,
      ({ message }) => /is not offered there/.test(message),
    ),
  );
});

test('without any answer ever each waits for the servers, no longer than its signal', { timeout }, async (t) => {
  const { zone, endpoint } = await openZone(t);
  zone.isSilent = true;
  const services = new Services({ names: new Names() });
  const enough = new AbortController();
  const waiting = services.resolve(endpoint, enough.signal);
  enough.abort(new Error('enough'));
  await assert.rejects(waiting, /enough/);
  await assert.rejects(ports(services, endpoint), ({ code }) => code === 'EAI_AGAIN');
});
