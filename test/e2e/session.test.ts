import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openClient, startBackend } from './backend.ts';
import { isRunning, makeGrace, ownLoopback } from './grace.ts';

const timeout = 180_000;
const src = `tcp:0:interface=${ownLoopback}`;

test(
  'start, ls, switch, wait, restart and stop do what they say while a connection is open',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const b = await startBackend(t, 'B');

    assert.equal(await grace.ok('start', src, a.endpoint), 'Started\n');
    const port = await grace.port(src);
    const first = await openClient(t, { host: ownLoopback, port });
    assert.equal(await first.line(), 'A');

    assert.match(await grace.ok('switch', src, b.endpoint), /^Switched\n/);
    const second = await openClient(t, { host: ownLoopback, port });
    assert.equal(await second.line(), 'B');
    assert.equal(await first.echo('still here'), 'still here');

    const table = (await grace.ok('ls'))
      .trimEnd()
      .split('\n')
      .map((line) => line.trim().split(/\s+/));
    assert.deepEqual(table, [
      ['src', 'dst', 'connections', 'status'],
      [src, b.endpoint, '1', 'active'],
      [src, a.endpoint, '1', 'inactive'],
    ]);

    const waiting = grace.spawn('wait', src);
    const old = await grace.status();
    assert.match(await grace.ok('restart'), new RegExp(`${old.pid}.*${old.version}.*`));
    assert.notEqual((await grace.status()).pid, old.pid);
    assert.equal(await first.echo('after restart'), 'after restart');
    assert.equal(await second.echo('after restart'), 'after restart');
    assert.equal(await (await openClient(t, { host: ownLoopback, port })).line(), 'B');
    assert.equal(waiting.outcome().code, null);

    await first.end();
    const { code, stdout, stderr } = await waiting.ended;
    assert.deepEqual({ code, stdout }, { code: 0, stdout: '' });
    assert.match(stderr, /^(waiting for 1 of 1 connection, the oldest .* old: 1 on .*\n)*$/);

    const { pid } = await grace.status();
    await second.end();
    assert.match(await grace.ok('stop', '--now'), /^Stopped\n/);
    assert.equal(isRunning(pid), false);
    await assert.rejects(openClient(t, { host: ownLoopback, port }), /ECONNREFUSED/);
    assert.equal((await grace.run('status')).code, 3);
  },
);

test('ls --json tells bytes, age and process of each destination', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  const before = Date.now();
  await grace.ok('start', src, a.endpoint);
  const client = await openClient(t, { host: ownLoopback, port: await grace.port(src) });
  await client.line();
  await client.echo('12345');
  const [row] = await grace.ls();
  assert.equal(row?.bytesIn, 6);
  assert.equal(row?.bytesOut, 8);
  assert.equal(row?.connections, 1);
  assert.equal(row?.active, true);
  assert.equal(row?.src, src);
  assert.equal(row?.dst, a.endpoint);
  assert.ok(isRunning(row!.pid));
  assert.ok(Date.parse(row!.since) >= before - 1000 && Date.parse(row!.since) <= Date.now());
});

test('a rule is the same rule however it is written', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const { port } = await startBackend(t, 'A');
  await grace.ok('start', src, `tcp:127.0.0.1:${port}`);
  assert.equal(
    await grace.ok('start', `TCP:port=0:interface=${ownLoopback}`, `tcp:host=127.0.0.1:port=${port}`),
    'Started\n',
  );
  assert.equal((await grace.ls()).length, 1);
  const { code, stderr } = await grace.run('start', src, 'tcp:127.0.0.1:1');
  assert.equal(code, 1);
  assert.match(stderr, /^grace: .*already forwarded.*\n.*grace -d \S+ switch/);
});

test(
  'a switch to a destination that does not answer changes nothing, unless told not to check',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    await grace.ok('start', src, a.endpoint);
    const dead = 'tcp:127.0.0.1:1';
    const { code, stderr } = await grace.run('switch', src, dead);
    assert.equal(code, 5);
    assert.match(stderr, /^grace: cannot switch/);
    assert.equal((await grace.ls())[0]?.dst, a.endpoint);
    await grace.ok('x', src, dead, '--no-check');
    assert.equal((await grace.ls())[0]?.dst, dead);
  },
);

test('switch --wait returns when the last connection to the old destination has ended', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  const b = await startBackend(t, 'B');
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  const client = await openClient(t, { host: ownLoopback, port });
  await client.line();
  const switching = grace.spawn('switch', src, b.endpoint, '--wait');
  for (;;) {
    const probe = await openClient(t, { host: ownLoopback, port });
    const isSwitched = (await probe.line()) === 'B';
    await probe.end();
    if (isSwitched) break;
  }
  assert.equal(switching.outcome().code, null);
  await client.end();
  assert.equal((await switching.ended).code, 0);
});

