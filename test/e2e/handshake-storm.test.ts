/** Many handshakes at once: whatever is asked of the daemon meanwhile is done as ever, and who has no part in them notices little. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';
import { helloOf } from '../engine/hellos.ts';
import { readBytes } from '../engine/peers.ts';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';
import { gone } from './processes.ts';

const skip =
  (process.platform !== 'linux' || runtime === 'deno') && 'handshakes are threads of their own with Node alone';
const options = { timeout: 240_000, skip };
const restarts = 2;

/**
 * Clients that shake hands, and leave at once or in the middle, until they are stopped, or refused: one that tried on
 * would keep this process from being the backend, whose answers a daemon that stops waits for.
 */
class Storm {
  shaken = 0;
  refused = 0;
  #isOver = false;
  readonly #all: Promise<void>[];

  constructor(port: number, count: number) {
    this.#all = Array.from({ length: count }, (_, index) => this.#run(port, index));
  }

  async #run(port: number, index: number): Promise<void> {
    let isRefused = false;
    for (let round = index; !this.#isOver && !isRefused; round++) {
      const socket = net.connect({ port, host: '127.0.0.1' });
      const client = tls.connect({
        socket,
        rejectUnauthorized: false,
        maxVersion: round % 2 === 0 ? 'TLSv1.3' : 'TLSv1.2',
      });
      client.on('error', ({ code }: NodeJS.ErrnoException) => {
        if (code !== 'ECONNREFUSED') return;
        isRefused = true;
        this.refused++;
      });
      client.once('secureConnect', () => {
        this.shaken++;
        client.destroy();
      });
      // Every third one has said its ClientHello, and no more.
      if (round % 3 === 0) socket.once('data', () => client.destroy());
      await new Promise((resolve) => client.once('close', resolve));
    }
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#all);
  }
}

test('a daemon restarts and stops in order in the middle of many handshakes', options, async (t) => {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const backend = await startBackend(t, 'one');
  const keeper = grace.spawn('daemon');
  await until('it serves', () => grace.log().includes('serving'));
  const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}`;
  await grace.ok('start', src, backend.endpoint);
  const storm = new Storm(await grace.port(src), 24);
  t.after(() => storm.stop());
  const shakes = async (count: number) => {
    const from = storm.shaken;
    await until(`${count} more have shaken hands`, () => storm.shaken >= from + count);
  };
  await shakes(100);
  for (let round = 0; round < restarts; round++) {
    const { pid } = await grace.status();
    await grace.ok('restart');
    await gone(pid);
    await shakes(100);
  }
  assert.equal(storm.refused, 0);
  const { pid } = await grace.status();
  assert.equal(await grace.ok('stop', '--timeout', '5s'), 'Stopped\n');
  const { code, stderr } = await keeper.ended;
  await gone(pid);
  await storm.stop();
  t.diagnostic(`${storm.shaken} handshakes, ${storm.refused} clients refused after the stop`);
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(
    stderr + grace.log(),
    /unexpectedly|crash|abort|SIG[A-Z]+|mistake in grace|thread of handshakes/i,
  );
});

test(
  'SIGTERM, twice, ends a daemon without a keeper with code 0 in the middle of many handshakes',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const pem = pemFiles(t);
    const backend = await startBackend(t, 'one');
    const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}`;
    for (let round = 0; round < 3; round++) {
      const daemon = grace.spawn('daemon', '--no-keeper');
      const served = grace.log().split('serving').length;
      await until('it serves', () => grace.log().split('serving').length > served);
      if (round === 0) await grace.ok('start', src, backend.endpoint);
      const storm = new Storm(await grace.port(src), 24);
      await until('some have shaken hands', () => storm.shaken >= 50);
      daemon.child.kill('SIGTERM');
      daemon.child.kill('SIGTERM');
      const { code, stderr } = await daemon.ended;
      await storm.stop();
      assert.deepEqual([code, daemon.child.signalCode], [0, null], stderr);
    }
  },
);

test('64 ClientHellos at once do not hold up the bytes of others', options, async (t) => {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const backend = await startBackend(t, 'one');
  // The dearest that is usual.
  const [key, cert] = [join(pem.dir, 'rsa.key'), join(pem.dir, 'rsa.crt')];
  const made = [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    key,
    '-out',
    cert,
    '-subj',
    '/CN=www.example.com',
  ];
  execFileSync('openssl', made, { stdio: 'ignore' });
  const src = `ssl:0:interface=127.0.0.1:privateKey=${key}:certKey=${cert}`;
  const plain = 'tcp:0:interface=127.0.0.1';
  await grace.ok('start', src, backend.endpoint);
  await grace.ok('start', plain, backend.endpoint);
  const [port, plainPort] = [await grace.port(src), await grace.port(plain)];
  const bystander = net.connect(plainPort, '127.0.0.1');
  bystander.setNoDelay(true);
  t.after(() => bystander.destroy());
  assert.equal(await readBytes(bystander, 4), 'one\n');
  const hello = await helloOf({});
  const ping = async (): Promise<number> => {
    const startMs = performance.now();
    bystander.write('x');
    await readBytes(bystander, 1);
    return performance.now() - startMs;
  };
  const quiet: number[] = [];
  for (let count = 0; count < 200; count++) quiet.push(await ping());
  const bursts: number[][] = [];
  for (let burst = 0; burst < 5; burst++) {
    const beside: number[] = [];
    bursts.push(beside);
    const clients = await Promise.all(
      Array.from({ length: 64 }, async () => {
        const client = net.connect(port, '127.0.0.1');
        client.on('error', () => {});
        t.after(() => client.destroy());
        await once(client, 'connect');
        return client;
      }),
    );
    let answered = 0;
    const onAnswer = () => void answered++;
    for (const client of clients) client.once('data', onAnswer).write(hello);
    while (answered < clients.length) beside.push(await ping());
    for (const client of clients as Socket[]) client.destroy();
  }
  const worst = (times: number[]) => Math.max(...times).toFixed(1);
  const each = bursts.map((beside) => `${worst(beside)} ms of ${beside.length}`);
  t.diagnostic(`longest echo of ${quiet.length} before: ${worst(quiet)} ms; beside each burst: ${each.join(', ')}`);
  // In a thread that shakes hands as well there would be one or two of them, the first as long as all handshakes.
  const echoes = bursts.flat().length;
  assert.ok(echoes >= 4 * bursts.length, `${echoes} echoes beside ${bursts.length} bursts`);
  assert.ok(Math.min(...bursts.map((beside) => Math.max(...beside))) < 250, each.join(', '));
});
