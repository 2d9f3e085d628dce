/** What is chosen by a ClientHello, at which libssl stops in the thread of handshakes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import type { NativeEngine } from '../../../../src/engine/native/engine.ts';
import type { NativeFrontend } from '../../../../src/engine/native/frontend.ts';
import { openCrypto } from '../../../../src/engine/native/tls/library.ts';
import { findAlpnFlaw } from '../../../../src/engine/native/tls/self-test.ts';
import { openServerContext } from '../../../../src/engine/native/tls/server-context.ts';
import { openSsl } from '../../../../src/engine/native/tls/ssl-library.ts';
import { serverOffer, tlsVersions } from '../../../../src/endpoint/versions.ts';
import { seededRandom } from '../../../random.ts';
import { helloOf, inRecords } from '../../hellos.ts';
import { makeMixedDirectory } from '../../mixed-certificates.ts';
import { openNativeTls } from '../../native-engine.ts';
import { endingOf, openEcho, readAll, readBytes } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { connectTls, pemFiles, read, sslFrom, tlsFrom } from '../../tls-peers.ts';
import { Passage } from './passage.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();

test('protocol and name are agreed on after a second ClientHello, and when a session is resumed', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using echo = await openEcho();
  const sni = join(rig.dir, 'mixed');
  makeMixedDirectory(sni);
  const from = sslFrom(pem(), { alpn: ['h2'], sni, groups: ['P-384'] });
  const { address } = await rig.forward({ to: to(echo), from });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    let session: Buffer | undefined;
    const visit = async () => {
      const client = await connectTls(address, {
        rejectUnauthorized: false,
        servername: 'both.example',
        ALPNProtocols: ['h2'],
        ecdhCurve: 'P-256:P-384',
        minVersion: version,
        maxVersion: version,
        ...(session && { session }),
      });
      client.on('session', (each: Buffer) => (session = each));
      session ??= client.getSession();
      const shown = [client.getPeerCertificate().subject?.CN, client.alpnProtocol, client.isSessionReused()];
      client.end('hello');
      assert.equal(await readAll(client), 'hello');
      return shown;
    };
    assert.deepEqual(await visit(), ['both.example', 'h2', false]);
    for (let visits = 0; visits < 3; visits++) assert.deepEqual((await visit()).slice(1), ['h2', true]);
  }
});

test('connections of clients that chose a name and a protocol move to another engine', options, async () => {
  await using here = new Rig(openNativeTls);
  await using there = new Rig(openNativeTls);
  using passage = new Passage();
  await using echo = await openEcho();
  const dir = join(here.dir, 'mixed');
  makeMixedDirectory(dir);
  const { address, upstream, frontend } = await here.forward({ to: to(echo), from: tlsFrom(dir, { alpn: ['h2'] }) });
  assert.notEqual((frontend as NativeFrontend).idInThreads, null);
  const client = await connectTls(address, {
    rejectUnauthorized: false,
    servername: 'any.wild.example',
    ALPNProtocols: ['h2'],
  });
  client.write('before');
  await once(client, 'data');
  const next = there.upstream(upstream.endpoint);
  const moved = await passage.move([here.engine as NativeEngine, upstream], [there.engine as NativeEngine, next]);
  assert.equal(moved, 1);
  client.end('after');
  assert.equal(await readAll(client), 'after');
  await next.drained();
});

test('certificates of names are read again, and those before are kept when one is unusable', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using echo = await openEcho();
  const dir = join(rig.dir, 'mixed');
  makeMixedDirectory(dir);
  const { address, frontend } = await rig.forward({ to: to(echo), from: tlsFrom(dir) });
  const shown = async (servername: string) => {
    const client = await connectTls(address, { rejectUnauthorized: false, servername });
    const { subject } = client.getPeerCertificate();
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
    return subject.CN;
  };
  const before = await connectTls(address, { rejectUnauthorized: false, servername: 'any.wild.example' });
  assert.equal(await shown('other.example'), 'both.example');
  copyFileSync(pem().otherKey, join(dir, 'd-other.key.pem'));
  copyFileSync(pem().otherCert, join(dir, 'd-other.pem'));
  frontend.reload();
  assert.equal(await shown('other.example'), 'other.example');
  for (const name of readdirSync(dir)) renameSync(join(dir, name), join(dir, `${name}.away`));
  assert.match(frontend.reload().join(), /no private key with its certificate in it/);
  assert.equal(await shown('other.example'), 'other.example');
  before.end('still open');
  assert.equal(await readAll(before), 'still open');
});

test('what certificates were replaced is freed, after the last handshake that began with them', options, async () => {
  await using rig = new Rig(openNativeTls, { handshakeTimeoutMs: 60_000 });
  await using echo = await openEcho();
  const dir = join(rig.dir, 'mixed');
  makeMixedDirectory(dir);
  const { address, connect, frontend } = await rig.forward({ to: to(echo), from: tlsFrom(dir, { alpn: ['h2'] }) });
  const asked = { rejectUnauthorized: false, servername: 'any.wild.example', ALPNProtocols: ['h2'] };
  const greet = async (client: TLSSocket) => {
    assert.deepEqual([client.getPeerCertificate().subject.CN, client.alpnProtocol], ['*.wild.example', 'h2']);
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
  };
  // It has said the first byte of its handshake, and nothing more.
  const whole = await helloOf(asked);
  const early = await connect();
  early.write(whole.subarray(0, 1));
  await greet(await connectTls(address, asked));
  const reloadOften = async (times: number) => {
    for (let reloads = 0; reloads < times; reloads += 10) {
      for (let more = 0; more < 10; more++) frontend.reload();
      await greet(await connectTls(address, asked));
    }
    return process.memoryUsage.rss();
  };
  // Each would leave four SSL_CTXs of 33 kB and what they hold.
  const before = await reloadOften(100);
  const grown = (await reloadOften(300)) - before;
  assert.ok(grown < 40_000_000, `${grown} bytes more than before`);
  early.write(whole.subarray(1));
  const answer = await readBytes(early, 5);
  assert.equal(answer.charCodeAt(0), 22, 'a ServerHello');
  early.destroy();
});

test('ClientHellos of any bytes, and in any pieces, end their own handshakes alone', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using echo = await openEcho();
  const sni = join(rig.dir, 'mixed');
  makeMixedDirectory(sni);
  const from = sslFrom(pem(), { alpn: ['h2'], sni, clientCA: pem().root, clientAuth: 'optional' });
  const { address, connect } = await rig.forward({ to: to(echo), from });
  const asked = { servername: 'any.wild.example', ALPNProtocols: ['h2', 'x'], rejectUnauthorized: false };
  const whole = await helloOf(asked);
  const bodies = whole.subarray(5);
  const random = seededRandom(3);
  const rounds = 300;
  for (let round = 0; round < rounds; round++) {
    const changed = Buffer.from(round % 3 === 0 ? inRecords(bodies, 1 + random.below(400)) : whole);
    for (let changes = random.below(4); changes > 0; changes--)
      changed[random.below(changed.length)] = random.below(256);
    const client = await connect();
    const ended = endingOf(client);
    client.write(changed.subarray(0, round % 5 === 0 ? random.below(changed.length) : changed.length));
    client.end();
    await ended;
  }
  await rig.endedConnections(rounds);
  assert.ok(rig.ends.every(({ stage }) => stage === 'handshake'));
  const client = await connectTls(address, asked);
  assert.deepEqual([client.getPeerCertificate().subject.CN, client.alpnProtocol], ['*.wild.example', 'h2']);
  client.end('hello');
  assert.equal(await readAll(client), 'hello');
});

test('a libssl that does not stop at a ClientHello is found out', options, () => {
  const library = { ssl: openSsl(), crypto: openCrypto() };
  for (const stopsAtHello of [true, false]) {
    const context = openServerContext(library, {
      identities: [{ key: read(pem().key), cert: read(pem().fullChain) }],
      offer: serverOffer(),
      versions: tlsVersions(null),
      sessionContext: 'test',
      stopsAtHello,
      clients: null,
      dhParameters: null,
    });
    assert.equal(findAlpnFlaw(library, context), stopsAtHello ? null : 'OpenSSL does not stop at a ClientHello');
    library.ssl.SSL_CTX_free(context);
  }
});
