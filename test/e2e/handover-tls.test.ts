/** Connections with TLS move at a restart of the built executable, and nobody at their other ends notices. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import tls from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { PemFiles } from '../endpoint/pem.ts';
import { readAll, readBytes } from '../engine/peers.ts';
import { until } from '../until.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles, stays } from './pem-files.ts';
import { gone, killChild } from './processes.ts';

const skip = (process.platform !== 'linux' || runtime === 'deno') && 'TLS moves with the native engine of Node alone';
const options = { timeout: 120_000, skip };
const restarts = 2;

function sourceOf(pem: PemFiles, extras = ''): string {
  return `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}${extras}`;
}

/** A server whose sockets the test has, each when it comes. */
async function openQuiet(t: TestContext): Promise<{ endpoint: string; next: () => Promise<Socket> }> {
  const server = net.createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return {
    endpoint: `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`,
    async next() {
      const [socket] = (await once(server, 'connection')) as [Socket];
      socket.on('error', () => {});
      t.after(() => socket.destroy());
      return socket;
    },
  };
}

/** A way to a port on which only the beginning of what one client says goes on, until the rest is released. */
async function openHold(t: TestContext, port: number) {
  const { promise: holds, resolve } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const server = net.createServer({ allowHalfOpen: true }, async (from) => {
    const onward = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [from, onward]) {
      socket.on('error', () => {});
      t.after(() => socket.destroy());
    }
    const [hello] = (await once(from, 'data')) as [Buffer];
    from.pause();
    onward.write(hello.subarray(0, 20), () => resolve());
    await released;
    onward.write(hello.subarray(20));
    from.pipe(onward).pipe(from);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, holds, release };
}

