import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs';
import { Agent, createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { openClient, startBackend } from './backend.ts';
import { isRunning, makeGrace, program, root, runtime } from './grace.ts';
import { pemFiles, stays } from './pem-files.ts';
import { gone } from './processes.ts';
import type { Grace } from './grace.ts';
import { backlogOf, holdsSocket, listeningInode } from './listening-socket.ts';

const timeout = 180_000;
const src = 'tcp:0:interface=127.0.0.1:backlog=33';
const fixture = (name: string) => join(root, 'test/e2e/fixtures', name);

test('the successor serves the very same sockets, with the same backlog', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  const inode = listeningInode(port);
  const old = (await grace.status()).pid;
  assert.ok(holdsSocket(old, inode));
  assert.equal(backlogOf(port), 33);
  for (let round = 0; round < 2; round++) {
    await grace.ok('restart');
    assert.equal(listeningInode(port), inode);
    assert.ok(holdsSocket((await grace.status()).pid, inode));
    assert.equal(backlogOf(port), 33);
  }
});

test('a Unix socket keeps its path over a restart, and loses it when the rule stops', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('status').catch(() => {});
  const path = `${grace.dir}-front.sock`;
  await grace.ok('start', `unix:${path}:mode=600`, a.endpoint);
  await grace.ok('restart');
  const client = await openClient(t, { path });
  assert.equal(await client.line(), 'A');
  await client.end();
  await grace.ok('stop', `unix:${path}`);
  await assert.rejects(openClient(t, { path }), /ENOENT/);
});

async function goesOn(t: Parameters<typeof openClient>[0], grace: Grace, port: number, pid: number): Promise<void> {
  assert.equal((await grace.status()).pid, pid);
  const client = await openClient(t, { port });
  assert.equal(await client.line(), 'A');
  await client.end();
}

for (const { what, exec, prepare, reason, limit = '100s' } of [
  { what: 'does not exist', exec: '/nonexistent/grace', reason: /\/nonexistent\/grace/ },
  { what: 'may not be executed', exec: fixture('../grace.ts'), reason: /may not be executed/ },
  { what: 'ends at once', exec: fixture('last-words.sh'), reason: /libmissing\.so/ },
  { what: 'is not a grace', exec: fixture('talks-nonsense.sh'), reason: /cannot restart/ },
  {
    what: 'never says that it is ready',
    exec: fixture('never-ready.sh'),
    reason: /did not come up within 1 s/,
    limit: '1s',
  },
  {
    what: 'is no program',
    exec: '',
    prepare: (dir: string) => {
      const file = `${dir}-garbage`;
      writeFileSync(file, '\x7fELF garbage');
      chmodSync(file, 0o755);
      return file;
    },
    reason: /cannot (re)?start/,
  },
]) {
  test(`a successor that ${what} changes nothing`, { timeout }, async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    await grace.ok('start', src, a.endpoint);
    const port = await grace.port(src);
    const { pid } = await grace.status();
    const client = await openClient(t, { port });
    await client.line();
    const file = prepare ? prepare(grace.dir) : exec;
    const { code, stderr } = await grace.run('restart', '--exec', file, '--timeout', limit);
    assert.equal(code, 1);
    assert.match(stderr, /^grace: /);
    assert.match(stderr, reason);
    assert.doesNotMatch(stderr, /\n\s+at /);
    assert.equal(await client.echo('still here'), 'still here');
    await goesOn(t, grace, port, pid);
    await grace.ok('restart');
    assert.equal(await client.echo('still here'), 'still here');
  });
}

test(
  'a successor that gives up after it accepted leaves paths and sockets to the old daemon',
  { timeout },
  async (t) => {
    const grace = makeGrace(t, { GRACE_TEST_PROGRAM: program.join(' ') });
    const a = await startBackend(t, 'A');
    const path = `${grace.dir}-front.sock`;
    await grace.ok('start', src, a.endpoint);
    await grace.ok('start', `unix:${path}`, a.endpoint);
    const port = await grace.port(src);
    const inode = listeningInode(port);
    const { pid } = await grace.status();
    const { code, stderr } = await grace.run('restart', '--exec', fixture('deaf-successor.sh'));
    assert.equal(code, 1);
    assert.match(stderr, /^grace: cannot restart/);
    assert.equal((await grace.status()).pid, pid);
    assert.equal(await (await openClient(t, { path })).line(), 'A');
    assert.equal(await (await openClient(t, { port })).line(), 'A');
    assert.equal(listeningInode(port), inode);
    await grace.ok('restart');
    assert.equal(listeningInode(port), inode);
  },
);

