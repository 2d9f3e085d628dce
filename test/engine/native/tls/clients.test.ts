/** Clients that show certificates, in the threads of the native engine. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ConnectionOptions } from 'node:tls';
import { Hold } from '../../../../src/engine/hold.ts';
import type { Upstream } from '../../../../src/engine/engine.ts';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import type { NativeFrontend } from '../../../../src/engine/native/frontend.ts';
import { KeyTable, MAX_TEXT, ROW_SIZE } from '../../../../src/engine/native/tls/key-table.ts';
import { PP2_TYPE_SSL } from '../../../../src/engine/proxy-fields.ts';
import { readProxyHeader } from '../../../../src/engine/proxy-parser.ts';
import { makeCertificate } from '../../../endpoint/pem.ts';
import { until } from '../../../until.ts';
import { openNativeTls } from '../../native-engine.ts';
import { openBackend, openEcho, readAll, readBytes, readToClose } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { connectTls, pemFiles, read, sslFrom } from '../../tls-peers.ts';
import { Passage } from './passage.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();
const versions = ['TLSv1.2', 'TLSv1.3'] as const;

type Pair = { key: string; cert: string };

/** A pair in files of its own: the same subject may be signed by several. */
function pair(
  file: string,
  { subject, issuer, extensions = [] }: { subject: string; issuer?: string; extensions?: string[] },
): Pair {
  const { dir } = pem();
  makeCertificate(dir, { name: file, subject, extensions, ...(issuer !== undefined && { issuer }) });
  return { key: read(join(dir, `${file}.key`)), cert: read(join(dir, `${file}.crt`)) };
}

