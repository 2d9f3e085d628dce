/** What the memory of a daemon still has of the keys of a connection that has ended, or moved to another process. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, readSync, readdirSync, statSync } from 'node:fs';
import net from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import tls from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { readAll, readBytes } from '../engine/peers.ts';
import { until } from '../until.ts';
import { makeGrace, runtime } from './grace.ts';
import { pemFiles } from './pem-files.ts';

const skip =
  (process.platform !== 'linux' || runtime === 'deno' || process.getuid?.() !== 0) &&
  'only root on Linux may look, and there is something to see with the native engine of Node alone';
const options = { timeout: 120_000, skip };

/** What is secret of a connection, by name. */
type Needles = Map<string, Buffer>;

/** HKDF-Expand-Label of TLS 1.3 without a context (RFC 8446, section 7.1). */
function expand(secret: Buffer, label: string, size: number): Buffer {
  const text = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.of(0, size, text.length), text, Buffer.of(0, 1)]);
  return createHmac(secret.length === 48 ? 'sha384' : 'sha256', secret)
    .update(info)
    .digest()
    .subarray(0, size);
}

const PAGE = 4096;
/** Pages that are read at once at most, each with the end of those before. */
const PAGES = 2048;
const LONGEST = 128;

/** Which pages of a mapping there are, as first and behind the last: most of what is mapped has never been touched (proc_pid_pagemap(5)). */
function* runsOf(pagemap: number, from: number, to: number): Generator<[number, number]> {
  const entries = Buffer.alloc(8 * (to - from));
  const length = readSync(pagemap, entries, 0, entries.length, 8 * from);
  let start = -1;
  for (let page = from; page <= to; page++) {
    const isThere = page < to && 8 * (page - from) < length && entries[8 * (page - from) + 7]! >> 6 !== 0;
    if (isThere && start === -1) start = page;
    const isFull = start !== -1 && page - start === PAGES;
    if (start === -1 || (isThere && !isFull)) continue;
    yield [start, page];
    start = isThere ? page : -1;
  }
}

/** What of this is in the memory of a process that can be written to, and how often. */
function find(pid: number, needles: Needles): Record<string, number> {
  const found: Record<string, number> = {};
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  const chunk = Buffer.alloc(LONGEST + PAGES * PAGE);
  const pageOf = (address: string) => Number(BigInt(`0x${address}`) / BigInt(PAGE));
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
      const [, from = '', to = '', rights = ''] = /^([0-9a-f]+)-([0-9a-f]+) (....)/.exec(line) ?? [];
      if (!rights.startsWith('rw')) continue;
      let before = -1;
      for (const [first, behind] of runsOf(pagemap, pageOf(from), pageOf(to))) {
        // What lies across two runs is looked for too.
        const kept = first === before ? LONGEST : 0;
        if (kept > 0) chunk.copyWithin(0, PAGES * PAGE, LONGEST + PAGES * PAGE);
        let length = 0;
        try {
          length = readSync(memory, chunk, LONGEST, (behind - first) * PAGE, BigInt(first) * BigInt(PAGE));
        } catch {
          continue; // it has been given back since
        }
        before = behind;
        const bytes = chunk.subarray(LONGEST - kept, LONGEST + length);
        for (const [name, needle] of needles)
          for (let at = bytes.indexOf(needle); at !== -1; at = bytes.indexOf(needle, at + 1))
            if (kept === 0 || at + needle.length > kept) found[name] = (found[name] ?? 0) + 1;
      }
    }
  } finally {
    closeSync(memory);
    closeSync(pagemap);
  }
  return found;
}

type Known = { client: TLSSocket; peer: Socket; needles: Needles };

class Scene {
  readonly grace;
  readonly #pem;
  readonly #server = net.createServer({ allowHalfOpen: true });
  readonly #t: TestContext;
  port = 0;

