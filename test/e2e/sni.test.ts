/** TLS that is not ended here goes by the name that the client asks for, to servers that end it themselves. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { ConnectionRow } from '../../src/control/shapes.ts';
import type { PemFiles } from '../endpoint/pem.ts';
import { rawHello } from '../engine/hellos.ts';
import { until } from '../until.ts';
import { startBackend } from './backend.ts';
import { makeGrace, ownLoopback, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';
import { startTlsBackend } from './tls-backend.ts';
import { kill } from './processes.ts';

const timeout = 120_000;
const src = 'tcp:0:interface=127.0.0.1';
/** The portable engine moves no connection. */
const moves = runtime !== 'deno' && process.platform === 'linux';

/** Echoes over TLS, for www.example.com. */
function nodeServer(t: TestContext, files: PemFiles): Promise<number> {
  return startTlsBackend(t, files, (socket) => void socket.pipe(socket), { ALPNProtocols: ['http/1.1'] });
}

/** Sends each line back reversed over TLS, for other.example; to one client after the other. */
async function opensslServer(t: TestContext, { otherKey, otherCert }: PemFiles): Promise<number> {
  const args = ['s_server', '-accept', '127.0.0.1:0', '-key', otherKey, '-cert', otherCert, '-rev'];
  const server = spawn('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  t.after(() => server.kill());
  let output = '';
  server.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  await until('it listens', () => /^ACCEPT .*:[0-9]+$/m.test(output));
  return Number(/^ACCEPT .*:([0-9]+)$/m.exec(output)?.[1]);
}

async function secure(t: TestContext, port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({ port, host: '127.0.0.1', ...options });
  t.after(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

async function said(socket: TLSSocket, line: string, answer: string): Promise<void> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
  socket.write(`${line}\n`);
  await until(`it answers ${answer}`, () => text === `${answer}\n`);
  socket.removeAllListeners('data');
}

test(
  'each name leads to its server, whose certificate the client sees, over a restart and a crash',
  { timeout },
  async (t) => {
    const grace = makeGrace(t);
    const files = pemFiles(t);
    const access = join(dirname(grace.dir), 'access.log');
    const node = await nodeServer(t, files);
    const openssl = await opensslServer(t, files);
    const plain = await startBackend(t, 'plain');
    const dst = `sni:www.example.com=${node}:other.example=${openssl}:default=${plain.port}`;
    await grace.ok('start', '--access-log', access, '--access-log-format', 'json', src, dst);
    const port = await grace.port(src);
    const www = { servername: 'www.example.com', ca: readFileSync(files.root), ALPNProtocols: ['http/1.1'] };
    const other = { servername: 'other.example', ca: readFileSync(files.otherCert) };

    const first = await secure(t, port, www);
    assert.equal(first.alpnProtocol, 'http/1.1');
    await said(first, 'hello', 'hello');
    const second = await secure(t, port, other);
    await said(second, 'hello', 'olleh');
    const ssh = connect(port, '127.0.0.1');
    ssh.write('SSH-2.0-x\r\n');
    assert.equal(String((await once(ssh, 'data'))[0]).split('\n')[0], 'plain');
    ssh.destroy();
    const rowsOf = (rows: ConnectionRow[]) =>
      rows.map(({ serverName, to }) => `${String(serverName)} ${String(to)}`).sort();
    const expected = [`other.example tcp:127.0.0.1:${openssl}`, `www.example.com tcp:127.0.0.1:${node}`];
    await until('the two are left', async () => (await grace.connections()).length === 2);
    assert.deepEqual(rowsOf(await grace.connections()), expected);
    assert.match(await grace.ok('ls', '--connections'), /for www\.example\.com +tcp:127\.0\.0\.1:/);

    const half = connect(port, '127.0.0.1');
    const hello = rawHello({ name: 'nobody.example' });
    half.write(hello.subarray(0, 40));
    await until('it is listened to', async () => (await grace.connections()).length === 3);
    await grace.ok('restart');
    half.write(hello.subarray(40));
    let bytes = Buffer.alloc(0);
    half.on('data', (chunk: Buffer) => (bytes = Buffer.concat([bytes, chunk])));
    await until('the default has every byte of it', () => bytes.includes(hello));
    half.destroy();
    await said(first, 'again', 'again');
    await said(second, 'again', 'niaga');
    await until('the two are left', async () => (await grace.connections()).length === 2);
    const rows = await grace.connections();
    assert.deepEqual(rowsOf(rows), expected);
    const { pid } = await grace.status();
    if (moves) for (const row of rows) assert.equal(row.pid, pid);
    await said(await secure(t, port, www), 'new', 'new');
    first.destroy();
    const lines = () => (existsSync(access) ? readFileSync(access, 'utf8').split('\n').slice(0, -1) : []);
    const parsed = () => lines().map((text) => JSON.parse(text) as Record<string, unknown>);
    const find = () => parsed().find(({ serverName }) => serverName === 'www.example.com');
    await until('its line is written', () => find() !== undefined);
    const line = find();
    assert.equal(line?.['to'], `tcp:127.0.0.1:${node}`);
    assert.equal(line?.['dst'], dst);

    await kill(pid);
    await said(await secure(t, port, www), 'back', 'back');
  },
);

test('a switch changes all destinations at once, when each of them accepts', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const files = pemFiles(t);
  const node = await nodeServer(t, files);
  const openssl = await opensslServer(t, files);
  await grace.ok('start', src, `sni:www.example.com=${node}`);
  const port = await grace.port(src);
  const www = { servername: 'www.example.com', ca: readFileSync(files.root) };
  const kept = await secure(t, port, www);
  await assert.rejects(secure(t, port, { servername: 'other.example' }), /unrecognized.name/i);
  await assert.rejects(secure(t, port, { servername: '' }), /unrecognized.name/i);
  const metrics = await grace.ok('metrics');
  assert.match(metrics, /^grace_connection_ends_total\{[^}]*reason="unknown-name"[^}]*\} 2$/m);

  const dead = `sni:www.example.com=${node}:other.example=${ownLoopback}\\:1`;
  const refused = await grace.run('switch', src, dead);
  assert.equal(refused.code, 5, refused.stderr);
  assert.match(refused.stderr, new RegExp(`cannot connect to tcp:${ownLoopback}:1`));
  await grace.ok('switch', src, `sni:other.example=${openssl}:www.example.com=${node}`);
  // The same in another order is the same.
  await grace.ok('switch', src, `sni:WWW.example.com.=${node}:other.example=tcp\\:127.0.0.1\\:${openssl}`);
  await said(await secure(t, port, { servername: 'other.example', ca: readFileSync(files.otherCert) }), 'ab', 'ba');
  await said(kept, 'kept', 'kept');
  const rows = await grace.ls();
  assert.deepEqual(
    rows.map(({ active, connections }) => [active, connections]),
    [
      [true, 1],
      [false, 1],
    ],
  );
  await grace.ok('hold', src);
  const waiting = connectTls({ port, host: '127.0.0.1', ...www });
  const shaken = once(waiting, 'secureConnect');
  await until('it waits', async () => (await grace.ls())[0]?.waiting === 1);
  await grace.ok('release', src);
  await shaken;
  waiting.destroy();
});

test('a source that ends TLS cannot lead to destinations by name', { timeout }, async (t) => {
  const grace = makeGrace(t);
  const { key, cert } = pemFiles(t);
  const { code, stderr } = await grace.run('start', `ssl:0:privateKey=${key}:certKey=${cert}`, 'sni:a.example=9001');
  assert.equal(code, 2, stderr);
  assert.match(stderr, /ends the TLS by which sni chooses/);
});
