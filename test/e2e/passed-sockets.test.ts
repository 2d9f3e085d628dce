/** Sockets that systemd passes: each is served by one rule, or turns its clients away. Nobody waits for nothing. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { openListener } from '../../src/net/open.ts';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, startProgram } from './grace.ts';

const timeout = 120_000;

/** A daemon to which sockets of these names were passed; their ports. */
async function startWith(t: TestContext, names: readonly string[], { flags = [] as string[] } = {}) {
  const grace = makeGrace(t);
  const listeners = await Promise.all(
    names.map((name) => openListener({ kind: 'tcp', host: '127.0.0.1', port: 0, backlog: 50 }, { name })),
  );
  const env = { LISTEN_FDS: String(names.length), LISTEN_FDNAMES: names.join(':'), LISTEN_PID: '' };
  const daemon = startProgram(['-d', grace.dir, 'daemon', ...flags], env, {
    stdio: ['ignore', 'pipe', 'pipe', ...listeners.map(({ fd }) => fd)],
  });
  const ports = listeners.map(({ address }) => (address.family === 'unix' ? 0 : address.port));
  for (const listener of listeners) listener.close();
  t.after(() => void daemon.child.kill('SIGKILL'));
  await until('it serves', async () => (await grace.run('ls')).code === 0);
  return { grace, ports, daemon };
}

/** Whether a connection that nobody is to serve is ended, and not left to wait. */
async function isTurnedAway(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {}); // reset
  socket.setTimeout(20_000);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.on('timeout', () => resolve(false));
  socket.on('close', () => resolve(true));
  const isEnded = await promise;
  socket.destroy();
  return isEnded;
}

for (const flags of [[], ['--no-keeper']]) {
  test(
    `of two sockets of one name a rule must say which it means, and the other turns its clients away ${flags.join()}`,
    { timeout },
    async (t) => {
      const backend = await startBackend(t, 'one');
      const { grace, ports } = await startWith(t, ['web', 'web'], { flags });
      const refused = await grace.run('start', 'systemd:name=web', backend.endpoint);
      assert.equal(refused.code, 1);
      assert.match(
        refused.stderr,
        new RegExp(
          `2 sockets named "web" were passed to the daemon: 127.0.0.1:${ports[0]} \\(index 0\\), 127.0.0.1:${ports[1]} \\(index 1\\)\nhint: .*systemd:index=0`,
        ),
      );
      for (const port of ports) assert.ok(await isTurnedAway(port!));
      assert.equal(grace.log().match(/not used by any rule/g)?.length, 2);

      await grace.ok('start', 'systemd:domain=INET:index=1', backend.endpoint);
      const client = await openClient(t, { port: ports[1]! });
      assert.equal(await client.line(), 'one');
      assert.ok(await isTurnedAway(ports[0]!));
      // The name is of both, and one is left.
      const taken = await grace.run('start', 'systemd:domain=INET:index=1:idle=5s', backend.endpoint);
      assert.notEqual(taken.code, 0);
      await grace.ok('restart');
      assert.ok(await isTurnedAway(ports[0]!));
      assert.equal(await (await openClient(t, { port: ports[1]! })).line(), 'one');
      await grace.ok('stop', 'systemd:domain=INET:index=1', '--now');
      assert.ok(await isTurnedAway(ports[1]!));
    },
  );
}

test('a socket that one rule uses is not given to another, by whatever name', { timeout }, async (t) => {
  const backend = await startBackend(t, 'one');
  const { grace, ports } = await startWith(t, ['web']);
  await grace.ok('start', 'systemd:domain=INET:name=web', backend.endpoint);
  for (const src of ['systemd:domain=INET:index=0', 'fd:3']) {
    const { code, stderr } = await grace.run('start', src, backend.endpoint);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /is used by systemd:domain=INET:name=web already\nhint: .*grace -d \S+ stop systemd:domain=INET:name=web/,
    );
  }
  assert.equal(await (await openClient(t, { port: ports[0]! })).line(), 'one');
});

test('a start that comes to nothing leaves a socket turning its clients away', { timeout }, async (t) => {
  const { grace, ports } = await startWith(t, ['web']);
  assert.equal(
    (await grace.run('start', 'systemd:domain=INET:name=web', 'ssl:host=127.0.0.1:port=1:caCertsDir=/nonexistent'))
      .code !== 0,
    true,
  );
  assert.ok(await isTurnedAway(ports[0]!));
});
