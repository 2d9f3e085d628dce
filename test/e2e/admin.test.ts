/** What the daemon answers over HTTP (--admin), to whom, and that nobody is refused while it is replaced. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import type { RequestOptions } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { talkByOpenssl } from '../openssl-client.ts';
import { until } from '../until.ts';
import { openClient, startBackend } from './backend.ts';
import { makeGrace, ownLoopback, runtime } from './grace.ts';
import type { Grace } from './grace.ts';
import { kill } from './processes.ts';

const options = { timeout: 120_000 };
const src = 'tcp:0:interface=127.0.0.1';
const admin = 'tcp:0:interface=127.0.0.1';
const token = '0123456789abcdef0123';

type Reply = { status: number; text: string; headers: Record<string, string | string[] | undefined> };

/** One request over a connection of its own. */
function ask(where: RequestOptions, path = '/healthz', { isTls = false } = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const asked = (isTls ? requestTls : request)({ host: '127.0.0.1', agent: false, path, ...where }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text, headers: response.headers }));
    });
    asked.on('error', reject).end();
  });
}

async function adminPort(grace: Grace): Promise<number> {
  return Number(/:([0-9]+)$/.exec((await grace.status()).admin ?? '')?.[1]);
}

function tempDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'grace-admin-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function writeToken(t: TestContext, text = `${token}\n`, mode = 0o600): string {
  const file = join(tempDir(t), 'token');
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

test('the same JSON as the commands have, health, a page, and nothing but GET and HEAD', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  await grace.ok('start', '--admin', admin, src, backend.endpoint);
  const port = await adminPort(grace);
  const client = await openClient(t, { port: await grace.port(src) });
  await client.line();
  assert.deepEqual(JSON.parse((await ask({ port }, '/api/ls')).text), await grace.ls());
  const { uptimeMs: _, memoryBytes: _memory, ...status } = JSON.parse((await ask({ port }, '/api/status')).text);
  const { uptimeMs: __, memoryBytes: __memory, ...printed } = await grace.status();
  assert.deepEqual(status, printed);
  const metrics = await ask({ port }, '/metrics');
  assert.equal(metrics.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  assert.match(metrics.text, /^grace_connections\{.*\} 1$/m);
  for (const path of ['/healthz', '/readyz']) assert.deepEqual((await ask({ port }, path)).text, 'ok\n', path);
  const page = await ask({ port }, '/');
  assert.match(page.text, /^<!doctype html>/);
  assert.match(
    String(page.headers['content-security-policy']),
    /^default-src 'none'; style-src 'sha256-[^;]+; script-src/,
  );
  assert.equal(page.headers['x-content-type-options'], 'nosniff');
  assert.equal(page.headers['cache-control'], 'no-store');
  const posted = await ask({ port, method: 'POST' }, '/api/ls');
  assert.equal(posted.status, 405);
  assert.equal(posted.headers.allow, 'GET, HEAD');
  const head = await ask({ port, method: 'HEAD' });
  assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '3']);
  assert.equal((await ask({ port }, '/etc/passwd')).status, 404);
  assert.deepEqual(
    JSON.parse((await ask({ port }, '/api/events')).text).map(({ kind }: { kind: string }) => kind),
    ['start', 'rule'],
  );
});

test('a stranger whose name leads to this machine is not answered', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  await grace.ok('start', '--admin', admin, src, backend.endpoint);
  const port = await adminPort(grace);
  for (const [host, status] of [
    ['evil.example', 421],
    ['evil.example:80', 421],
    ['127.0.0.1.evil.example', 421],
    ['localhost', 200],
    [`[::1]:${port}`, 200],
  ] as const)
    assert.equal((await ask({ port, headers: { host } }, '/api/ls')).status, status, host);
});