async function connect(t: TestContext, port: number, ca: Buffer, more: tls.ConnectionOptions = {}): Promise<TLSSocket> {
  const carrier = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const socket = tls.connect({ socket: carrier, servername: 'www.example.com', ca, ...more });
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

/** A daemon that serves one source with TLS, whose destination's sockets the test has. */
async function startQuiet(t: TestContext, extras = '') {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const quiet = await openQuiet(t);
  const src = sourceOf(pem, extras);
  await grace.ok('start', src, quiet.endpoint);
  return { grace, pem, quiet, src, port: await grace.port(src) };
}

test('idle and half-closed connections with TLS move, and one whose keys change all the time', options, async (t) => {
  const { grace, pem, quiet, port } = await startQuiet(t);
  const ca = readFileSync(pem.root);
  const pair = async () => {
    const peer = quiet.next();
    return { client: await connect(t, port, ca), peer: await peer };
  };
  const idle = await pair();
  const clientEnded = await pair();
  clientEnded.client.end('the client has said all');
  assert.equal(await readAll(clientEnded.peer), 'the client has said all');
  const serverEnded = await pair();
  serverEnded.peer.end('the server has said all');
  assert.equal(await readAll(serverEnded.client), 'the server has said all');
  const openssl = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_3', '-CAfile', pem.root]);
  t.after(() => killChild(openssl));
  const opensslPeer = await quiet.next();
  let errors = '';
  openssl.stderr.on('data', (data: Buffer) => (errors += data.toString('latin1')));
  let printed = '';
  openssl.stdout.on('data', (data: Buffer) => (printed += data.toString('latin1')));
  const sayByOpenssl = async (line: string) => {
    openssl.stdin.write(`${line}\n`);
    assert.equal(await readBytes(opensslPeer, line.length + 1), `${line}\n`);
    opensslPeer.write(`${line} heard\n`);
    await until('openssl has the answer', () => printed.includes(`${line} heard`));
  };
  const changeKeys = async () => {
    const before = errors.split('KEYUPDATE').length;
    openssl.stdin.write('K\n');
    await until('openssl has changed its keys', () => errors.split('KEYUPDATE').length > before);
  };
  await sayByOpenssl('first');
  for (let round = 0; round < restarts; round++) {
    await changeKeys();
    if (round > 0) await sayByOpenssl(`changed ${round}`);
    const { moved, movedTls, draining } = JSON.parse(await grace.ok('restart', '--json')) as Record<string, number>;
    assert.deepEqual([moved, movedTls, draining], [4, 4, 0]);
    await sayByOpenssl(`moved ${round}`);
  }
  idle.client.write('still here');
  assert.equal(await readBytes(idle.peer, 10), 'still here');
  const answer = readAll(clientEnded.client);
  clientEnded.peer.end('and now the server');
  assert.equal(await answer, 'and now the server');
  const late = readAll(serverEnded.peer);
  serverEnded.client.end('and now the client');
  assert.equal(await late, 'and now the client');
  idle.client.end();
  openssl.stdin.end('Q\n');
  await once(openssl, 'exit');
});

test('connections of sources with any option move: names, protocols, client certificates', options, async (t) => {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const quiet = await openQuiet(t);
  const asked = {
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    key: readFileSync(pem.key),
    cert: readFileSync(pem.fullChain),
  };
  const more = `:alpn=h2,http/1.1:clientCA=${pem.root}`;
  const sources = [
    `tls:${pem.pemDir}:0:interface=127.0.0.1:alpn=h2`,
    sourceOf(pem, `${more}:sni=${pem.pemDir}:truncation=reset`),
    sourceOf(pem, `${more}:clientAuth=optional:dhParameters=${pem.dh}`),
  ];
  const pairs: { client: TLSSocket; peer: Socket }[] = [];
  for (const src of sources) {
    await grace.ok('start', src, quiet.endpoint);
    const peer = quiet.next();
    const client = await connect(t, await grace.port(src), readFileSync(pem.root), asked);
    assert.equal(client.alpnProtocol, 'h2');
    pairs.push({ client, peer: await peer });
  }
  for (let round = 0; round < restarts; round++) {
    const { pid } = await grace.status();
    const { moved, movedTls, draining } = JSON.parse(await grace.ok('restart', '--json')) as Record<string, number>;
    assert.deepEqual([moved, movedTls, draining], [3, 3, 0]);
    await gone(pid);
    for (const { client, peer } of pairs) {
      client.write('up');
      assert.equal(await readBytes(peer, 2), 'up');
      peer.write('down');
      assert.equal(await readBytes(client, 4), 'down');
    }
  }
  for (const { client, peer } of pairs) {
    client.end();
    peer.end();
  }
});

test(
  'a client that does not shake hands does not hold up a restart, and stays in the old process',
  options,
  async (t) => {
    const { grace, port } = await startQuiet(t, ':handshakeTimeout=100s');
    const { pid } = await grace.status();
    const silent = net.connect(port, '127.0.0.1');
    silent.on('error', () => {});
    t.after(() => silent.destroy());
    await once(silent, 'connect');
    const { moved, draining, staying } = JSON.parse(await grace.ok('restart', '--json')) as Record<string, unknown>;
    assert.deepEqual([moved, draining], [0, 1]);
    assert.deepEqual(staying, [{ connections: 1, why: 'in a TLS handshake' }]);
    const { at, ...arrival } = (await grace.status()).lastRestart!;
    assert.ok(Date.parse(at) <= Date.now());
    assert.deepEqual(arrival, { moved: 0, movedTls: 0, staying });
    assert.equal((await grace.ls()).find(({ connections }) => connections === 1)?.pid, pid);
    silent.destroy();
    await gone(pid);
  },
);

test(
  'a handshake under way at a restart is finished by the old process, and one that takes too long is cut',
  options,
  async (t) => {
    const { grace, pem, quiet, port } = await startQuiet(t, ':handshakeTimeout=100s');
    const hasty = sourceOf(pem, ':handshakeTimeout=5s:backlog=100');
    await grace.ok('start', hasty, quiet.endpoint);
    const hold = await openHold(t, port);
    const { pid } = await grace.status();
    const peer = quiet.next();
    const client = connect(t, hold.port, readFileSync(pem.root));
    await hold.holds;
    const silent = net.connect(await grace.port(hasty), '127.0.0.1');
    silent.on('error', () => {});
    const cut = new Promise((resolve) => silent.once('close', resolve)); // with a reset
    const { movedTls, draining } = JSON.parse(await grace.ok('restart', '--json')) as Record<string, number>;
    assert.equal(movedTls, 0);
    assert.ok(draining! >= 1, `${draining} stay`);
    hold.release();
    const [socket, other] = [await client, await peer];
    socket.write('hello');
    assert.equal(await readBytes(other, 5), 'hello');
    assert.deepEqual(
      (await grace.connections()).filter(({ state }) => state === 'open').map((row) => row.pid),
      [pid],
    );
    await cut;
    socket.end();
    other.end();
    await gone(pid);
  },
);

test('with GRACE_TLS=portable, and where it asks for more, TLS stays in the old process', options, async (t) => {
  const left = makeGrace(t, { GRACE_TLS: 'portable' });
  const pem = pemFiles(t);
  const ca = readFileSync(pem.root);
  const quiet = await openQuiet(t);
  await left.ok('start', sourceOf(pem), quiet.endpoint);
  const grace = makeGrace(t);
  const src = sourceOf(pem, stays);
  await grace.ok('start', src, quiet.endpoint);
  for (const each of [left, grace]) {
    const peer = quiet.next();
    const client = await connect(t, await each.port(each === grace ? src : sourceOf(pem)), ca);
    const socket = await peer;
    const said = await each.ok('restart');
    const why = '1 of the portable engine (TLS, most often), which moves none';
    assert.ok(said.endsWith(`\n1 open connection will finish in the old process: ${why}\n`), said);
    const told = await each.ok('status');
    assert.ok(told.includes(`\nmoved        0 connections (0 with TLS) at the last restart; 1 stayed: ${why}\n`), told);
    client.write('still here');
    assert.equal(await readBytes(socket, 10), 'still here');
    client.end();
    socket.end();
  }
  assert.match(await left.ok('status'), /TLS by the portable engine: GRACE_TLS=portable/);
});

test(
  'a core of either process, before and after the move, has none of the secrets',
  { ...options, skip: skip || noGcore() },
  async (t) => {
    const { grace, quiet, port } = await startQuiet(t, ':handshakeTimeout=100s');
    const secrets: Buffer[] = [];
    const peer = quiet.next();
    const client = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
    t.after(() => client.destroy());
    client.on('error', () => {});
    client.on('keylog', (line: Buffer) => {
      const [label = '', , secret = ''] = line.toString('latin1').trim().split(' ');
      if (label.endsWith('TRAFFIC_SECRET_0')) secrets.push(Buffer.from(secret, 'hex'));
    });
    await once(client, 'secureConnect');
    const socket = await peer;
    client.write('hello');
    assert.equal(await readBytes(socket, 5), 'hello');
    assert.equal(secrets.length, 2);
    const look = (pid: number) => {
      const prefix = join(tmpdir(), `grace-core-${process.pid}`);
      execFileSync('gcore', ['-o', prefix, String(pid)], { stdio: 'ignore' });
      const core = readFileSync(`${prefix}.${pid}`);
      rmSync(`${prefix}.${pid}`);
      assert.ok(core.length > 0);
      for (const secret of secrets)
        for (const form of [secret, Buffer.from(secret.toString('hex'))]) assert.ok(!core.includes(form));
    };
    const { pid } = await grace.status();
    look(pid);
    // So that it does not end when its last connection has moved.
    const stay = net.connect(port, '127.0.0.1');
    stay.on('error', () => {});
    t.after(() => stay.destroy());
    await until('both are counted', async () => (await grace.ls())[0]?.connections === 2);
    const { movedTls } = JSON.parse(await grace.ok('restart', '--json')) as Record<string, number>;
    assert.equal(movedTls, 1);
    look(pid);
    look((await grace.status()).pid);
    client.write('there');
    assert.equal(await readBytes(socket, 5), 'there');
  },
);

function noGcore(): string | false {
  try {
    execFileSync('gcore', ['--version'], { stdio: 'ignore' });
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gcore is not installed' : false;
  }
}
