/** A line in the access log for each connection that has ended, wherever it ended. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, runtime, ownLoopback } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const timeout = 120_000;
const plain = 'tcp:0:interface=127.0.0.1';

type Line = Record<string, unknown>;

function linesOf(path: string): Line[] {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  return text === ''
    ? []
    : text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as Line);
}

test(
  'each connection has its line: finished, refused, moved by a restart, and closed at the end',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const path = join(dirname(grace.dir), 'access.log');
    const backend = await startBackend(t, 'A');
    const options = ['--access-log', path, '--access-log-format', 'json'];
    await grace.ok('start', ...options, plain, backend.endpoint);
    const refusing = `tcp:0:interface=${ownLoopback}`;
    await grace.ok('start', refusing, `tcp:${ownLoopback}:1`);
    const port = await grace.port(plain);
    const lines = async (count: number) => {
      await until(`there are ${count} lines`, () => linesOf(path).length >= count);
      return linesOf(path);
    };

    const client = await openClient(t, { port });
    await client.line();
    await client.echo('123456789');
    await client.end();
    const [first] = await lines(1);
    assert.deepEqual(
      { ...first, time: '', client: '', connectMs: 0, durationMs: 0 },
      {
        time: '',
        client: '',
        src: plain,
        dst: backend.endpoint,
        bytesIn: 10,
        bytesOut: 12,
        connectMs: 0,
        durationMs: 0,
        reason: 'finished',
        acceptedBy: 1,
        endedBy: 1,
      },
    );
    assert.match(String(first?.['client']), /^127\.0\.0\.1:[0-9]+$/);
    assert.ok(Math.abs(Date.parse(String(first?.['time'])) - Date.now()) < timeout);

    const refused = connect({ port: await grace.port(refusing), host: ownLoopback }).on('error', () => {});
    await new Promise((resolve) => refused.once('close', resolve));
    const [, second] = await lines(2);
    assert.deepEqual([second?.['reason'], second?.['connectMs']], ['dial-refused', null]);

    const moving = await openClient(t, { port });
    await moving.line();
    await grace.ok('restart');
    renameSync(path, `${path}.1`);
    process.kill(Number(readFileSync(join(grace.dir, 'grace.pid'), 'utf8')), 'SIGUSR1');
    await until('the file is opened again', () => existsSync(path));
    await moving.end();
    const [third] = await lines(1);
    const accepted = (await grace.status()).engine === 'native' ? 1 : third?.['endedBy'];
    assert.deepEqual([third?.['reason'], third?.['acceptedBy']], ['finished', accepted]);

    const last = await openClient(t, { port });
    await last.line();
    await grace.ok('stop', '--now');
    assert.equal((await lines(2)).at(-1)?.['reason'], 'stopped');
  },
);

test('options of a daemon that runs already with others are said not to be heeded', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const path = join(dirname(grace.dir), 'access.log');
  const backend = await startBackend(t, 'A');
  const start = async (...words: string[]) => {
    const { code, stderr } = await grace.run('start', ...words, 'tcp:0:interface=127.0.0.1', backend.endpoint);
    assert.equal(code, 0, stderr);
    return stderr;
  };
  const options = ['--access-log', path, '--access-log-format', 'json'];
  assert.equal(await start(...options), '');
  assert.equal(await start(...options), '');
  assert.equal(
    await start('--access-log', `${path}.2`, '--access-log-format', 'text', '--admin', `unix:${grace.dir}-admin`),
    `note: the daemon runs already, with --access-log ${path}, with --access-log-format json, without --admin: these are heeded when a daemon is started\n`,
  );
  await grace.ok('restart');
  assert.match(await start('--access-log', `${path}.2`), /^note: .* with --access-log \S+access\.log: /);
  assert.match(await grace.ok('status'), new RegExp(`^access log +${path}$`, 'm'));
  const { options: used, threads = 0 } = await grace.status();
  assert.deepEqual(used, { 'access-log': path, 'access-log-format': 'json' });
  // The engine says how many threads it has.
  if (threads > 0) assert.equal((await grace.ok('status')).match(/threads?\b/g)?.length, 1);
});

test('a client with TLS has its version and name in its line, as text too', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const path = join(dirname(grace.dir), 'access.log');
  const backend = await startBackend(t, 'A');
  const files = pemFiles(t);
  const src = `ssl:0:privateKey=${files.key}:certKey=${files.fullChain}:interface=127.0.0.1`;
  await grace.ok('start', '--access-log', path, src, backend.endpoint);
  const ca = readFileSync(files.root);
  const socket = connectTls({ port: await grace.port(src), host: '127.0.0.1', servername: 'www.example.com', ca });
  await once(socket, 'data');
  socket.end();
  await once(socket, 'close');
  await until('the line is there', () => existsSync(path) && readFileSync(path, 'utf8').endsWith('\n'));
  assert.match(
    readFileSync(path, 'utf8'),
    /finished in=0 out=2 .* tls=TLSv1\.3 name=www\.example\.com generation=1\n$/,
  );
});

test(
  'the access log of a daemon in the foreground goes to its standard output, over a restart',
  { timeout, skip: runtime === 'deno' ? 'it takes a file there' : false },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'A');
    const refused = await grace.run('start', '--access-log', '-', plain, backend.endpoint);
    assert.equal(refused.code, 2);
    const daemon = grace.spawn('daemon', '--access-log', '-', `${plain}=${backend.endpoint}`);
    await until('the daemon answers', async () => (await grace.run('status')).code === 0);
    const port = await grace.port(plain);
    for (const generation of [1, 2]) {
      const client = await openClient(t, { port });
      await client.line();
      await client.end();
      await until('the line is there', () => daemon.outcome().stdout.includes(`generation=${generation}\n`));
      if (generation === 1) await grace.ok('restart');
    }
    assert.equal(daemon.outcome().stdout.trimEnd().split('\n').length, 2);
  },
);
