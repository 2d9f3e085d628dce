import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ownLoopback } from '../e2e/grace.ts';
import { freePort } from '../e2e/listening-socket.ts';
import { crash, disturb, meanwhile, startForward } from './forward.ts';
import { makeDirectory, missing, openSession, run, startServer } from './program.ts';
import { pemFiles } from '../e2e/pem-files.ts';

const skip = missing(['redis-server --version', 'redis-server'], ['redis-benchmark --version', 'redis-tools']);
const options = { timeout: 120_000, skip };

type Redis = { ways: [string, string]; /** Arguments of a client that goes to it directly. */ directly: string[] };

/** A Redis that writes nothing to disk. */
async function startRedis(t: TestContext): Promise<Redis> {
  const [dir, port] = [makeDirectory(t), await freePort()];
  const socket = join(dir, 'redis.sock');
  await startServer(
    t,
    'redis-server',
    ['--bind', ownLoopback, '--port', `${port}`, '--unixsocket', socket, '--dir', dir, '--save', ''],
    { host: ownLoopback, port },
  );
  return { ways: [`tcp:${ownLoopback}:${port}`, `unix:${socket}`], directly: ['-h', ownLoopback, '-p', `${port}`] };
}

/** A client that has subscribed through grace, and hears what is published. */
async function subscribe(t: TestContext, { directly }: Redis, at: string[]) {
  const session = openSession(t, 'redis-cli', [...at, 'subscribe', 'news']);
  assert.deepEqual([await session.line(), await session.line(), await session.line()], ['subscribe', 'news', '1']);
  let count = 0;
  return {
    ...session,
    hear: async () => {
      const text = `message ${++count}`;
      assert.equal(await run('redis-cli', [...directly, 'publish', 'news', text]), '1\n');
      assert.deepEqual([await session.line(), await session.line(), await session.line()], ['message', 'news', text]);
    },
  };
}

/** Ten clients, and as many that make a connection for each request. */
async function work(at: string[]): Promise<void> {
  const common = [...at, '-q', '-t', 'set,get', '-c', '10'];
  await Promise.all([
    run('redis-benchmark', [...common, '-n', '3000']),
    run('redis-benchmark', [...common, '-n', '200', '-k', '0']),
  ]);
}

test('redis-benchmark and a subscriber notice nothing; a crash refuses nobody', options, async (t) => {
  const redis = await startRedis(t);
  const forward = await startForward(t, redis);
  const at = ['-h', '127.0.0.1', '-p', `${forward.port}`];
  const ping = async () => assert.equal(await run('redis-cli', [...at, 'ping']), 'PONG\n');
  const subscriber = await subscribe(t, redis, at);
  const rounds = await meanwhile(() => work(at), disturb(forward, { session: subscriber.hear, newcomer: ping }));
  t.diagnostic(`${rounds} rounds of 6,400 requests`);
  await crash(forward, ping);
  assert.match(await subscriber.ended, /Server closed the connection|^$/);
});

test(
  'Redis with TLS that grace ends: nothing is noticed, by the subscriber neither, who moves; a crash refuses nobody',
  options,
  async (t) => {
    const pem = pemFiles(t);
    const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}`;
    const redis = await startRedis(t);
    const forward = await startForward(t, { ...redis, src });
    const at = ['-h', '127.0.0.1', '-p', `${forward.port}`, '--tls', '--cacert', pem.root, '--sni', 'www.example.com'];
    const ping = async () => assert.equal(await run('redis-cli', [...at, 'ping']), 'PONG\n');
    const { pid } = await forward.grace.status();
    const subscriber = await subscribe(t, redis, at);
    const rounds = await meanwhile(() => work(at), disturb(forward, { session: subscriber.hear, newcomer: ping }));
    t.diagnostic(`${rounds} rounds of 6,400 requests`);
    assert.ok(!(await forward.grace.ls()).some((row) => row.pid === pid));
    await crash(forward, ping);
    await subscriber.ended;
  },
);