test(
  'a rule that is not served is 503 with the reason, the announced end is not ready, and the end is 503',
  options,
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'backend');
    const taken = createServer().listen(0, ownLoopback);
    await once(taken, 'listening');
    t.after(() => void taken.close());
    const { port: busy } = taken.address() as AddressInfo;
    const stored = [{ src: `tcp:${busy}:interface=${ownLoopback}`, dst: backend.endpoint }].map(
      ({ src: from, dst }) => ({
        src: { typed: from, absolute: from },
        dst: { typed: dst, absolute: dst },
      }),
    );
    const daemon = grace.spawn('daemon', '--admin', admin, `${stored[0]!.src.typed}=${backend.endpoint}`);
    await until('it serves', async () => (await grace.run('status')).code === 0);
    const port = await adminPort(grace);
    const health = await ask({ port });
    assert.equal(health.status, 503);
    assert.match(health.text, new RegExp(`^tcp:${busy}:.* is not served: .*address already in use`));
    assert.equal((await ask({ port }, '/readyz')).status, 503);
    taken.close();
    await until('it is tried again', async () => (await ask({ port })).status === 200);
    const client = await openClient(t, { port: busy, host: ownLoopback });
    await client.line();
    const stopping = grace.spawn('stop', '--announce', '2s');
    await until('it is announced', async () => (await ask({ port }, '/readyz')).status === 503);
    assert.equal((await ask({ port })).status, 200); // it serves on
    await until('it stops', async () => (await ask({ port })).text === 'the daemon is stopping\n');
    await client.end();
    assert.equal((await stopping.ended).code, 0);
    await daemon.ended;
    await assert.rejects(ask({ port }), /ECONNREFUSED/);
  },
);

test('no request is refused over restarts, and the successor goes on with the events', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  await grace.ok('start', '--admin', admin, src, backend.endpoint);
  const port = await adminPort(grace);
  let isOver = false;
  let asked = 0;
  const asking = Promise.all(
    ['/healthz', '/api/ls', '/metrics'].map(async (path) => {
      while (!isOver) {
        const { status, text } = await ask({ port }, path);
        assert.equal(status, 200, text);
        asked++;
      }
    }),
  );
  for (let times = 0; times < 3; times++) await grace.ok('restart');
  isOver = true;
  await asking;
  t.diagnostic(`${asked} requests`);
  assert.equal(await adminPort(grace), port);
  const events: { kind: string; pid: number }[] = JSON.parse((await ask({ port }, '/api/events')).text);
  assert.deepEqual(
    events.map(({ kind }) => kind).filter((kind) => kind !== 'restart'),
    ['start', 'rule'],
  );
  assert.equal(new Set(events.map(({ pid }) => pid)).size, 4);
});

test('a restart that fails leaves it as it was and is an event', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  await grace.ok('start', '--admin', admin, src, backend.endpoint);
  const port = await adminPort(grace);
  assert.equal((await grace.run('restart', '--exec', '/bin/true')).code, 1);
  const events: { kind: string; detail?: string }[] = JSON.parse((await ask({ port }, '/api/events')).text);
  assert.equal(events.at(-1)?.kind, 'rollback');
});

test(
  'a request that comes after a crash waits for the next daemon, on the same socket',
  { ...options, skip: runtime === 'executable' ? false : 'the keeper is the same everywhere' },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'backend');
    await grace.ok('start', '--admin', admin, src, backend.endpoint);
    const port = await adminPort(grace);
    await kill((await grace.status()).pid);
    assert.equal((await ask({ port })).text, 'ok\n');
    const events: { kind: string }[] = JSON.parse((await ask({ port }, '/api/events')).text);
    assert.deepEqual(events[0]?.kind, 'crash');
  },
);

test("a Unix socket is the owner's alone unless it is given a mode, and is gone after the end", options, async (t) => {
  const dir = tempDir(t);
  for (const [given, mode] of [
    ['', 0o600],
    [':mode=666', 0o666],
  ] as const) {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'backend');
    const socketPath = join(dir, `a${mode}.sock`);
    await grace.ok('start', '--admin', `unix:${socketPath}${given}`, src, backend.endpoint);
    assert.equal(statSync(socketPath).mode & 0o777, mode);
    assert.equal((await ask({ socketPath })).text, 'ok\n');
    await grace.ok('stop');
    assert.equal(existsSync(socketPath), false);
  }
});

