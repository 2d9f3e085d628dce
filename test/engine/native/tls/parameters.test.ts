/** What the threads heed of a source with TLS, and what they leave to the portable engine. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import { openNativeEngine } from '../../../../src/engine/native/engine.ts';
import type { NativeFrontend } from '../../../../src/engine/native/frontend.ts';
import type { ThreadData } from '../../../../src/engine/native/messages.ts';
import type { StartWorker } from '../../../../src/engine/native/threads.ts';
import { openCrypto } from '../../../../src/engine/native/tls/library.ts';
import { findFlaw } from '../../../../src/engine/native/tls/self-test.ts';
import { openServerContext } from '../../../../src/engine/native/tls/server-context.ts';
import { openSsl } from '../../../../src/engine/native/tls/ssl-library.ts';
import { opensslNameOf } from '../../../../src/engine/tls-names.ts';
import type { SslServer } from '../../../../src/endpoint/model.ts';
import { serverOffer, tlsVersions } from '../../../../src/endpoint/versions.ts';
import { openNativeTls } from '../../native-engine.ts';
import { endingOf, openEcho, readAll, readBytes } from '../../peers.ts';
import { Rig, to } from '../../rig.ts';
import { connectTls, openTlsBackend, pemFiles, read, sslFrom, sslTo } from '../../tls-peers.ts';

const options = { timeout: 60_000, skip: process.platform !== 'linux' || 'Deno' in globalThis };
const pem = pemFiles();

test('which sources the threads accept on themselves', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using echo = await openEcho();
  const isNative = async (extras: Partial<SslServer>) => {
    const { frontend } = await rig.forward({ to: to(echo), from: sslFrom(pem(), extras) });
    return (frontend as NativeFrontend).idInThreads !== null;
  };
  execFileSync('cp', [pem().both, join(rig.dir, 'www.pem')]);
  const own: Partial<SslServer>[] = [
    {},
    { minTLS: '1.3' },
    { ciphers: ['TLS_AES_128_GCM_SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'] },
    { groups: ['X25519', 'P-256'] },
    { alpn: ['http/1.1'] },
    { sni: rig.dir },
    { clientCA: pem().chain },
    { dhParameters: pem().dh },
    { truncation: 'reset' },
    { clientCA: pem().root, clientAuth: 'optional' },
    { handshakeTimeout: 5000 },
    { idle: 60_000, lifetime: 60_000, maxconn: 5, maxconnPer: 5, userTimeout: 30_000, proxy: 'accept' },
  ];
  for (const extras of own) assert.equal(await isNative(extras), true, JSON.stringify(extras));
  const others: Partial<SslServer>[] = [
    { ciphers: ['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-AES128-SHA'] },
    { ciphers: ['TLS_AES_128_CCM_SHA256'] },
  ];
  for (const extras of others) assert.equal(await isNative(extras), false, JSON.stringify(extras));
});

test('versions, suites and groups are those that were asked for', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using echo = await openEcho();
  const ca = read(pem().root);
  const modern = await rig.forward({ to: to(echo), from: sslFrom(pem(), { minTLS: '1.3' }) });
  await assert.rejects(connectTls(modern.address, { ca, maxVersion: 'TLSv1.2' }), /alert/);
  const suites = { ciphers: ['TLS_CHACHA20_POLY1305_SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384'] };
  const chosen = await rig.forward({ to: to(echo), from: sslFrom(pem(), suites) });
  for (const [maxVersion, name] of [
    ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256'],
    ['TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ] as const) {
    const client = await connectTls(chosen.address, { ca, maxVersion });
    assert.equal(client.getCipher().name, name);
    client.end('hello');
    assert.equal(await readAll(client), 'hello');
  }
  const groups = await rig.forward({ to: to(echo), from: sslFrom(pem(), { groups: ['P-384'] }) });
  const client = await connectTls(groups.address, { ca });
  client.write('x');
  assert.equal(await readBytes(client, 1), 'x');
  assert.equal((await rig.engine.connections([groups.upstream]))[0]?.clientTls?.group, 'secp384r1');
  client.destroy();
  await rig.endedConnections(4);
});

test('a key with a pass phrase is read, and each source has its own time for handshakes', options, async () => {
  await using rig = new Rig(openNativeTls);
  await using echo = await openEcho();
  const [key, phrase] = [join(rig.dir, 'key'), join(rig.dir, 'phrase')];
  execFileSync('openssl', ['pkcs8', '-topk8', '-in', pem().key, '-out', key, '-passout', 'pass:secret'], {
    stdio: 'pipe',
  });
  writeFileSync(phrase, 'secret\n');
  const from = sslFrom(pem(), { privateKey: key, passphrase: `file:${phrase}`, handshakeTimeout: 50 });
  const short = await rig.forward({ to: to(echo), from });
  const long = await rig.forward({ to: to(echo), from: sslFrom(pem(), { handshakeTimeout: 60_000 }) });
  const client = await connectTls(short.address, { ca: read(pem().root) });
  client.end('hello');
  assert.equal(await readAll(client), 'hello');
  await rig.endedConnections(1); // threads tell of theirs each for itself
  const patient = await long.connect();
  await endingOf(await short.connect());
  const [, end] = await rig.endedConnections(2);
  assert.match(end?.error?.message ?? '', /timeout/);
  assert.equal(long.upstream.stats().connections, 1);
  patient.destroy();
});

test('suites have the names that OpenSSL has for them, where a destination is told', () => {
  assert.equal(opensslNameOf('TLS_AES_128_GCM_SHA256'), 'TLS_AES_128_GCM_SHA256');
  assert.equal(opensslNameOf('TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'), 'ECDHE-ECDSA-AES128-GCM-SHA256');
  assert.equal(opensslNameOf('TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256'), 'ECDHE-RSA-CHACHA20-POLY1305');
});

test('a libssl that gives no secrets is found out', options, () => {
  const library = { ssl: openSsl(), crypto: openCrypto() };
  const context = openServerContext(library, {
    identities: [{ key: read(pem().key), cert: read(pem().fullChain) }],
    offer: serverOffer(),
    versions: tlsVersions(null),
    sessionContext: 'test',
    stopsAtHello: false,
    clients: null,
    dhParameters: null,
  });
  assert.equal(findFlaw(library, context), null);
  library.ssl.SSL_CTX_set_keylog_callback(context, 0n);
  assert.match(findFlaw(library, context) ?? '', /gives no keys/);
  library.ssl.SSL_CTX_free(context);
});

test('where TLS cannot be had in the threads, the portable engine serves, and it is told why', options, async () => {
  const reasons: string[] = [];
  const startWorker: StartWorker = (data, port) => {
    if (data.handshakes) throw new Error('no thread is left');
    return openWorker(data, port);
  };
  await using rig = new Rig(() =>
    openNativeEngine({ threads: 1, tls: true, startWorker, onTlsUnusable: (why) => void reasons.push(why) }),
  );
  await using echo = await openEcho();
  const { address, frontend } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
  assert.equal((frontend as NativeFrontend).idInThreads, null);
  assert.deepEqual(reasons, ['no thread is left']);
  const client = await connectTls(address, { ca: read(pem().root) });
  client.end('hello');
  assert.equal(await readAll(client), 'hello');
});

test(
  'when the thread of handshakes fails, those that have shaken hands go on, and others come all the same',
  options,
  async () => {
    const reasons: string[] = [];
    const shaking: Worker[] = [];
    const startWorker: StartWorker = (data, port) => {
      const worker = openWorker(data, port);
      if (data.handshakes) shaking.push(worker);
      return worker;
    };
    await using rig = new Rig(() =>
      openNativeEngine({ threads: 1, tls: true, startWorker, onTlsUnusable: (why) => void reasons.push(why) }),
    );
    await using echo = await openEcho();
    const { address, connect } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    const ca = read(pem().root);
    const before = await connectTls(address, { ca });
    before.write('a');
    assert.equal(await readBytes(before, 1), 'a');
    await using backend = await openTlsBackend({ key: read(pem().key), cert: read(pem().fullChain) });
    const far = await rig.forward({ to: sslTo(backend.port, pem()) });
    const beforeFar = await far.connect();
    const beforePeer = await backend.next();
    beforePeer.write('b');
    assert.equal(await readBytes(beforeFar, 1), 'b');
    void shaking[0]!.terminate();
    await endingOf(await connect()); // at whose event the thread ends
    assert.match(reasons.join(), /^the thread of handshakes failed: /);
    const after = await connectTls(address, { ca });
    for (const client of [before, after]) {
      client.end('hello');
      assert.equal(await readAll(client), 'hello');
    }
    const afterFar = await far.connect();
    const peers = [beforePeer, await backend.next()];
    for (const [index, client] of [beforeFar, afterFar].entries()) {
      const answer = readAll(client);
      peers[index]!.end('hello');
      assert.equal(await answer, 'hello');
    }
  },
);

function openWorker(data: ThreadData, port: MessagePort): Worker {
  return new Worker(new URL('../../../../src/engine/native/worker.ts', import.meta.url), {
    workerData: data,
    transferList: [port],
    trackUnmanagedFds: false,
  });
}