  constructor(t: TestContext) {
    this.#t = t;
    this.grace = makeGrace(t);
    this.#pem = pemFiles(t);
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#t.after(() => this.#server.close());
    const src = `ssl:0:interface=127.0.0.1:handshakeTimeout=100s:privateKey=${this.#pem.key}:certKey=${this.#pem.fullChain}`;
    await this.grace.ok('start', src, `tcp:127.0.0.1:${(this.#server.address() as net.AddressInfo).port}`);
    this.port = await this.grace.port(src);
  }

  /** A connection over which bytes went both ways, and what is secret of it. */
  async connect(extras: ConnectionOptions): Promise<Known> {
    const coming = once(this.#server, 'connection') as Promise<[Socket]>;
    const needles: Needles = new Map();
    const client = tls.connect({ port: this.port, host: '127.0.0.1', rejectUnauthorized: false, ...extras });
    client.on('error', () => {});
    this.#t.after(() => client.destroy());
    client.on('keylog', (line: Buffer) => {
      const [label = '', , text = ''] = line.toString('latin1').trim().split(' ');
      const isMaster = label === 'CLIENT_RANDOM';
      if (!isMaster && !label.endsWith('TRAFFIC_SECRET_0')) return;
      const name = isMaster ? 'master secret' : label.startsWith('CLIENT') ? 'secret in' : 'secret out';
      const secret = Buffer.from(text, 'hex');
      const isLong = client.getCipher().name.includes('CHACHA20');
      needles.set(name, secret);
      needles.set(`${name} in hexadecimal`, Buffer.from(text));
      if (!isMaster) needles.set(name.replace('secret', 'key'), expand(secret, 'key', isLong ? 32 : 16));
    });
    await once(client, 'secureConnect');
    const [peer] = await coming;
    peer.on('error', () => {});
    this.#t.after(() => peer.destroy());
    client.write('hello');
    assert.equal(await readBytes(peer, 5), 'hello');
    peer.write('there');
    assert.equal(await readBytes(client, 5), 'there');
    return { client, peer, needles };
  }

  /** Any file of the state dir, and what is said of a process, in which one of these is. */
  leaks(pid: number, needles: Needles): string[] {
    const { dir } = this.grace;
    const files = readdirSync(dir)
      .map((name) => join(dir, name))
      .filter((name) => statSync(name).isFile());
    return [...files, `/proc/${pid}/cmdline`, `/proc/${pid}/environ`].filter((file) => {
      const bytes = readFileSync(file);
      return [...needles.values()].some((needle) => bytes.includes(needle));
    });
  }
}

async function end({ client, peer }: { client: Socket; peer: Socket }): Promise<void> {
  const heard = readAll(peer);
  client.end();
  await heard;
  const said = readAll(client);
  peer.end();
  await said;
}

const kinds: readonly [string, ConnectionOptions][] = [
  ['TLS 1.3', { ciphers: 'TLS_AES_128_GCM_SHA256' }],
  ['TLS 1.3 with ChaCha20', { ciphers: 'TLS_CHACHA20_POLY1305_SHA256' }],
  ['TLS 1.2', { maxVersion: 'TLSv1.2' }],
];

for (const [kind, extras] of kinds)
  test(`${kind}: of a connection that has ended, or moved, a process has no keys in its memory`, options, async (t) => {
    const scene = new Scene(t);
    await scene.start();
    const { grace } = scene;
    const { pid } = await grace.status();
    const told = (what: string, found: Record<string, number>) => t.diagnostic(`${what}: ${JSON.stringify(found)}`);
    const ended = await scene.connect(extras);
    const moved = await scene.connect(extras);
    const open = find(pid, ended.needles);
    told('while it is open', open);
    if (!extras.maxVersion) assert.ok(open['secret in']! >= 1 && open['key out']! >= 1, 'what is there is found');
    await end(ended);
    await until('it is over', async () => (await grace.ls())[0]?.connections === 1);
    const after = find(pid, ended.needles);
    told('when it has ended', after);
    assert.deepEqual(after, {});
    assert.deepEqual(scene.leaks(pid, ended.needles), []);
    // It stays, and so the process does, for which nothing is a reason to give its memory back.
    const stay = net.connect(scene.port, '127.0.0.1');
    stay.on('error', () => {});
    t.after(() => stay.destroy());
    await until('both are counted', async () => (await grace.ls())[0]?.connections === 2);
    assert.match(await grace.ok('restart'), /Moved 1 connection \(1 with TLS\)/);
    const left = find(pid, moved.needles);
    told('in the old process, when it has moved', left);
    assert.deepEqual(left, {});
    const successor = (await grace.status()).pid;
    moved.client.write('again');
    assert.equal(await readBytes(moved.peer, 5), 'again');
    told('in the new process', find(successor, moved.needles));
    await end(moved);
    await until('it is over', async () => (await grace.connections()).every(({ pid: its }) => its !== successor));
    const gone = find(successor, moved.needles);
    told('in the new process, when it has ended', gone);
    assert.deepEqual(gone, {});
    assert.deepEqual(scene.leaks(successor, moved.needles), []);
  });

test('TLS 1.2: of no ticket that was sealed or read the master secret is left', options, async (t) => {
  const scene = new Scene(t);
  await scene.start();
  const { pid } = await scene.grace.status();
  const secrets: Needles = new Map();
  let session: Buffer | undefined;
  for (let round = 0; round < 24; round++) {
    // A full handshake seals one, and one that resumes the session reads it.
    const isResuming = round % 2 === 1;
    const known = await scene.connect({ maxVersion: 'TLSv1.2', ...(isResuming && session && { session }) });
    assert.equal(known.client.isSessionReused(), isResuming);
    session = known.client.getSession();
    // Where it begins, malloc has written over it.
    secrets.set(`master secret ${round}`, known.needles.get('master secret')!.subarray(16));
    await end(known);
    assert.deepEqual(find(pid, secrets), {}, `round ${round}`);
  }
});

test('of connections to a destination no keys are left, of those neither that brought sessions', options, async (t) => {
  const grace = makeGrace(t);
  const pem = pemFiles(t);
  const needles: Needles = new Map();
  const server = tls.createServer({
    key: readFileSync(pem.key),
    cert: readFileSync(pem.fullChain),
    ciphers: 'TLS_AES_256_GCM_SHA384',
    allowHalfOpen: true,
  } as tls.TlsOptions);
  let round = 0;
  server.on('keylog', (line: Buffer) => {
    const [label = '', , text = ''] = line.toString('latin1').trim().split(' ');
    if (!label.endsWith('TRAFFIC_SECRET_0')) return;
    const secret = Buffer.from(text, 'hex');
    needles.set(`${label} ${round}`, secret);
    needles.set(`${label} ${round} in hexadecimal`, Buffer.from(text));
    needles.set(`key of ${label} ${round}`, expand(secret, 'key', 32));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as net.AddressInfo;
  const src = 'tcp:0:interface=127.0.0.1';
  await grace.ok('start', src, `ssl:127.0.0.1:${port}:caCertsDir=${pem.caDir}:hostname=www.example.com`);
  const [listening, { pid }] = [await grace.port(src), await grace.status()];
  for (; round < 6; round++) {
    const coming = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const client = net.connect({ port: listening, host: '127.0.0.1', allowHalfOpen: true });
    t.after(() => client.destroy());
    const [peer] = await coming;
    t.after(() => peer.destroy());
    assert.equal(peer.isSessionReused(), round > 0);
    peer.write('hello');
    assert.equal(await readBytes(client, 5), 'hello');
    client.write('there');
    assert.equal(await readBytes(peer, 5), 'there');
    const open = find(pid, needles);
    t.diagnostic(`while it is open: ${JSON.stringify(open)}`);
    assert.ok(open[`key of SERVER_TRAFFIC_SECRET_0 ${round}`]! >= 1, 'what is there is found');
    await end({ client, peer });
    await until('it is over', async () => (await grace.ls())[0]?.connections === 0);
    assert.deepEqual(find(pid, needles), {}, `round ${round}`);
  }
});