test('an address that others reach takes a token, which is compared and never shown', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  const file = writeToken(t);
  await grace.ok('start', '--admin', 'tcp:0', '--admin-token', file, src, backend.endpoint);
  const port = await adminPort(grace);
  const asked = (authorization: string | undefined, path = '/api/ls') =>
    ask({ port, headers: { host: 'grace.example', ...(authorization === undefined ? {} : { authorization }) } }, path);
  assert.equal((await asked(`Bearer ${token}`)).status, 200);
  for (const wrong of [undefined, 'Bearer', `Bearer ${token}x`, `Bearer ${token.slice(1)}`, `Basic ${token}`]) {
    const { status, headers } = await asked(wrong);
    assert.deepEqual([status, headers['www-authenticate']], [401, 'Bearer realm="grace"'], String(wrong));
  }
  for (const path of ['/', '/healthz', '/readyz']) assert.equal((await asked(undefined, path)).status, 200, path);
  for (const path of ['/api/status', '/api/events', '/metrics', '/other'])
    assert.equal((await asked(undefined, path)).status, 401);
  writeFileSync(file, `${token}-renewed`);
  process.kill(Number(readFileSync(join(grace.dir, 'grace.pid'), 'utf8')), 'SIGHUP');
  await until('it is read again', async () => (await asked(`Bearer ${token}-renewed`)).status === 200);
  assert.equal((await asked(`Bearer ${token}`)).status, 401);
  assert.ok(!grace.log().includes(token));
  assert.ok(!execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).includes(token));
});

test(
  'without its token a restart fails, and a daemon that crashed serves its rules all the same',
  { ...options, skip: runtime === 'executable' ? false : 'the keeper is the same everywhere' },
  async (t) => {
    const grace = makeGrace(t);
    const backend = await startBackend(t, 'backend');
    const file = writeToken(t);
    await grace.ok('start', '--admin', admin, '--admin-token', file, src, backend.endpoint);
    const port = await adminPort(grace);
    rmSync(file);
    const { code, stderr } = await grace.run('restart');
    assert.equal(code, 1);
    assert.match(stderr, /^grace: cannot restart: .*token.*: file not found/);
    assert.equal((await ask({ port })).status, 200);
    await kill((await grace.status()).pid);
    const client = await openClient(t, { port: await grace.port(src) });
    assert.equal(await client.line(), 'backend');
    await until('it is told', async () =>
      /--admin.*file not found/.test((await grace.ok('status')).replace(/\n/g, ' ')),
    );
    writeFileSync(file, token, { mode: 0o600 });
    await until('it is tried again', async () => (await grace.status()).admin !== undefined);
    assert.equal((await ask({ port: await adminPort(grace) })).status, 200);
  },
);

test('TLS with certificates of clients', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  const { pair, clientPair, ca } = makeCertificates(tempDir(t));
  await grace.ok('start', '--admin', `ssl:0:privateKey=${pair}:clientCA=${ca}`, src, backend.endpoint);
  const port = await adminPort(grace);
  const [trusted, own] = [readFileSync(ca), readFileSync(clientPair)];
  const withCertificate = { port, ca: trusted, cert: own, key: own, servername: 'localhost' };
  assert.equal((await ask(withCertificate, '/api/ls', { isTls: true })).status, 200);
  await assert.rejects(ask({ port, ca: trusted, servername: 'localhost' } as RequestOptions, '/', { isTls: true }));
  await grace.ok('restart');
  assert.equal((await ask(withCertificate, '/api/ls', { isTls: true })).status, 200);
  assert.equal((await ask({ port }).catch(() => ({ status: 0 }))).status, 0); // no plain HTTP
});

test('a session of TLS from elsewhere does not do without a certificate', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  const dir = tempDir(t);
  const { pair, clientPair, ca } = makeCertificates(dir);
  const open = `ssl:0:interface=127.0.0.1:privateKey=${pair}`;
  await grace.ok('start', '--admin', `ssl:0:privateKey=${pair}:clientCA=${ca}`, open, backend.endpoint);
  const port = await adminPort(grace);
  const session = join(dir, 'session');
  const say = 'GET /api/ls HTTP/1.1\r\nHost: localhost\r\n\r\n';
  const hear = (at: number, awaited: RegExp, args: readonly string[]) =>
    talkByOpenssl(at, { say, awaited, args: ['-servername', 'localhost', ...args] });
  const answer = /HTTP\/1\.1 200 /;
  assert.match(await hear(await grace.port(open), /backend/, ['-sess_out', session]), /backend/);
  assert.doesNotMatch(await hear(port, answer, ['-sess_in', session]), answer);
  const identity = ['-key', clientPair, '-cert', clientPair];
  assert.match(await hear(port, answer, [...identity, '-sess_out', session]), answer);
  const again = await hear(port, answer, [...identity, '-sess_in', session]);
  assert.match(again, answer);
  assert.match(again, /^Reused, /m);
});

