import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openFullBackend } from '../engine/full-backend.ts';
import { until } from '../until.ts';
import { openClient } from './backend.ts';
import { isDnsMissing, openDnsServer } from './dns-server.ts';
import { makeGrace, ownLoopback, runtime } from './grace.ts';

const timeout = 180_000;
const skip = isDnsMissing;
const src = `tcp:0:interface=${ownLoopback}`;
const name = '_pg._tcp.db.test';
const hosts = ['a', 'b', 'c'].map((host) => `address=/${host}.db.test/${ownLoopback}`);
const record = (host: string, backend: { port: number }, priority: number, weight: number) =>
  `srv-host=${name},${host}.db.test,${backend.port},${priority},${weight}`;
async function startServer(t: TestContext, greeting: string) {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {}); // a test may reset it
    socket.write(`${greeting}\n`);
    socket.pipe(socket);
  }).listen(0, ownLoopback);
  await once(server, 'listening');
  t.after(() => void server.close());
  const close = () => new Promise((resolve) => server.close(resolve));
  return { port: (server.address() as AddressInfo).port, close };
}

const whoAnswers = async (port: number): Promise<string> => {
  const client = connect({ host: ownLoopback, port, allowHalfOpen: true });
  client.on('error', () => {}); // nobody answers
  client.end();
  return (await text(client).catch(() => '')).trim();
};

test('a target that is silent has a head start over those of the next priority', { timeout, skip }, async (t) => {
  const grace = makeGrace(t);
  using full = await openFullBackend();
  assert.ok('port' in full.address);
  const b = await startServer(t, 'B');
  const dns = await openDnsServer(
    t,
    'address=/silent.db.test/127.0.0.1',
    ...hosts,
    record('silent', full.address, 1, 1),
    record('b', b, 2, 1),
  );
  await grace.ok('start', src, `srv:${name}:server=${dns.place}`);
  const port = await grace.port(src);
  const beganMs = performance.now();
  assert.equal(await whoAnswers(port), 'B');
  assert.ok(performance.now() - beganMs >= 1400);
  // And again: nothing is remembered of it.
  const againMs = performance.now();
  assert.equal(await whoAnswers(port), 'B');
  assert.ok(performance.now() - againMs >= 1400);
  const { services = [] } = await grace.status();
  assert.deepEqual(
    services.map((each) => [each.name, ...each.targets.map(({ host, priority }) => `${priority} ${host}`)]),
    [[name, '1 silent.db.test', '2 b.db.test']],
  );
  assert.match(
    await grace.ok('status'),
    new RegExp(`^service +${name} is silent\\.db\\.test:${full.address.port}, b\\.db\\.test:${b.port}$`, 'm'),
  );
});

test(
  'who starts a rule to a service that there is not is told, without a terminal too',
  { timeout, skip },
  async (t) => {
    const grace = makeGrace(t);
    const dns = await openDnsServer(t, ...hosts, `srv-host=${name}`);
    for (const [service, more] of [
      ['_web._tcp.db.test', ''],
      ['web.db.test', '; SRV records mostly are at _SERVICE._tcp.DOMAIN'],
    ]) {
      const { code, stderr } = await grace.run(
        'start',
        'tcp:0:interface=127.0.0.1:backlog=7',
        `srv:${service}:server=${dns.place}`,
      );
      assert.equal(code, 0);
      assert.match(
        stderr,
        new RegExp(`^note: connections to srv:${service}\\S+ fail at the moment: .*\\(ENOTFOUND\\)${more}\n$`),
      );
      await grace.ok('stop', 'tcp:0:interface=127.0.0.1:backlog=7', '--now');
    }
    const wrong = await grace.run('endpoint', 'client', `srv:${name}:server=192.0.2.53:5353`);
    assert.match(wrong.stderr, /\nhint: escape the colon before a port: 'srv:\S+:server=192\.0\.2\.53\\:5353'\n$/);
  },
);