test(
  'wait gives up at its time-out with exit code 124, and returns at once when nothing is left',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const b = await startBackend(t, 'B');
    await grace.ok('start', src, a.endpoint);
    await grace.ok('wait');
    const client = await openClient(t, { host: ownLoopback, port: await grace.port(src) });
    await client.line();
    await grace.ok('wait', src); // connections to the current destination are no concern of it
    await grace.ok('switch', src, b.endpoint);
    assert.equal((await grace.run('wait', '--timeout', '100ms')).code, 124);
    assert.equal((await grace.run('w', src, '--timeout', '0.1')).code, 124);
    assert.equal((await grace.run('wait', 'tcp:1')).code, 4);
    await client.end();
    await grace.ok('wait', '--timeout', '30s');
  },
);

test('stop SRC refuses new connections at once and lets the open ones finish', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  const client = await openClient(t, { host: ownLoopback, port });
  await client.line();
  const other = `unix:${grace.dir}/other.sock`;
  await grace.ok('start', other, a.endpoint);
  const bystander = await openClient(t, { path: `${grace.dir}/other.sock` });
  await bystander.line();

  const stopping = grace.spawn('stop', src);
  for (;;) {
    try {
      const late = await openClient(t, { host: ownLoopback, port });
      late.socket.destroy();
    } catch {
      break;
    }
  }
  assert.equal(await client.echo('goes on'), 'goes on');
  assert.equal(stopping.outcome().code, null);
  await client.end();
  assert.deepEqual(await stopping.ended, { code: 0, stdout: 'Stopped\n', stderr: '' });
  assert.equal(await bystander.echo('untouched'), 'untouched');
  assert.deepEqual(
    (await grace.ls()).map((row) => row.src),
    [other],
  );
});

test('stop closes what does not finish in time and says how many', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const client = await openClient(t, { host: ownLoopback, port: await grace.port(src) });
  await client.line();
  const { code, stdout } = await grace.run('stop', '--timeout', '100ms');
  assert.equal(code, 0);
  assert.match(stdout, /^Stopped\n/);
  assert.match(stdout, /\b1\b/);
  await assert.rejects(client.line());
});

test('a connection outlives every command that is not about it', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  const b = await startBackend(t, 'B');
  await grace.ok('start', src, a.endpoint);
  const client = await openClient(t, { host: ownLoopback, port: await grace.port(src) });
  await client.line();
  const other = 'tcp:0:interface=127.0.0.2';
  const commands = [
    ['start', other, a.endpoint],
    ['switch', other, b.endpoint],
    ['ls'],
    ['wait'],
    ['restart'],
    ['start', src, a.endpoint],
    ['stop', other],
    ['restart'],
    ['switch', src, b.endpoint],
    ['status'],
    ['restart'],
  ];
  for (const command of commands) {
    await grace.ok(...command);
    assert.equal(await client.echo(command.join(' ')), command.join(' '));
  }
});

test('the state dir is private, and the pid file names the daemon', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const mode = (name: string) => (statSync(join(grace.dir, name)).mode & 0o777).toString(8);
  assert.equal(mode('.'), '700');
  assert.equal(mode('grace.sock'), '600');
  assert.match(readFileSync(join(grace.dir, 'grace.pid'), 'utf8'), /^[0-9]+\n$/);
  assert.ok(isRunning(Number(readFileSync(join(grace.dir, 'grace.pid'), 'utf8'))));
  await grace.ok('stop');
});

test('a new rule on the port of another is refused with the name of that one', { timeout }, async (t) => {
  const grace = makeGrace(t);
  await grace.ok('start', src, 'tcp:127.0.0.1:1');
  const port = await grace.port(src);
  const { code, stderr } = await grace.run('start', `tcp:${port}`, 'tcp:127.0.0.1:1');
  assert.equal(code, 1);
  assert.equal(
    stderr,
    `grace: cannot listen on tcp:${port}: address already in use (EADDRINUSE)\nhint: ${src} is forwarded and has that port; to stop it: grace -d ${grace.dir} stop ${src}\n`,
  );
});

test('stop says exactly how long connections had', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const client = await openClient(t, { host: ownLoopback, port: await grace.port(src) });
  await client.line();
  assert.equal(await grace.ok('stop', src, '--timeout', '1200ms'), 'Stopped\n1 connection closed after 1.2s\n');
});
