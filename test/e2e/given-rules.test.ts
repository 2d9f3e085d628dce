import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback } from './grace.ts';
import { freePort } from './listening-socket.ts';
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

test(
  'a rule that leads back to itself is not served, be it given or kept, and is once it leads elsewhere',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const { port } = await startBackend(t, 'A');
    const free = [await freePort(), await freePort(), await freePort()];
    const at = (index: number) => `${ownLoopback}:${free[index]}`;
    const given = [`${at(0)}=${at(0)}`, `${at(1)}=${at(2)}`, `${at(2)}=${at(1)}`];
    const circles = [
      [at(0), 'it is where this rule itself listens'],
      [at(2), `it leads back here over ${at(1)}`],
    ] as const;
    for (const args of [given, []]) {
      const running = grace.spawn('daemon', ...args);
      await until('a daemon that serves', async () => (await grace.run('status')).code === 0);
      const failed = (await grace.ls()).flatMap(({ src, error }) => (error === undefined ? [] : [[src, error]]));
      assert.equal(failed.length, circles.length);
      for (const [index, [src, why]] of circles.entries()) {
        assert.equal(failed[index]?.[0], src);
        assert.match(failed[index]?.[1] ?? '', new RegExp(`cannot lead to .*: ${why}$`));
      }
      await assert.rejects(openClient(t, { host: ownLoopback, port: free[0]! }), /ECONNREFUSED/);
      if (args.length === 0) {
        await grace.ok('switch', at(0), `127.0.0.1:${port}`);
        await until('the rule is served', async () =>
          (await grace.ls()).every((row) => row.src !== at(0) || !row.error),
        );
        assert.equal(await (await openClient(t, { host: ownLoopback, port: free[0]! })).line(), 'A');
      }
      await grace.ok('stop', '--now');
      await running.ended;
    }
  },
);
