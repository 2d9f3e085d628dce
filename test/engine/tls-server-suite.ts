import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openFullBackend } from './full-backend.ts';
import { connectTo, endingOf, openBackend, openEcho, readAll, readBytes, readToClose, reset } from './peers.ts';
import type { Address } from './peers.ts';
import { addressOf, Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { stalled, writeMuch } from './stall.ts';
import {
  connectTls,
  pemFiles,
  read,
  resetTls,
  resumeTls,
  sslFrom,
  stallTls,
  tlsFrom,
  truncateTls,
} from './tls-peers.ts';

const isDeno = 'Deno' in globalThis;
const run = promisify(execFile);

export function tlsServerSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();

  test(
    'a TLS client is served with the certificate and its chain, every byte both ways',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using echo = await openEcho();
      const { address, upstream } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
      const client = await connectTls(address, { ca: read(pem().root) });
      const sent = randomBytes(3_000_000);
      const received = readAll(client);
      client.end(sent);
      assert.ok((await received) === sent.toString('latin1'));
      const [end] = await rig.endedConnections(1);
      assert.deepEqual([end?.stage, end?.error], ['relay', null]);
      assert.deepEqual(upstream.stats(), { connections: 0, dialing: 0, bytesIn: sent.length, bytesOut: sent.length });
    },
  );

  test('the end of a TLS client is passed on, and the upstream goes on sending', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    const client = await connectTls(address, { ca: read(pem().root) });
    const peer = await backend.next();
    client.end('request');
    assert.equal(await readAll(peer), 'request');
    const answer = readAll(client);
    peer.end('answer');
    assert.equal(await answer, 'answer');
    assert.equal((await rig.endedConnections(1))[0]?.error, null);
  });

  test('the end of an upstream reaches a TLS client, which goes on sending', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    const client = await connectTls(address, { ca: read(pem().root) });
    const peer = await backend.next();
    peer.end('banner');
    assert.equal(await readAll(client), 'banner');
    const received = readAll(peer);
    client.end('late');
    assert.equal(await received, 'late');
    assert.equal((await rig.endedConnections(1))[0]?.error, null);
  });

  test('what a TLS client sent before it went away, the answer unread, arrives', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    for (let round = 0; round < 6; round++) {
      const client = await connectTls(address, { ca: read(pem().root) });
      const peer = await backend.next();
      writeMuch(peer, 10_000_000);
      client.write('last words', () => client.destroy());
      assert.equal(await readToClose(peer), 'last words');
    }
    for (const end of await rig.endedConnections(6)) assert.equal(end.error, null);
  });

  test('a client that takes short records alone gets no longer ones', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    const sent = randomBytes(400_000);
    for (const version of ['-tls1_2', '-tls1_3'])
      for (const longest of ['512', '4096']) {
        const options = ['-connect', textOf(address), '-quiet', version, '-maxfraglen', longest];
        const client = run('openssl', ['s_client', ...options], { encoding: 'buffer', maxBuffer: 2 * sent.length });
        const peer = await backend.next();
        peer.end(sent);
        const { stdout } = await client;
        assert.ok(stdout.equals(sent), `${version} ${longest}: ${stdout.length} bytes`);
        peer.destroy();
      }
  });

  test('openssl s_client verifies the certificate and is answered', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    for (const version of ['-tls1_2', '-tls1_3']) {
      const child = run('openssl', [
        's_client',
        '-connect',
        textOf(address),
        version,
        '-quiet',
        '-no_ign_eof',
        '-servername',
        'www.example.com',
        '-verify_hostname',
        'www.example.com',
        '-CAfile',
        pem().root,
        '-verify_return_error',
      ]);
      child.child.stdin?.write('hello openssl\n');
      child.child.stdout?.once('data', () => child.child.stdin?.end());
      assert.equal((await child).stdout, 'hello openssl\n');
    }
  });

  test(
    'no CBC, CCM, ARIA and static RSA, and no renegotiation by clients',
    { timeout: 60_000, skip: isDeno },
    async () => {
      await using rig = new Rig(openEngine);
      await using echo = await openEcho();
      const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
      const tls12 = ['s_client', '-connect', textOf(address), '-tls1_2'];
      for (const cipher of [
        'ECDHE-ECDSA-AES128-SHA',
        'ECDHE-ECDSA-AES256-SHA384',
        'ECDHE-ECDSA-AES128-CCM',
        'ECDHE-ECDSA-ARIA128-GCM-SHA256',
      ]) {
        await assert.rejects(run('openssl', [...tls12, '-cipher', cipher]), /alert handshake failure/);
      }
      const child = run('openssl', [...tls12, '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256', '-CAfile', pem().root]);
      child.child.stdin?.write('R\n');
      await assert.rejects(child, /no renegotiation/);
    },
  );

  test(
    'HTTP on a TLS port is answered in HTTP, and protocols that do not meet with the alert for it',
    { timeout: 60_000, skip: isDeno },
    async () => {
      await using rig = new Rig(openEngine);
      await using echo = await openEcho();
      const { address, connect } = await rig.forward({ to: to(echo), from: sslFrom(pem(), { alpn: ['h2'] }) });
      const client = await connect();
      client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      assert.match(await readAll(client), /^HTTP\/1\.1 400 Bad Request\r\n[^]*speaks HTTPS, not HTTP\.\n$/);
      await assert.rejects(
        run('openssl', ['s_client', '-connect', textOf(address), '-alpn', 'spdy/1']),
        /alert no application protocol/,
      );
      assert.equal(
        (await rig.endedConnections(2)).every(({ stage }) => stage === 'handshake'),
        true,
      );
    },
  );

  test('TLS 1.1 is refused, and TLSv1_2_METHOD offers nothing newer than 1.2', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem(), { sslmethod: 'TLSv1_2_METHOD' }) });
    const old = run('openssl', [
      's_client',
      '-connect',
      textOf(address),
      '-tls1_1',
      '-cipher',
      'DEFAULT@SECLEVEL=0',
      '-quiet',
    ]);
    old.child.stdin?.end();
    await assert.rejects(old);
    const client = await connectTls(address, { ca: read(pem().root) });
    assert.equal(client.getProtocol(), 'TLSv1.2');
    client.destroy();
  });

  test(
    'dhParameters offers finite-field Diffie-Hellman',
    { timeout: 60_000, skip: isDeno && 'its TLS has none' },
    async () => {
      await using rig = new Rig(openEngine);
      await using echo = await openEcho();
      const both = join(rig.dir, 'rsa.pem');
      execFileSync(
        'openssl',
        [
          'req',
          '-x509',
          '-newkey',
          'rsa:2048',
          '-nodes',
          '-subj',
          '/CN=rsa',
          '-keyout',
          join(rig.dir, 'rsa.key'),
          '-out',
          join(rig.dir, 'rsa.crt'),
        ],
        { stdio: 'pipe' },
      );
      writeFileSync(both, read(join(rig.dir, 'rsa.key')) + read(join(rig.dir, 'rsa.crt')));
      const { address } = await rig.forward({
        to: to(echo),
        from: sslFrom(pem(), { privateKey: both, certKey: both, dhParameters: pem().dh }),
      });
      const client = await connectTls(address, {
        rejectUnauthorized: false,
        maxVersion: 'TLSv1.2',
        ciphers: 'DHE-RSA-AES256-GCM-SHA384',
      });
      assert.equal(client.getCipher().name, 'DHE-RSA-AES256-GCM-SHA384');
      client.destroy();
    },
  );

  test(
    'a directory of certificates is chosen from by the name that the client sends',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using echo = await openEcho();
      const dir = rig.dir;
      for (const [from, name] of [
        [pem().otherKey, 'a-other.key.pem'],
        [pem().otherCert, 'a-other.pem'],
        [pem().both, 'b-www.pem'],
        [pem().intermediate, 'c-middle.pem'],
      ] as const)
        copyFileSync(from, join(dir, name));
      const directory = await rig.forward({ to: to(echo), from: tlsFrom(dir) });
      const single = await rig.forward({ to: to(echo), from: sslFrom(pem(), { sni: dir }) });
      const nameFrom = async (address: Address, servername: string) => {
        const client = await connectTls(address, { rejectUnauthorized: false, servername });
        const { CN } = client.getPeerCertificate().subject;
        client.destroy();
        return CN;
      };
      assert.equal(await nameFrom(directory.address, 'other.example'), 'other.example');
      assert.equal(await nameFrom(directory.address, 'www.example.com'), 'www.example.com');
      assert.equal(await nameFrom(directory.address, 'any.example.org'), 'www.example.com');
      assert.equal(await nameFrom(directory.address, 'unknown.example'), 'other.example');
      assert.equal(await nameFrom(single.address, 'other.example'), 'other.example');
      assert.equal(await nameFrom(single.address, 'unknown.example'), 'www.example.com');
      const verified = await connectTls(directory.address, { ca: read(pem().root) });
      verified.destroy();
    },
  );

  test('a protocol is agreed on by alpn', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const { address } = await rig.forward({ to: to(echo), from: sslFrom(pem(), { alpn: ['h2', 'http/1.1'] }) });
    const client = await connectTls(address, { ca: read(pem().root), ALPNProtocols: ['http/1.1', 'h2'] });
    assert.equal(client.alpnProtocol, 'h2');
    client.destroy();
  });

  test('with clientCA only clients with a certificate of it reach the upstream', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    copyFileSync(pem().both, join(rig.dir, 'www.pem'));
    const { address, upstream } = await rig.forward({
      to: to(echo),
      from: sslFrom(pem(), { clientCA: pem().chain, sni: rig.dir }),
    });
    const good = await connectTls(address, {
      ca: read(pem().root),
      rejectUnauthorized: false,
      key: read(pem().key),
      cert: read(pem().fullChain),
    });
    good.end('let me in');
    assert.equal(await readAll(good), 'let me in');
    await rig.endedConnections(1);
    const bad = [{}, { key: read(pem().otherKey), cert: read(pem().otherCert) }];
    for (const identity of bad) {
      // In TLS 1.3 the client is done before the server has seen its certificate.
      const client = await connectTls(address, { rejectUnauthorized: false, ...identity }).catch(() => null);
      if (client) await endingOf(client);
    }
    await rig.endedConnections(3);
    assert.deepEqual(
      rig.ends.slice(1).map(({ stage, error }) => [stage, error?.name]),
      bad.map(() => ['handshake', 'GraceError']),
    );
    assert.equal(echo.accepted, 1);
    assert.equal(upstream.stats().connections, 0);
  });

  test('a client that does not shake hands in time is closed', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine, { handshakeTimeoutMs: 100 });
    await using echo = await openEcho();
    const { connect, upstream } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    const client = await connect();
    await endingOf(client);
    const [end] = await rig.endedConnections(1);
    assert.equal(end?.stage, 'handshake');
    assert.match(end.error?.message ?? '', /^TLS handshake failed: .*time/i);
    assert.equal(upstream.stats().connections, 0);
    assert.equal(echo.accepted, 0);
  });

  test('beyond the most handshakes at once the oldest is given up', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine, { handshakeLimit: 2 });
    await using echo = await openEcho();
    const { connect, address } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    const first = await connect();
    await connect();
    const good = await connectTls(address, { ca: read(pem().root) });
    assert.equal(await endingOf(first), 'reset');
    const [end] = await rig.endedConnections(1);
    assert.match(end?.error?.message ?? '', /more than 2 under way/);
    good.end('fine');
    assert.equal(await readAll(good), 'fine');
  });

  test(
    'a client that has said its first and its last before it is accepted is no error',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using echo = await openEcho();
      const on = await rig.listen('tcp');
      const client = await connectTo(addressOf(on));
      await new Promise<void>((resolve) => client.end(Buffer.from('160301', 'hex'), resolve));
      await rig.forward({ to: to(echo), from: sslFrom(pem()), on });
      const [end] = await rig.endedConnections(1);
      assert.deepEqual([end?.stage, end?.error], ['handshake', null]);
    },
  );

  test('what is not TLS is turned away', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const { connect } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    const client = await connect();
    client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await endingOf(client);
    const [end] = await rig.endedConnections(1);
    assert.equal(end?.stage, 'handshake');
    assert.match(end.error?.message ?? '', /^TLS handshake failed/);
    assert.equal(echo.accepted, 0);
  });

  test('a client that leaves in the middle of the handshake is no error', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine, { lookMs: 20 });
    await using echo = await openEcho();
    const { connect, upstream } = await rig.forward({ to: to(echo), from: sslFrom(pem()) });
    (await connect()).end();
    reset(await connect());
    await rig.endedConnections(2);
    assert.deepEqual(
      rig.ends.map(({ stage, error }) => [stage, error]),
      [
        ['handshake', null],
        ['handshake', null],
      ],
    );
    assert.equal(upstream.stats().connections, 0);
  });

  test(
    'reload presents new certificates, and keeps the old ones when the new are unusable',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using echo = await openEcho();
      const [key, cert] = [join(rig.dir, 'key'), join(rig.dir, 'cert')];
      copyFileSync(pem().key, key);
      copyFileSync(pem().cert, cert);
      const { address, frontend } = await rig.forward({
        to: to(echo),
        from: sslFrom(pem(), { privateKey: key, certKey: cert }),
      });
      const nameNow = async () => {
        // One that has no session from before: in a handshake that is resumed no certificate is presented. Deno's has them.
        const shown = run('openssl', ['s_client', '-connect', textOf(address)]);
        shown.child.stdin?.end();
        return /^subject=CN ?= ?(\S+)$/m.exec((await shown).stdout)?.[1];
      };
      const before = await connectTls(address, { rejectUnauthorized: false });
      copyFileSync(pem().otherCert, cert);
      assert.match(frontend.reload().join(), /key does not match certificate/);
      assert.equal(await nameNow(), 'www.example.com');
      copyFileSync(pem().otherKey, key);
      assert.deepEqual(frontend.reload(), []);
      assert.equal(await nameNow(), 'other.example');
      before.end('still open');
      assert.equal(await readAll(before), 'still open');
    },
  );

  test('a missing certificate is said when the frontend is opened', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const listener = await rig.listen('tcp');
    await assert.rejects(
      rig.forward({ to: to(echo), on: listener, from: sslFrom(pem(), { certKey: pem().missing }) }),
      { name: 'EndpointError', message: /missing\.txt/ },
    );
    listener.close();
  });

  test('resets pass through TLS in both directions', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    const one = await connectTls(address, { ca: read(pem().root) });
    const onePeer = await backend.next();
    onePeer.write('hello');
    await readBytes(one, 5);
    reset(onePeer);
    assert.equal(await endingOf(one), 'reset');
    await rig.endedConnections(1);
    const two = await connectTls(address, { ca: read(pem().root) });
    const twoPeer = await backend.next();
    twoPeer.write('hello');
    await readBytes(two, 5);
    resetTls(two);
    assert.equal(await endingOf(twoPeer), 'reset');
    await rig.endedConnections(2);
    assert.deepEqual(
      rig.ends.map(({ error }) => error),
      [null, null],
    );
  });

  test('an end without the closing alert of TLS is an end', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { address, upstream } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    const client = await connectTls(address, { ca: read(pem().root) });
    client.write('last words');
    const peer = await backend.next();
    assert.equal(await readBytes(peer, 10), 'last words');
    truncateTls(client);
    assert.equal(await endingOf(peer), 'end');
    peer.end();
    await upstream.drained();
  });

  test(
    'a TLS client that gives up while its upstream is dialled is not counted any more',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine, { lookMs: 20 });
      using full = await openFullBackend();
      const { address, upstream } = await rig.forward({ to: to(full.address), from: sslFrom(pem()) });
      // Of TLS 1.2, a client's handshake ends after the server's.
      const one = await connectTls(address, { ca: read(pem().root), maxVersion: 'TLSv1.2' });
      const two = await connectTls(address, { ca: read(pem().root), maxVersion: 'TLSv1.2' });
      while (upstream.stats().dialing < 2) await new Promise((resolve) => setImmediate(resolve));
      resetTls(one);
      resetTls(two);
      await rig.endedConnections(2);
      assert.equal(upstream.stats().connections, 0);
      assert.deepEqual(
        rig.ends.map(({ stage, error }) => [stage, error]),
        [
          ['dial', null],
          ['dial', null],
        ],
      );
    },
  );

  for (const how of ['with the alert of TLS', 'by the connection alone']) {
    test(
      `a TLS client that has nothing to say, and says so ${how}, gets what the server says, however late it comes up`,
      { timeout: 60_000 },
      async () => {
        await using rig = new Rig(openEngine, { lookMs: 10 });
        const path = rig.path();
        const { address, upstream } = await rig.forward({ to: to({ path }, { retry: 40_000 }), from: sslFrom(pem()) });
        const client = await connectTls(address, { ca: read(pem().root), maxVersion: 'TLSv1.2' });
        if (how === 'with the alert of TLS') client.end();
        else truncateTls(client);
        while (upstream.stats().dialing < 1) await new Promise((resolve) => setImmediate(resolve));
        // One that leaves is noticed after several looks: by then the other has been looked at as often.
        const other = await connectTls(address, { ca: read(pem().root), maxVersion: 'TLSv1.2' });
        while (upstream.stats().dialing < 2) await new Promise((resolve) => setImmediate(resolve));
        resetTls(other);
        await rig.endedConnections(1);
        await using backend = await openBackend({ path });
        const peer = await backend.next();
        assert.equal(await readAll(peer), '');
        peer.end('greeting');
        assert.equal(await readAll(client), 'greeting');
      },
    );
  }

  test('a stalled TLS client stops its upstream and gets everything in the end', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openBackend();
    const { address, upstream } = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    const client = await connectTls(address, { ca: read(pem().root) });
    stallTls(client);
    const peer = await backend.next();
    const total = 60_000_000;
    const before = process.memoryUsage().arrayBuffers;
    writeMuch(peer, total);
    await stalled(() => upstream.stats().bytesOut);
    assert.ok(upstream.stats().bytesOut < total / 2, `${upstream.stats().bytesOut} bytes were moved`);
    assert.ok(process.memoryUsage().arrayBuffers - before < upstream.stats().bytesOut + 8_000_000);
    let count = 0;
    client.on('data', (chunk: Buffer) => (count += chunk.length));
    const ended = endingOf(client);
    resumeTls(client);
    assert.equal(await ended, 'end');
    assert.equal(count, total);
    client.end();
    peer.resume();
    await rig.endedConnections(1);
  });
}

function textOf(address: Address): string {
  return 'path' in address ? address.path : `${address.host}:${address.port}`;
}