test('stop does not wait for a successor that does not come up', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const { pid } = await grace.status();
  const restarting = grace.spawn('restart', '--exec', fixture('never-ready.sh'), '--timeout', '100s');
  while (!grace.log().includes('restarting')) await grace.ok('ls');
  await grace.ok('stop', '--now');
  const { code, stderr } = await restarting.ended;
  assert.equal(code, 1);
  assert.match(stderr, /the daemon is to stop/);
  assert.equal(isRunning(pid), false);
});

test('an older generation that hangs holds up nobody', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const a = await startBackend(t, 'A');
  const secure = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1${stays}`;
  await grace.ok('start', secure, a.endpoint);
  const client = connectTls({ port: await grace.port(secure), host: '127.0.0.1', rejectUnauthorized: false });
  t.after(() => void client.destroy());
  client.on('error', () => {}); // its process is killed
  await once(client, 'data');
  const { pid } = await grace.status();
  await grace.ok('restart');
  process.kill(pid, 'SIGSTOP');
  t.after(() => {
    if (isRunning(pid)) process.kill(pid, 'SIGKILL');
  });
  assert.ok((await grace.ls()).some((row) => row.pid === pid));
  await grace.ok('restart');
  await grace.ok('stop', '--now');
  assert.equal(isRunning(pid), false);
});

test(
  'restarts while older generations drain keep every connection, and each is found by ls',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    const b = await startBackend(t, 'B');
    await grace.ok('start', src, a.endpoint);
    const port = await grace.port(src);
    const clients = [];
    for (let generation = 0; generation < 4; generation++) {
      const client = await openClient(t, { port });
      await client.line();
      clients.push(client);
      await grace.ok('restart');
    }
    const connections = async () => (await grace.ls()).reduce((sum, row) => sum + row.connections, 0);
    assert.equal(await connections(), 4);
    await grace.ok('switch', src, b.endpoint);
    const rows = await grace.ls();
    assert.equal(rows.filter((row) => row.active).length, 1);
    const waiting = grace.spawn('wait');
    for (const client of clients) {
      assert.equal(await client.echo('hello'), 'hello');
      assert.equal(waiting.outcome().code, null);
      await client.end();
    }
    assert.equal((await waiting.ended).code, 0);
    assert.equal(await connections(), 0);
  },
);

test('ls and wait never lose sight of a connection while it changes hands', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  const b = await startBackend(t, 'B');
  await grace.ok('start', src, a.endpoint);
  const client = await openClient(t, { port: await grace.port(src) });
  await client.line();
  await grace.ok('switch', src, b.endpoint);
  const waiting = grace.spawn('wait');
  let isOver = false;
  const sums = new Set<number>();
  const look = async () => {
    while (!isOver) sums.add((await grace.ls()).reduce((sum, { connections }) => sum + connections, 0));
  };
  const looking = [look(), look()];
  for (let restart = 0; restart < 5; restart++) await grace.ok('restart');
  isOver = true;
  await Promise.all(looking);
  assert.deepEqual([...sums], [1]);
  assert.equal(waiting.outcome().code, null);
  await client.end();
  assert.equal((await waiting.ended).code, 0);
});

test('stop ends every generation', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  const clients = [];
  const pids = new Set<number>();
  for (let generation = 0; generation < 3; generation++) {
    const client = await openClient(t, { port });
    await client.line();
    clients.push(client);
    await grace.ok('restart');
    for (const { pid } of (await grace.status()).generations) pids.add(pid);
  }
  assert.match(await grace.ok('stop', '--now'), /^Stopped\n.*3/);
  // One that had nothing left may take a moment longer, and nobody waits for it.
  await Promise.all([...pids].map(gone));
  for (const client of clients) await assert.rejects(client.line());
});

test(
  'an executable that was replaced on disk is what a restart runs',
  { timeout, skip: runtime === 'executable' ? false : 'only the executable is one file' },
  async (t) => {
    const grace = makeGrace(t);
    const a = await startBackend(t, 'A');
    await grace.ok('start', src, a.endpoint);
    const copy = `${grace.dir}-copy`;
    copyFileSync(join(root, 'dist/grace'), copy);
    await grace.ok('restart', '--exec', copy);
    const client = await openClient(t, { port: await grace.port(src) });
    assert.equal(await client.line(), 'A');
  },
);

/** GRACE_TEST_RESTARTS=100 asks for more. */
const restarts = Number(process.env['GRACE_TEST_RESTARTS'] ?? 20);

test(`${restarts} restarts in a row under load lose, refuse and reset nothing`, { timeout }, async (t) => {
  const grace = makeGrace(t);
  const server = createServer((request, response) => response.end(`echo ${request.url}`));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  await grace.ok(
    'start',
    'tcp:0:interface=127.0.0.1:backlog=1024',
    `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`,
  );
  const port = await grace.port('tcp:0:interface=127.0.0.1:backlog=1024');

  let isOver = false;
  const failures: string[] = [];
  const counts = { fresh: 0, keptAlive: 0, streams: 0 };
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  t.after(() => agent.destroy());

  const request = (path: string, options: { agent?: Agent }): Promise<void> =>
    new Promise((resolve) => {
      const sent = get({ host: '127.0.0.1', port, path, ...options }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => {
          if (text !== `echo ${path}`) failures.push(`${path}: "${text}"`);
          resolve();
        });
        response.on('error', (error) => failures.push(`${path}: ${error.message}`));
      });
      sent.on('error', (error) => {
        failures.push(`${new Date().toISOString()} ${path}: ${error.message}`);
        resolve();
      });
    });
  const loop = async (kind: 'fresh' | 'keptAlive') => {
    const options = kind === 'keptAlive' ? { agent } : { agent: new Agent() };
    while (!isOver) await request(`/${kind}/${counts[kind]++}`, options);
  };
  const load = [loop('fresh'), loop('fresh'), loop('keptAlive'), loop('keptAlive'), loop('keptAlive')];
  const pids = new Set([(await grace.status()).pid]);
  for (let restart = 0; restart < restarts; restart++) {
    await grace.ok('restart');
    pids.add((await grace.status()).pid);
  }
  isOver = true;
  await Promise.all(load);
  t.diagnostic(
    `${counts.fresh} new connections, ${counts.keptAlive} requests on kept-alive ones, ${failures.length} failures`,
  );
  if (failures.length > 0) t.diagnostic(grace.log());
  assert.deepEqual(failures.slice(0, 5), []);
  assert.equal(pids.size, restarts + 1);
  assert.ok(counts.fresh > 20 && counts.keptAlive > 20);
});

test('a second restart at the same time is refused, and the first goes on', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  const outcomes = await Promise.all([grace.run('restart'), grace.run('restart'), grace.run('restart')]);
  assert.ok(outcomes.some(({ code }) => code === 0));
  for (const { code, stderr } of outcomes) if (code !== 0) assert.match(stderr, /already under way/);
  const client = await openClient(t, { port });
  assert.equal(await client.line(), 'A');
});

test('USR2 restarts the daemon, TERM stops it gracefully, and TERM again at once', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const a = await startBackend(t, 'A');
  await grace.ok('start', src, a.endpoint);
  const port = await grace.port(src);
  const client = await openClient(t, { port });
  await client.line();
  const { pid } = await grace.status();
  process.kill(pid, 'SIGUSR2');
  while ((await grace.status()).pid === pid);
  assert.equal(await client.echo('over USR2'), 'over USR2');

  const successor = (await grace.status()).pid;
  const last = await openClient(t, { port });
  await last.line();
  process.kill(successor, 'SIGTERM');
  for (;;) {
    const attempt = connect({ port, host: '127.0.0.1' });
    const outcome = await Promise.race([
      once(attempt, 'connect').then(() => 'connected'),
      new Promise((resolve) => attempt.once('error', () => resolve('refused'))),
    ]);
    attempt.destroy();
    if (outcome === 'refused') break;
  }
  assert.equal(await last.echo('drains'), 'drains');
  process.kill(successor, 'SIGTERM');
  await assert.rejects(last.line());
  await gone(successor);
});