function makeCertificates(dir: string): { pair: string; clientPair: string; ca: string } {
  const at = (name: string) => join(dir, name);
  const run = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  run('req', '-x509', ...key, '-keyout', at('ca.key'), '-out', at('ca.pem'), '-subj', '/CN=ca', '-days', '30');
  for (const name of ['localhost', 'client']) {
    const san = ['-addext', `subjectAltName=DNS:${name}`];
    run('req', ...key, '-keyout', at(`${name}.key`), '-out', at(`${name}.csr`), '-subj', `/CN=${name}`, ...san);
    const from = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-copy_extensions', 'copy'];
    run('x509', '-req', '-in', at(`${name}.csr`), ...from, '-out', at(`${name}.crt`), '-days', '30');
    writeFileSync(at(`${name}.pem`), readFileSync(at(`${name}.key`), 'utf8') + readFileSync(at(`${name}.crt`), 'utf8'));
  }
  return { pair: at('localhost.pem'), clientPair: at('client.pem'), ca: at('ca.pem') };
}

test('what is wrong with it is one line, and nothing starts', options, async (t) => {
  const grace = makeGrace(t);
  const readable = writeToken(t, token, 0o644);
  for (const [args, message] of [
    [['daemon', '--admin', 'tcp:9900'], /--admin tcp:9900 is reached from other machines/],
    [['start', '--admin', admin, '--admin-token', readable, src, 'tcp:127.0.0.1:1'], /others may read or change it/],
    [
      ['daemon', '--admin', admin, '--admin-token', '/dev/null'],
      /^grace: --admin-token "\/dev\/null": a device, not a file\n/,
    ],
  ] as const) {
    const { code, stderr } = await grace.run(...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
    assert.match(stderr, /^grace: [^\n]*\nhint: [^\n]*\n$/);
    assert.ok(!stderr.includes(token));
  }
  assert.equal((await grace.run('status')).code, 3);
});

test('an address that is taken: the first start fails, and a running daemon is told of', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  const taken = createServer().listen(0, ownLoopback);
  await once(taken, 'listening');
  t.after(() => void taken.close());
  const where = `tcp:${(taken.address() as AddressInfo).port}:interface=${ownLoopback}`;
  const refused = await grace.run('start', '--admin', where, src, backend.endpoint);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^grace: --admin: cannot listen on .*: address already in use/);
  assert.equal((await grace.run('status')).code, 3);
  await grace.ok('start', src, backend.endpoint);
  const { code, stderr } = await grace.run('start', '--admin', admin, src, backend.endpoint);
  assert.equal(code, 0);
  assert.match(stderr, /the daemon runs already, without --admin/);
});

test('clients that say nothing, or too slowly, or are many, keep nobody out', options, async (t) => {
  const grace = makeGrace(t);
  const backend = await startBackend(t, 'backend');
  await grace.ok('start', '--admin', admin, src, backend.endpoint);
  const port = await adminPort(grace);
  const silent = Array.from({ length: 100 }, () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    t.after(() => void socket.destroy());
    return socket;
  });
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  silent.at(-1)!.write('GET /healthz HTTP/1.1\r\nHost: ');
  assert.equal((await ask({ port })).status, 200);
  await until('all are ended', () => silent.every(({ destroyed, readableEnded }) => destroyed || readableEnded));
  const bad = connect(port, '127.0.0.1', () => bad.write('no HTTP\r\n\r\n'));
  bad.on('error', () => {});
  bad.resume();
  await once(bad, 'close');
  assert.equal((await ask({ port })).status, 200);
});