for (const clientAuth of ['required', 'optional'] as const) {
  test(
    `clientAuth=${clientAuth}: who has a certificate of an authority comes in, and nobody whose is another`,
    options,
    async () => {
      await using rig = new Rig(openNativeTls);
      await using echo = await openEcho();
      const from = sslFrom(pem(), { clientCA: pem().root, clientAuth });
      const { address, frontend } = await rig.forward({ to: to(echo), from });
      assert.notEqual((frontend as NativeFrontend).idInThreads, null);
      const authority = ['basicConstraints=critical,CA:TRUE'];
      pair('forged', { subject: 'Test Root', extensions: authority });
      const good = pair('alice', { subject: 'alice', issuer: 'root' });
      const bad: [Pair | Record<string, never>, RegExp][] = [
        [pair('own', { subject: 'alice' }), /not trusted \(.*self-signed certificate/],
        [pair('false', { subject: 'alice', issuer: 'forged' }), /not trusted \(/],
        [
          pair('server', { subject: 'alice', issuer: 'root', extensions: ['extendedKeyUsage=serverAuth'] }),
          /not trusted \(.*purpose/,
        ],
        ...(clientAuth === 'required'
          ? [[{}, /peer did not return a certificate/] as [Record<string, never>, RegExp]]
          : []),
      ];
      let ended = 0;
      for (const version of versions) {
        const only = { ca: read(pem().root), minVersion: version, maxVersion: version };
        // The names that a server is asked for have nothing to do with who its client is.
        for (const servername of ['www.example.com', 'nobody', '']) {
          const client = await connectTls(address, {
            ...only,
            ...good,
            servername,
            checkServerIdentity: () => undefined,
          });
          client.end('hello');
          assert.equal(await readAll(client), 'hello');
          const end = (await rig.endedConnections(++ended)).at(-1);
          assert.deepEqual([end?.error, end?.tls?.client], [null, 'alice']);
        }
        const accepted = echo.accepted;
        for (const [identity, reason] of bad) {
          // In TLS 1.3 the client is done before the server has seen its certificate.
          const client = await connectTls(address, { ...only, ...identity }).catch(() => null);
          if (client) assert.equal(await readToClose(client), '');
          const end = (await rig.endedConnections(++ended)).at(-1);
          assert.deepEqual([end?.stage, end?.tls], ['handshake', null]);
          assert.match(end?.error?.message ?? '', reason);
        }
        assert.equal(echo.accepted, accepted);
        if (clientAuth === 'required') continue;
        const client = await connectTls(address, only);
        client.end('hello');
        assert.equal(await readAll(client), 'hello');
        assert.equal((await rig.endedConnections(++ended)).at(-1)?.tls?.client, undefined);
      }
    },
  );
}

test(
  'a session that is resumed has the name of its first client, and none where others are trusted',
  options,
  async () => {
    await using rig = new Rig(openNativeTls);
    await using echo = await openEcho();
    const { key, cert } = pair('bob', { subject: 'bob', issuer: 'root' });
    const ca = read(pem().root);
    const known = await rig.forward({ to: to(echo), from: sslFrom(pem(), { clientCA: pem().root, port: 1 }) });
    const other = await rig.forward({
      to: to(echo),
      from: sslFrom(pem(), { clientCA: pem().otherCert, clientAuth: 'optional', port: 1 }),
    });
    for (const version of versions) {
      const only: ConnectionOptions = { ca, minVersion: version, maxVersion: version };
      const visit = async (address: typeof known.address, more: ConnectionOptions) => {
        const client = await connectTls(address, { ...only, ...more });
        let session: Buffer = client.getSession()!;
        client.on('session', (each: Buffer) => (session = each));
        const isReused = client.isSessionReused();
        const count = rig.ends.length;
        client.end('hello');
        assert.equal(await readAll(client), 'hello');
        const end = (await rig.endedConnections(count + 1)).at(-1);
        return { isReused, session, name: end?.tls?.client };
      };
      const first = await visit(known.address, { key, cert });
      assert.deepEqual([first.isReused, first.name], [false, 'bob']);
      const again = await visit(known.address, { session: first.session });
      assert.deepEqual([again.isReused, again.name], [true, 'bob']);
      const elsewhere = await visit(other.address, { session: first.session });
      assert.deepEqual([elsewhere.isReused, elsewhere.name], [false, undefined]);
    }
  },
);

test('who a client is goes along when it moves, and a destination that comes up then is told', options, async () => {
  await using here = new Rig(openNativeTls);
  await using there = new Rig(openNativeTls);
  using passage = new Passage();
  await using backend = await openBackend();
  const from = sslFrom(pem(), { clientCA: pem().root, alpn: ['h2'] });
  const hold = new Hold<Upstream>();
  hold.begin({ limit: 10 });
  const { address, upstream } = await here.forward({ to: to(backend, { proxy: 'v2' }), from, hold });
  const long = 'c'.repeat(64);
  const identity = pair('long', { subject: long, issuer: 'root' });
  const client = await connectTls(address, { ca: read(pem().root), ...identity, ALPNProtocols: ['h2'] });
  client.write('hello');
  await until('it waits', () => hold.waiting === 1);
  const next = there.upstream(upstream.endpoint);
  assert.equal(await passage.move([here.engine as NativeEngine, upstream], [there.engine as NativeEngine, next]), 1);
  const peer = await backend.next();
  const head = Buffer.from(await readBytes(peer, 16), 'latin1');
  const body = Buffer.from(await readBytes(peer, head.readUInt16BE(14)), 'latin1');
  const { fields } = readProxyHeader(Buffer.concat([head, body]))!;
  const textOf = (type: number) =>
    Buffer.from(fields.find((field) => field.type === type)?.value ?? []).toString('latin1');
  assert.equal(textOf(0x01), 'h2');
  assert.equal(textOf(0x02), 'www.example.com');
  const ssl = textOf(PP2_TYPE_SSL);
  assert.equal(ssl.charCodeAt(0), 7);
  for (const part of [`"\0\x40${long}`, '$\0\x11ecdsa-with-SHA256', '%\0\x05EC256'])
    assert.ok(ssl.includes(part), part);
  assert.equal(await readBytes(peer, 5), 'hello');
  peer.end();
  client.end();
  await once(client.resume(), 'close');
  await next.drained();
});

test('in a row there is room for who a client is before what it asks for', () => {
  const keys = KeyTable.open(2);
  const text = (length: number) => new Uint8Array(length).fill(97);
  const set = (name: number, protocol: number, client: number | null) => {
    keys.setTexts(1, { name: text(name), protocol: text(protocol), client: client === null ? null : text(client) });
    const texts = keys.texts(1);
    return [texts.name, texts.protocol, texts.client].map((each) => each?.length ?? null);
  };
  assert.deepEqual(set(20, 2, 64), [20, 2, 64]);
  assert.deepEqual(set(0, 0, null), [null, null, null]);
  assert.deepEqual(set(0, 0, 0), [null, null, 0]);
  assert.deepEqual(set(253, 2, null), [null, 2, null]);
  assert.deepEqual(set(100, 200, 53), [null, 200, 53]);
  assert.deepEqual(set(253, 253, MAX_TEXT), [null, null, MAX_TEXT]);
  assert.ok(keys.row(0).every((byte) => byte === 0));
  assert.equal(keys.bytes.length, 2 * ROW_SIZE);
});
