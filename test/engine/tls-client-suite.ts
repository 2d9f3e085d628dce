import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { ClientEndpoint } from '../../src/endpoint/model.ts';
import { openFullBackend } from './full-backend.ts';
import { endingOf, openBackend, openEcho, readAll, readBytes, readToClose, reset } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { stalled, writeMuch } from './stall.ts';
import { connectTls, openTlsBackend, pemFiles, read, sslFrom, sslTo, tlsTo } from './tls-peers.ts';
import type { TlsBackend } from './tls-peers.ts';

const isDeno = 'Deno' in globalThis;
const hasPython = spawnSync('python3', ['-c', 'import ssl']).status === 0;

export function tlsClientSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();
  const identity = () => ({ key: read(pem().key), cert: read(pem().fullChain) });

  test('a TLS upstream is verified and served, every byte and end both ways', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openTlsBackend(identity());
    const { connect, upstream } = await rig.forward({ to: sslTo(backend.port, pem()) });
    const client = await connect();
    const peer = await backend.next();
    const sent = randomBytes(2_000_000);
    const received = readAll(peer);
    client.end(sent);
    assert.ok((await received) === sent.toString('latin1'));
    const answer = readAll(client);
    peer.end('answer after the end');
    assert.equal(await answer, 'answer after the end');
    assert.equal((await rig.endedConnections(1))[0]?.error, null);
    assert.equal(upstream.stats().connections, 0);
  });

  test('TLS is terminated and originated again', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openTlsBackend(identity());
    const { address } = await rig.forward({ to: tlsTo(backend.port, pem()), from: sslFrom(pem()) });
    const client = await connectTls(address, { ca: read(pem().root) });
    const peer = await backend.next();
    client.write('question');
    assert.equal(await readBytes(peer, 8), 'question');
    peer.end('answer');
    assert.equal(await readAll(client), 'answer');
    client.end();
    await rig.endedConnections(1);
  });

  for (const isHalfClosed of [false, true]) {
    test(
      `the answer of an upstream that closes before it has read all arrives${isHalfClosed ? ' at a client that has ended' : ''}`,
      { timeout: 60_000 },
      async () => {
        await using rig = new Rig(openEngine);
        await using backend = await openTlsBackend({ ...identity(), noDelay: true });
        const plain = await rig.forward({ to: sslTo(backend.port, pem()) });
        const both = await rig.forward({ to: sslTo(backend.port, pem()), from: sslFrom(pem()) });
        const answer = 'answer '.repeat(100);
        for (let round = 0; round < 6; round++) {
          const client =
            round % 2 === 0 ? await plain.connect() : await connectTls(both.address, { ca: read(pem().root) });
          const received = readToClose(client);
          client.write(Buffer.alloc(1_000_000));
          if (isHalfClosed) client.end();
          const peer = await backend.next();
          peer.write(answer, () => peer.destroy());
          assert.equal(await received, answer);
          client.destroy();
          assert.equal((await rig.endedConnections(round + 1))[round]?.error, null);
        }
      },
    );
  }

  test(
    'the answer of a hasty upstream that waits for acknowledgements arrives mostly',
    { timeout: 60_000, skip: isDeno ? 'Deno does not tell descriptors' : !hasPython && 'python3 is not here' },
    async () => {
      await using rig = new Rig(openEngine);
      const answer = 'answer '.repeat(30);
      const script = join(import.meta.dirname, 'fixtures/hasty-server.py');
      const server = spawn('python3', [script, pem().key, pem().fullChain, answer], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      try {
        const [port] = (await once(createInterface(server.stdout), 'line')) as [string];
        const { connect } = await rig.forward({ to: sslTo(Number(port), pem()) });
        let arrived = 0;
        for (let round = 0; round < 20; round++) {
          const client = await connect();
          const received = readToClose(client);
          client.write(Buffer.alloc(1_000_000));
          if ((await received) === answer) arrived++;
          client.destroy();
        }
        // The server races with us; without acknowledgements at once it is 1 of 20.
        assert.ok(arrived >= 12, `${arrived} of 20 arrived`);
      } finally {
        server.kill();
      }
    },
  );

  test(
    'an upstream whose certificate is not trusted, or for another name, is not connected to',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openTlsBackend(identity());
      await using stranger = await openTlsBackend({ key: read(pem().otherKey), cert: read(pem().otherCert) });
      const cases = [
        [
          sslTo(stranger.port, pem(), { hostname: 'other.example' }),
          /its certificate is not trusted: .*(self-signed|issuer|UnknownIssuer)/i,
        ],
        [sslTo(backend.port, pem(), { caCertsDir: null }), /its certificate is not trusted/],
        [sslTo(backend.port, pem(), { hostname: 'www.example.net' }), /its certificate is not for www\.example\.net$/],
        [
          sslTo(backend.port, pem(), { hostname: 'www.example.com', serverName: 'elsewhere.example' }),
          /its certificate is not for elsewhere\.example$/,
        ],
        [tlsTo(backend.port, pem(), { host: '127.0.0.2' }), /refused|its certificate is not for 127\.0\.0\.2$/],
      ] as const;
      for (const [index, [endpoint, message]] of cases.entries()) {
        const { connect } = await rig.forward({ to: endpoint });
        const client = await connect();
        client.write('secret');
        assert.equal(await endingOf(client), 'reset');
        const end = (await rig.endedConnections(index + 1))[index];
        assert.equal(end?.stage, 'dial');
        assert.match(end.error?.message ?? '', message);
        await assert.rejects(rig.engine.probe(endpoint, { signal: AbortSignal.timeout(50_000) }), {
          name: 'GraceError',
          message,
        });
      }
    },
  );

  test('insecure=yes connects to whoever it is', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using stranger = await openTlsBackend({ key: read(pem().otherKey), cert: read(pem().otherCert) });
    await assertGreets(rig, stranger, sslTo(stranger.port, pem(), { insecure: true, caCertsDir: null }));
  });

  test('the name that is checked is sent, an address is not', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    const names: string[] = [];
    await using backend = await openTlsBackend({
      ...identity(),
      SNICallback: (name, done) => {
        if (name !== '') names.push(name);
        done(null);
      },
    });
    await assertGreets(rig, backend, sslTo(backend.port, pem()));
    assert.deepEqual(names, []);
    await assertGreets(rig, backend, sslTo(backend.port, pem(), { hostname: 'www.example.com' }));
    await assertGreets(rig, backend, tlsTo(backend.port, pem(), { serverName: 'sub.example.org' }));
    assert.deepEqual(names, ['www.example.com', 'sub.example.org']);
  });

  test('a client certificate is presented', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openTlsBackend({ ...identity(), requestCert: true, ca: read(pem().chain) });
    const { connect } = await rig.forward({
      to: sslTo(backend.port, pem(), { certKey: pem().fullChain, privateKey: pem().key }),
    });
    await connect();
    const peer = await backend.next();
    assert.equal(peer.getPeerCertificate().subject.CN, 'www.example.com');
  });

  test('alpn is offered', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openTlsBackend({ ...identity(), ALPNProtocols: ['h2', 'http/1.1'] });
    const { connect } = await rig.forward({ to: sslTo(backend.port, pem(), { alpn: ['http/1.1'] }) });
    await connect();
    assert.equal((await backend.next()).alpnProtocol, 'http/1.1');
  });

  test('TLS runs over whatever connection the nested endpoint makes', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using backend = await openTlsBackend(identity());
    // A TLS front in front of the TLS backend.
    const front = await rig.forward({ to: to({ host: '127.0.0.1', port: backend.port }), from: sslFrom(pem()) });
    assert.ok('port' in front.address);
    const inner = tlsTo(front.address.port, pem(), { serverName: 'www.example.com' });
    const { connect } = await rig.forward({ to: tlsTo(443, pem(), { host: 'www.example.com', endpoint: inner }) });
    const client = await connect();
    const peer = await backend.next();
    client.end('through two');
    assert.equal(await readAll(peer), 'through two');
    const answer = readAll(client);
    peer.end('and back');
    assert.equal(await answer, 'and back');
    await rig.endedConnections(2);
    const { port } = front.address;
    await front.frontend.stop();
    front.listener.close();
    await endingOf(await connect());
    const [, , end] = await rig.endedConnections(3);
    assert.match(
      end?.error?.message ?? '',
      new RegExp(
        `^cannot connect to tls:www\\.example\\.com:443: cannot connect to tls:127\\.0\\.0\\.1:${port}: connection refused`,
      ),
    );
  });

  test(
    'a TLS handshake that is not answered ends after the time-out of the endpoint',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using silent = await openBackend();
      const { connect } = await rig.forward({ to: sslTo(silent.port, pem(), { timeout: 0.15 }) });
      assert.equal(await endingOf(await connect()), 'reset');
      const [end] = await rig.endedConnections(1);
      assert.match(end?.error?.message ?? '', /timed out/);
      using full = await openFullBackend();
      assert.ok('port' in full.address);
      await assert.rejects(
        rig.engine.probe(sslTo(full.address.port, pem(), { timeout: 0.1 }), { signal: AbortSignal.timeout(50_000) }),
        /timed out/,
      );
    },
  );

  for (const on of ['tcp', 'unix'] as const) {
    test(
      `a ${on} client that has nothing to say, and says so at once, gets what a TLS server says, however slow its handshake`,
      { timeout: 60_000, skip: isDeno && on === 'unix' && 'Deno does not tell' },
      async () => {
        await using rig = new Rig(openEngine, { lookMs: 10 });
        await using backend = await openTlsBackend(identity());
        await using slow = await openBackend();
        const { connect } = await rig.forward({ to: sslTo(slow.port, pem()), on });
        const client = await connect();
        client.end();
        const inFront = await slow.next();
        // One that leaves is noticed after several looks: by then the other has been looked at as often.
        const other = await connect();
        await slow.next();
        reset(other);
        await rig.endedConnections(1);
        inFront.pipe(net.connect(backend.port, '127.0.0.1')).pipe(inFront);
        const peer = await backend.next();
        assert.equal(await readAll(peer), '');
        peer.end('greeting');
        assert.equal(await readAll(client), 'greeting');
      },
    );
  }

  test('an upstream that is no TLS server is said to be the trouble', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    await assert.rejects(
      rig.engine.probe(sslTo(echo.port, pem()), { signal: AbortSignal.timeout(50_000) }),
      /TLS handshake/,
    );
    await using closing = await openBackend();
    const probing = rig.engine.probe(sslTo(closing.port, pem()), { signal: AbortSignal.timeout(50_000) });
    void closing.next().then((socket) => socket.destroy());
    await assert.rejects(probing, /the connection was closed during the TLS handshake/);
  });

  test('openssl s_server is verified and answers', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    const server = spawn(
      'openssl',
      [
        's_server',
        '-accept',
        '127.0.0.1:0',
        '-key',
        pem().key,
        '-cert',
        pem().cert,
        '-cert_chain',
        pem().intermediate,
        '-rev',
      ],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    try {
      const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
      let port: number | undefined;
      while (port === undefined)
        port = Number(/ACCEPT .*:([0-9]+)$/.exec(String((await lines.next()).value))?.[1]) || undefined;
      const { connect } = await rig.forward({ to: sslTo(port, pem(), { hostname: 'www.example.com' }) });
      const client = await connect();
      client.write('evil\n');
      assert.equal(await readBytes(client, 5), 'live\n');
      client.destroy();
      await rig.endedConnections(1);
    } finally {
      server.kill();
      await once(server, 'exit');
    }
  });

  test("resets pass through an upstream's TLS in both directions", { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    // The engine's own termination stands for a server whose connections can be reset.
    await using backend = await openBackend();
    const front = await rig.forward({ to: to(backend), from: sslFrom(pem()) });
    assert.ok('port' in front.address);
    const { connect } = await rig.forward({ to: sslTo(front.address.port, pem()) });
    const one = await connect();
    const onePeer = await backend.next();
    onePeer.write('1');
    await readBytes(one, 1);
    reset(onePeer);
    assert.equal(await endingOf(one), 'reset');
    const two = await connect();
    const twoPeer = await backend.next();
    twoPeer.write('2');
    await readBytes(two, 1);
    reset(two);
    assert.equal(await endingOf(twoPeer), 'reset');
    await rig.endedConnections(4);
  });

  test(
    'a stalled client stops its TLS upstream and gets everything in the end',
    { timeout: 60_000, skip: isDeno && "the backend's own TLS does not stop" },
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openTlsBackend(identity());
      const { connect, upstream } = await rig.forward({ to: sslTo(backend.port, pem()) });
      const client = await connect();
      const peer = await backend.next();
      const total = 60_000_000;
      writeMuch(peer, total);
      await stalled(() => upstream.stats().bytesOut);
      assert.ok(upstream.stats().bytesOut < total / 2, `${upstream.stats().bytesOut} bytes were moved`);
      let count = 0;
      client.on('data', (chunk: Buffer) => (count += chunk.length));
      assert.equal(await endingOf(client), 'end');
      assert.equal(count, total);
      client.end();
      peer.resume();
      await rig.endedConnections(1);
    },
  );

  test(
    "the system's roots are those of SSL_CERT_FILE, and NODE_EXTRA_CA_CERTS adds nothing",
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openTlsBackend(identity());
      const endpoint = sslTo(backend.port, pem(), { caCertsDir: null });
      const { NODE_EXTRA_CA_CERTS: _, SSL_CERT_FILE: __, SSL_CERT_DIR: ___, ...env } = process.env;
      const ask = async (added: Record<string, string>) => {
        const script = new URL('fixtures/probe.ts', import.meta.url).pathname;
        const args = isDeno ? ['run', '-A', '--no-check', script] : ['--disable-warning=ExperimentalWarning', script];
        const child = spawn(process.execPath, [...args, rig.engine.name, JSON.stringify(endpoint)], {
          stdio: ['ignore', 'pipe', 'inherit'],
          env: { ...env, ...added },
        });
        const [text] = await Promise.all([readText(child.stdout), once(child, 'exit')]);
        return text.trim();
      };
      const [none, file, extra] = await Promise.all([
        ask({}),
        ask({ SSL_CERT_FILE: pem().root }),
        ask({ NODE_EXTRA_CA_CERTS: pem().root }),
      ]);
      assert.match(none, /its certificate is not trusted/);
      assert.equal(file, 'reached');
      assert.equal(extra, none);
    },
  );

  test(
    'whom a destination is trusted by is read again: for connections to come, and never worse than it was',
    { timeout: 60_000 },
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openTlsBackend(identity());
      const caCertsDir = mkdtempSync(join(rig.dir, 'trusted-'));
      const trust = (cert: string) => copyFileSync(cert, join(caCertsDir, 'ca.pem'));
      trust(pem().root);
      const { connect, upstream } = await rig.forward({ to: sslTo(backend.port, pem(), { caCertsDir }) });
      const greeted = async () => {
        const client = await connect();
        const peer = await backend.next();
        peer.write('hello');
        assert.equal(await readBytes(client, 5), 'hello');
        return { client, peer };
      };
      const open = await greeted();
      trust(pem().junk);
      assert.throws(() => upstream.reload(), { name: 'EndpointError' });
      await greeted();
      trust(pem().otherCert);
      upstream.reload();
      assert.equal(await endingOf(await connect()), 'reset');
      const [refused] = await rig.endedConnections(1);
      assert.match(refused?.error?.message ?? '', /its certificate is not trusted/);
      open.client.write('still here');
      assert.equal(await readBytes(open.peer, 10), 'still here');
      trust(pem().root);
      upstream.reload();
      await greeted();
    },
  );

  test('a certificate that is missing is said when the upstream is opened', { timeout: 60_000 }, async () => {
    await using rig = new Rig(openEngine);
    assert.throws(() => rig.engine.openUpstream(sslTo(1, pem(), { certKey: pem().missing })), {
      name: 'EndpointError',
      message: /missing\.txt/,
    });
    assert.throws(() => rig.engine.openUpstream(tlsTo(1, pem(), { trustRoots: pem().emptyDir })), {
      name: 'EndpointError',
      message: /no certificates/,
    });
  });
}

/** A client of a new rule gets what the backend says first. */
async function assertGreets(rig: Rig, backend: TlsBackend, endpoint: ClientEndpoint): Promise<void> {
  const { connect } = await rig.forward({ to: endpoint });
  const client = await connect();
  (await backend.next()).end('hello');
  assert.equal(await readAll(client), 'hello');
}

async function readText(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  stream.on('data', (chunk) => (text += String(chunk)));
  await once(stream, 'end');
  return text;
}
