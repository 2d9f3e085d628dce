/** Programs with TLS of other make, whose connections move at restarts of the built executable in the middle of what they stream. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Writable } from 'node:stream';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { PemFiles } from '../endpoint/pem.ts';
import { until } from '../until.ts';
import { makeGrace, root, runtime } from './grace.ts';
import type { Grace } from './grace.ts';
import { pemFiles } from './pem-files.ts';
import { gone, killChild } from './processes.ts';

const isNative = process.platform === 'linux' && runtime !== 'deno';
const isThere = (command: string, ...args: string[]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
const needs = (command: string, ...args: string[]) => ({
  timeout: 180_000,
  skip: isNative
    ? !isThere(command, ...args) && `${command} is not installed`
    : 'TLS moves with the native engine of Node alone',
});
const restarts = 2;
/** That have to come through after a restart before the next. */
const bytesBetween = 300_000;
const javaBytes = 20_000_000;

type Setting = { grace: Grace; pem: PemFiles; port: number };

/** A daemon that serves a source with TLS in front of a server of this process. */
async function startBefore(t: TestContext, server: net.Server): Promise<Setting> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const src = `ssl:0:interface=127.0.0.1:privateKey=${pem.key}:certKey=${pem.fullChain}`;
  await grace.ok('start', src, `tcp:127.0.0.1:${(server.address() as AddressInfo).port}`);
  return { grace, pem, port: await grace.port(src) };
}

/** Restart while bytes flow, of which `progress` tells how many there were. */
async function restartInStream({ grace }: Setting, progress: () => number): Promise<void> {
  const flowing = async () => {
    const before = progress();
    await until('bytes have come through', () => progress() >= before + bytesBetween);
  };
  await flowing();
  for (let round = 0; round < restarts; round++) {
    const { pid } = await grace.status();
    const { moved, movedTls, draining } = JSON.parse(await grace.ok('restart', '--json')) as Record<string, number>;
    assert.deepEqual([moved, movedTls, draining], [1, 1, 0]);
    await gone(pid);
    await flowing();
  }
}

type Program = ChildProcessByStdio<Writable, Readable, Readable>;

function run(t: TestContext, command: string, args: readonly string[]): { child: Program; errors: () => string } {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  t.after(() => killChild(child));
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.stdin.on('error', () => {}); // it has ended, and its errors say why
  return { child, errors: () => errors };
}

type Written = { stop(): void; readonly length: number; digest: Promise<string> };

/** Write a text of which no part is like another, as it is taken, until `stop`; then its digest is known. */
function writeText(to: Writable): Written {
  const hash = createHash('sha256');
  let length = 0;
  let isStopped = false;
  const pieces = function* () {
    for (let number = 0; !isStopped; number++) {
      const piece = `${createHmac('sha512', 'text').update(`${number}`).digest('hex').repeat(8)}\n`.repeat(8);
      hash.update(piece);
      length += piece.length;
      yield piece;
    }
  };
  const source = Readable.from(pieces());
  source.pipe(to, { end: false });
  return {
    stop: () => (isStopped = true),
    get length() {
      return length;
    },
    digest: once(source, 'end').then(() => hash.digest('hex')),
  };
}

/** What has come by a stream so far, and its digest at the end. */
function digestOf(from: Readable): { readonly length: number; digest(): string } {
  const hash = createHash('sha256');
  let length = 0;
  from.on('data', (data: Buffer) => {
    hash.update(data);
    length += data.length;
  });
  return {
    get length() {
      return length;
    },
    digest: () => hash.digest('hex'),
  };
}

type Echo = { server: net.Server; readonly bytes: number; hurry(): void };

/** Echoes at a leisurely pace, until it is to hurry: what it is sent is to last for some restarts. */
function openEcho(): Echo {
  let bytes = 0;
  let isSlow = true;
  const server = net.createServer({ allowHalfOpen: true }, (socket: Socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (data: Buffer) => {
      bytes += data.length;
      socket.write(data);
      if (!isSlow) return;
      socket.pause();
      setTimeout(() => socket.resume(), data.length / 1500);
    });
    socket.on('end', () => socket.end());
  });
  return {
    server,
    get bytes() {
      return bytes;
    },
    hurry: () => (isSlow = false),
  };
}