const engines = runtime === 'deno' ? ['portable'] : ['native', 'portable'];
for (const engine of engines)
  test(
    `new connections go by weight, by priority and where the zone says now (${engine})`,
    { timeout, skip },
    async (t) => {
      const grace = makeGrace(t);
      const [a, b, c] = [await startServer(t, 'A'), await startServer(t, 'B'), await startServer(t, 'C')];
      const dns = await openDnsServer(
        t,
        ...hosts,
        record('a', a, 10, 75),
        record('b', b, 10, 25),
        record('c', c, 20, 0),
      );
      const dst = `srv:${name}:server=${dns.place}`;
      grace.spawn('daemon', '--engine', engine);
      await until('the daemon runs', async () => (await grace.run('status')).code === 0);
      await grace.ok('start', src, dst);
      assert.equal((await grace.status()).engine, engine);
      const port = await grace.port(src);

      const counts: Record<string, number> = {};
      const total = Number(process.env['GRACE_TEST_CONNECTIONS'] ?? 800);
      for (let done = 0; done < total; done += 40)
        for (const who of await Promise.all(Array.from({ length: 40 }, () => whoAnswers(port))))
          counts[who] = (counts[who] ?? 0) + 1;
      t.diagnostic(JSON.stringify(counts));
      assert.deepEqual(Object.keys(counts).sort(), ['A', 'B']);
      // Five times what chance makes of so many.
      const share = counts['A']! / total;
      assert.ok(Math.abs(share - 0.75) < 5 * Math.sqrt((0.75 * 0.25) / total), `${share}`);

      // Of a priority of which nobody listens any more, the next is tried.
      await a.close();
      for (let round = 0; round < 10; round++) assert.equal(await whoAnswers(port), 'B');
      await b.close();
      for (let round = 0; round < 10; round++) assert.equal(await whoAnswers(port), 'C');

      // The zone changes: who was connected stays, and new ones follow within the time of the answer.
      const client = await openClient(t, { host: ownLoopback, port });
      assert.equal(await client.line(), 'C');
      const d = await startServer(t, 'D');
      await dns.serve(...hosts, record('c', d, 1, 1));
      await until('D answers', async () => (await whoAnswers(port)) === 'D');
      assert.equal(await client.echo('still here'), 'still here');

      // No server answers: on with the last good answer, and it says so.
      await dns.stop();
      await until(
        'the problem is told',
        async () => (await whoAnswers(port)) === 'D' && (await grace.status()).problems?.length === 1,
      );
      const [problem] = (await grace.status()).problems ?? [];
      assert.match(problem!, /^connections to srv:_pg\._tcp\.db\.test go where it was last: no name server answers/);
      assert.match(await grace.ok('metrics'), /^grace_problems 1$/m);
      assert.equal(await client.echo('still here'), 'still here');

      // So does a successor, and a daemon that starts anew.
      assert.equal(JSON.parse(readFileSync(join(grace.dir, 'services.json'), 'utf8')).services.length, 1);
      await grace.ok('restart');
      assert.equal(await whoAnswers(port), 'D');
      await until('the successor tells it', async () => (await grace.status()).problems?.length === 1);

      // A server answers again: that is told too, and what it says holds.
      const e = await startServer(t, 'E');
      await dns.serve(...hosts, record('a', e, 1, 1));
      await until('E answers', async () => (await whoAnswers(port)) === 'E');
      assert.deepEqual((await grace.status()).problems ?? [], []);
      assert.match(grace.log(), /a name server answers again/);

      // "." is an answer: the service is not offered.
      await dns.serve(...hosts, `srv-host=${name}`);
      await until('nobody answers', async () => (await whoAnswers(port)) === '');
      const failed = /cannot connect to srv:_pg\._tcp\.db\.test: the service is not offered there/;
      await until('that is told', () => failed.test(grace.log()));
      const refused = await grace.run('switch', src, `srv:_other._tcp.db.test:server=${dns.place}`);
      assert.equal(refused.code, 5);
      assert.match(refused.stderr, /srv:_other\._tcp\.db\.test: there is no such name in DNS \(ENOTFOUND\)/);
    },
  );
