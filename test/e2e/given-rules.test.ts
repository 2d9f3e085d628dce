import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback } from './grace.ts';
import { until } from '../until.ts';

const timeout = 180_000;
const src = `tcp:0:interface=${ownLoopback}`;

test(
  'a daemon serves the rules of its command line, and keeps what is switched over a crash and a restart',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const b = await startBackend(t, 'B');
    const isServing = () => until('a daemon that serves', async () => (await grace.run('status')).code === 0);
    const running = grace.spawn('daemon', `${src}=${a.endpoint}`, `unix:${grace.dir}/web.sock=127.0.0.1:${a.port}`);
    await isServing();
    assert.deepEqual(
      (await grace.ls()).map((row) => row.dst),
      [a.endpoint, `127.0.0.1:${a.port}`],
    );
    assert.equal(await (await openClient(t, { host: ownLoopback, port: await grace.port(src) })).line(), 'A');
    await grace.ok('switch', src, b.endpoint);
    const { pid } = await grace.status();
    process.kill(pid, 'SIGKILL');
    await until(
      'a daemon that serves',
      async () => (await grace.run('status')).code === 0 && (await grace.status()).pid !== pid,
    );
    assert.equal((await grace.ls())[0]?.dst, b.endpoint);
    await grace.ok('restart');
    assert.equal((await grace.ls())[0]?.dst, b.endpoint);
    await grace.ok('stop', '--now');
    assert.equal((await running.ended).code, 0);
    const again = grace.spawn('daemon', `${src}=${a.endpoint}`);
    await isServing();
    assert.deepEqual((await grace.ls()).map((row) => row.dst).sort(), [`127.0.0.1:${a.port}`, a.endpoint].sort());
    await grace.ok('stop', '--now');
    await again.ended;
  },
);

test('what is no rule is refused before anything is served', { timeout }, async (t) => {
  const grace = makeGrace(t);
  for (const text of ['8080', '8080=', 'web=app:1', 'tcp:1=bogus']) {
    const { code, stderr } = await grace.run('daemon', text);
    assert.equal(code, 2, text);
    assert.match(stderr, /^grace: ".*" is no rule(: [^\n]+)?\nhint: /);
  }
  for (const [texts, message] of [
    [
      ['80=127.0.0.1'],
      /^grace: "80=127\.0\.0\.1" is no rule: cannot read endpoint "127\.0\.0\.1": [^\n]*\nhint: the port is missing: /,
    ],
    [['80=app:90010'], /^grace: "80=app:90010" is no rule: [^\n]*90010[^\n]*1-65535/],
    [
      ['80=127.0.0.1:9001', 'tcp:80=127.0.0.1:9002'],
      /^grace: "80=127\.0\.0\.1:9001" and "tcp:80=127\.0\.0\.1:9002" are for the same address\nhint: a source has one destination\n$/,
    ],
  ] as const) {
    const { code, stderr } = await grace.run('daemon', ...texts);
    assert.equal(code, 2, texts.join(' '));
    assert.match(stderr, message);
  }
});