for (const version of ['1.3', '1.2']) {
  test(
    `GnuTLS streams to an echo and back over restarts, TLS ${version}`,
    needs('gnutls-cli', '--version'),
    async (t) => {
      const echo = openEcho();
      const setting = await startBefore(t, echo.server);
      const { pem, port, grace } = setting;
      const args = ['--x509cafile', pem.root, '--verify-hostname', 'www.example.com', '-p', String(port), '127.0.0.1'];
      const log = join(pem.dir, 'gnutls.log'); // else it is among what it receives
      const priority = `NORMAL:-VERS-ALL:+VERS-TLS${version}`;
      const { child, errors } = run(t, 'gnutls-cli', [...args, '--logfile', log, '--priority', priority]);
      const came = digestOf(child.stdout);
      const written = writeText(child.stdin);
      await restartInStream(setting, () => came.length);
      assert.equal((await grace.connections())[0]?.tls?.version, `TLSv${version}`);
      written.stop();
      echo.hurry();
      const digest = await written.digest;
      await until('all has come back', () => came.length >= written.length || child.exitCode !== null);
      child.stdin.end();
      await once(child, 'close');
      assert.deepEqual([came.digest(), errors()], [digest, '']);
    },
  );
}

function curlTo({ pem, port }: Setting, ...more: readonly string[]): string[] {
  const url = `https://www.example.com:${port}/`;
  const args = ['-sS', '--no-buffer', '--limit-rate', '3M', '--cacert', pem.root, ...more];
  return [...args, '--resolve', `www.example.com:${port}:127.0.0.1`, url];
}

test('curl downloads over restarts, TLS 1.3', needs('curl', '--version'), async (t) => {
  let written: Written | null = null;
  const server = http.createServer((_, response) => {
    written = writeText(response);
    void written.digest.then(() => response.end());
  });
  const setting = await startBefore(t, server);
  const { child, errors } = run(t, 'curl', curlTo(setting, '--tlsv1.3'));
  const came = digestOf(child.stdout);
  await restartInStream(setting, () => came.length);
  written!.stop();
  await once(child, 'close');
  assert.deepEqual([came.digest(), errors()], [await written!.digest, '']);
});

test('curl uploads over restarts, TLS 1.2', needs('curl', '--version'), async (t) => {
  let came: ReturnType<typeof digestOf> | null = null;
  const server = http.createServer((request, response) => {
    came = digestOf(request);
    request.once('end', () => response.end(came!.digest()));
  });
  const setting = await startBefore(t, server);
  const { child, errors } = run(t, 'curl', curlTo(setting, '--tls-max', '1.2', '-T', '-'));
  const answer = once(child.stdout, 'data');
  const written = writeText(child.stdin);
  await restartInStream(setting, () => came?.length ?? 0);
  written.stop();
  const digest = await written.digest;
  child.stdin.end();
  await once(child, 'close');
  assert.deepEqual([String(await answer), errors()], [digest, '']);
});

for (const suite of ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']) {
  test(`Java changes its keys all the time over restarts, ${suite}`, needs('javac', '-version'), async (t) => {
    const echo = openEcho();
    const setting = await startBefore(t, echo.server);
    const security = join(setting.pem.dir, 'java.security');
    const limit = 'KeyUpdate 2^16';
    writeFileSync(security, `jdk.tls.keyLimits=AES/GCM/NoPadding ${limit}, ChaCha20-Poly1305 ${limit}\n`);
    const program = join(root, 'test/engine/native/tls/fixtures/Echoed.java');
    const properties = `-Djava.security.properties=${security}`;
    const { child, errors } = run(t, 'java', [properties, program, String(setting.port), String(javaBytes), suite]);
    let printed = '';
    child.stdout.on('data', (data: Buffer) => (printed += data.toString()));
    await restartInStream(setting, () => echo.bytes);
    assert.ok(echo.bytes < javaBytes);
    echo.hurry();
    await once(child, 'close');
    assert.deepEqual([printed, errors()], ['every byte\n', '']);
  });
}
