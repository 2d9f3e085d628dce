/** What a source that speaks TLS can be told, as openssl and node:tls see it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectPlain } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { after, test } from 'node:test';
import { connect as connectOver } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import { promisify } from 'node:util';
import type { BindableServer, SslServer } from '../../src/endpoint/model.ts';
import { readProxyHeader } from '../../src/engine/proxy-parser.ts';
import { makeCertificate } from '../endpoint/pem.ts';
import { makeMixedDirectory } from './mixed-certificates.ts';
import { endingOf, openBackend, openEcho, readAll, readBytes, readToClose } from './peers.ts';
import type { Address } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { connectTls, pemFiles, read, sslFrom, tlsFrom, truncateTls } from './tls-peers.ts';

const timeout = 60_000;
const isDeno = 'Deno' in globalThis;
const run = promisify(execFile);

export function tlsOptionsSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();
  const ca = () => read(pem().root);

  /** What `openssl s_client` says of a handshake; it does not verify. */
  async function handshake(address: Address, ...args: string[]): Promise<string> {
    const { host, port } = address as { host: string; port: number };
    const child = run('openssl', [
      's_client',
      '-connect',
      `${host}:${port}`,
      '-servername',
      'www.example.com',
      ...args,
    ]);
    child.child.stdin?.end();
    const { stdout } = await child.catch((error: { stdout: string }) => error);
    return /^New, .*$/m.exec(stdout)?.[0] ?? stdout;
  }

  async function serving(
    extras: Partial<BindableServer>,
    act: (address: Address, rig: Rig) => Promise<void>,
  ): Promise<void> {
    await using rig = new Rig(openEngine);
    await using echo = await openEcho();
    const { address } = await rig.forward({
      to: to(echo),
      from: 'type' in extras ? extras : sslFrom(pem(), extras as Partial<SslServer>),
    });
    await act(address, rig);
  }

  /** A pair of a client, signed by the root or by itself. */
  function clientPair(name: string, issuer?: string): { key: string; cert: string } {
    const { dir } = pem();
    makeCertificate(dir, { name, subject: name, extensions: [], ...(issuer === undefined ? {} : { issuer }) });
    return { key: read(`${dir}/${name}.key`), cert: read(`${dir}/${name}.crt`) };
  }

  test('minTLS=1.3 leaves a client of TLS 1.2 out', { timeout }, () =>
    serving({ minTLS: '1.3' }, async (address) => {
      assert.match(await handshake(address, '-tls1_2'), /\(NONE\)/);
      assert.match(await handshake(address, '-tls1_3'), /TLSv1\.3/);
    }),
  );

  test(
    'ciphers of TLS 1.2 and of TLS 1.3 are two lists, and one that is not named stays',
    { timeout, skip: isDeno },
    async () => {
      await serving({ ciphers: ['ECDHE-ECDSA-AES256-GCM-SHA384'] }, async (address) => {
        assert.match(await handshake(address, '-tls1_2'), /ECDHE-ECDSA-AES256-GCM-SHA384/);
        assert.match(await handshake(address, '-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256'), /\(NONE\)/);
        assert.match(await handshake(address, '-tls1_3'), /TLS_AES_256_GCM_SHA384/);
      });
      await serving({ ciphers: ['TLS_CHACHA20_POLY1305_SHA256'] }, async (address) => {
        assert.match(await handshake(address, '-tls1_3'), /TLS_CHACHA20_POLY1305_SHA256/);
        assert.match(await handshake(address, '-tls1_2'), /TLSv1\.2/);
      });
      await serving({ ciphers: ['ALL', 'COMPLEMENTOFALL'] }, async (address) => {
        assert.match(await handshake(address, '-tls1_2', '-cipher', 'aNULL:eNULL:@SECLEVEL=0'), /\(NONE\)/);
      });
    },
  );

  test('groups say with which the keys are exchanged', { timeout, skip: isDeno }, () =>
    serving({ groups: ['P-384'] }, async (address) => {
      for (const version of ['-tls1_2', '-tls1_3']) {
        assert.match(await handshake(address, version, '-groups', 'P-384:P-256'), /TLSv1/);
        assert.match(await handshake(address, version, '-groups', 'P-256'), /\(NONE\)/);
      }
    }),
  );

  test(
    'a client that has to say another group is served by name and protocol, and gets its session ticket',
    { timeout, skip: isDeno },
    () =>
      serving({ groups: ['P-384'], sni: pem().pemDir, alpn: ['h2', 'http/1.1'] }, async (address) => {
        const asked = { ecdhCurve: 'X25519:P-384', ALPNProtocols: ['h2'], rejectUnauthorized: false };
        const client = await connectTls(address, asked);
        const session = once(client, 'session');
        assert.equal(client.alpnProtocol, 'h2');
        client.write('hello');
        assert.equal(await readBytes(client, 5), 'hello');
        await session;
        client.end();
        assert.equal(await readAll(client), '');
      }),
  );

  test('what Deno cannot choose is refused at the start', { timeout, skip: !isDeno }, async () => {
    await assert.rejects(
      serving({ ciphers: ['ECDHE-ECDSA-AES256-GCM-SHA384'], groups: ['P-384'] }, async () => {}),
      /Deno's TLS cannot do this: ciphers, groups/,
    );
  });

  test('a client may have a certificate, which must be a good one then', { timeout, skip: isDeno }, () =>
    serving({ clientCA: pem().root, clientAuth: 'optional' }, async (address, rig) => {
      for (const identity of [{}, clientPair('good', 'root')]) {
        const client = await connectTls(address, { ca: ca(), ...identity });
        client.end('hello');
        assert.equal(await readAll(client), 'hello');
      }
      const stranger = await connectTls(address, { ca: ca(), ...clientPair('stranger') }).catch(() => null);
      assert.equal(stranger === null ? '' : await readToClose(stranger), '');
      const { error, stage } = (await rig.endedConnections(3)).find((end) => end.error !== null)!;
      assert.equal(stage, 'handshake');
      assert.match(
        error!.message,
        /the client's certificate is not trusted|UnknownIssuer|BadSignature|unknown issuer/i,
      );
    }),
  );

  test(
    'the name of a client that was verified is told by a PROXY header of version 2',
    { timeout, skip: isDeno },
    async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const { address } = await rig.forward({
        to: to(backend, { proxy: 'v2' }),
        from: sslFrom(pem(), { clientCA: pem().root, clientAuth: 'optional' }),
      });
      const headerOf = async (identity: object) => {
        const client = await connectTls(address, { ca: ca(), ...identity });
        const peer = await backend.next();
        const head = Buffer.from(await readBytes(peer, 16), 'latin1');
        const body = Buffer.from(await readBytes(peer, head.readUInt16BE(14)), 'latin1');
        const { fields } = readProxyHeader(Buffer.concat([head, body]))!;
        const ssl = Buffer.from(fields.find(({ type }) => type === 0x20)!.value);
        client.destroy();
        peer.destroy();
        return { bits: ssl[0], verified: ssl.readUInt32BE(1) === 0, text: ssl.toString('latin1') };
      };
      const known = await headerOf(clientPair('alice', 'root'));
      assert.deepEqual([known.bits, known.verified], [7, true]);
      assert.ok(known.text.includes('!\0\x07TLSv1.3"\0\x05alice#'));
      // Of the certificate that it was shown.
      assert.ok(known.text.endsWith('$\0\x11ecdsa-with-SHA256%\0\x05EC256'));
      const unknown = await headerOf({});
      assert.deepEqual([unknown.bits, unknown.verified], [1, false]);
      assert.ok(unknown.text.includes('!\0\x07TLSv1.3#'));
      const ends = await rig.endedConnections(2);
      assert.deepEqual(ends.map(({ tls }) => tls?.client).sort(), ['alice', undefined]);
    },
  );

  test(
    'of two certificates for a name a client gets the one with the cheapest key that it can use',
    { timeout, skip: isDeno },
    async () => {
      const dir = join(pem().dir, 'mixed');
      makeMixedDirectory(dir);
      for (const from of [tlsFrom(dir), sslFrom(pem(), { sni: dir })]) {
        await serving(from, async (address) => {
          const typeFor = async (servername: string, options: ConnectionOptions = {}) => {
            const client = await connectTls(address, { rejectUnauthorized: false, servername, ...options });
            const { subject, asn1Curve } = client.getPeerCertificate();
            client.end('hello');
            assert.equal(await readAll(client), 'hello');
            return `${subject.CN} ${asn1Curve === undefined ? 'rsa' : 'ec'}`;
          };
          for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
            const only = { minVersion: version, maxVersion: version };
            assert.equal(await typeFor('both.example', only), 'both.example ec');
            assert.equal(
              await typeFor('BOTH.example', { ...only, sigalgs: 'rsa_pss_rsae_sha256' }),
              'both.example rsa',
            );
            assert.equal(await typeFor('any.wild.example', only), '*.wild.example rsa');
            const other = from.type === 'tls' ? 'both.example' : 'www.example.com';
            for (const unknown of ['unknown.example', 'a.b.wild.example', 'wild.example', ''])
              assert.equal(await typeFor(unknown, only), `${other} ec`, `${from.type}: ${unknown}`);
          }
          if (from.type === 'tls')
            assert.equal(await typeFor('', { sigalgs: 'rsa_pss_rsae_sha256' }), 'both.example rsa');
        });
      }
    },
  );

  test(
    'the protocol is the first of the source that the client knows; one that names none is served without',
    { timeout },
    () =>
      serving({ alpn: ['h2', 'http/1.1'] }, async (address) => {
        for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
          for (const [offered, agreed] of [
            [['http/1.1', 'h2'], 'h2'],
            [['x', 'http/1.1'], 'http/1.1'],
            [undefined, false],
          ] as const) {
            const client = await connectTls(address, {
              ca: ca(),
              minVersion: version,
              maxVersion: version,
              ...(offered && { ALPNProtocols: [...offered] }),
            });
            // Deno's has null.
            assert.equal(client.alpnProtocol || false, agreed);
            client.end('hello');
            assert.equal(await readAll(client), 'hello');
          }
        }
      }),
  );

  test('a ClientHello that comes byte by byte is understood as one', { timeout, skip: isDeno }, async () => {
    const dir = join(pem().dir, 'mixed');
    makeMixedDirectory(dir);
    await serving({ alpn: ['h2'], sni: dir }, async (address) => {
      const carrier = connectPlain(address as { host: string; port: number });
      carrier.setNoDelay(true);
      carrier.on('error', () => {});
      after(() => carrier.destroy());
      await once(carrier, 'connect');
      const slow = new Duplex({
        read: () => carrier.resume(),
        write(chunk: Buffer, _, done) {
          const next = (at: number): void => {
            if (at === chunk.length || carrier.destroyed) return done();
            carrier.write(chunk.subarray(at, at + 1), () => setImmediate(next, at + 1));
          };
          next(0);
        },
      });
      carrier.on('data', (data) => slow.push(data) || carrier.pause());
      carrier.on('end', () => slow.push(null));
      const client = connectOver({
        socket: slow,
        servername: 'any.wild.example',
        ALPNProtocols: ['h2'],
        rejectUnauthorized: false,
      });
      await once(client, 'secureConnect');
      assert.equal(client.getPeerCertificate().subject.CN, '*.wild.example');
      assert.equal(client.alpnProtocol, 'h2');
      client.write('hello');
      assert.equal(String((await once(client, 'data'))[0]), 'hello');
      client.destroy();
    });
  });

  test('a handshake that takes longer than handshakeTimeout is ended, and others are served', { timeout }, () =>
    serving({ handshakeTimeout: 300 }, async (address, rig) => {
      const silent: Socket = connectPlain(address as { host: string; port: number });
      silent.on('error', () => {});
      after(() => silent.destroy());
      const client = await connectTls(address, { ca: ca() });
      client.end('hello');
      assert.equal(await readAll(client), 'hello');
      await endingOf(silent);
      assert.ok((await rig.endedConnections(2)).some(({ error }) => /timeout/i.test(error?.message ?? '')));
    }),
  );

  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`truncation=reset tells a client's end from one that was cut off (${version})`, { timeout }, async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openBackend();
      const { address } = await rig.forward({ to: to(backend), from: sslFrom(pem(), { truncation: 'reset' }) });
      const connect = () => connectTls(address, { ca: ca(), minVersion: version, maxVersion: version });
      const orderly = await connect();
      const peer = await backend.next();
      orderly.end('whole');
      assert.equal(await readAll(peer), 'whole');
      peer.end('answer');
      assert.equal(await readAll(orderly), 'answer');
      assert.equal((await rig.endedConnections(1))[0]?.error, null);

      const cut = await connect();
      const other = await backend.next();
      cut.write('half', () => truncateTls(cut));
      assert.equal(await endingOf(other), 'reset');
      const [, end] = await rig.endedConnections(2);
      assert.equal(end?.reason, 'client-reset');
      assert.match(end?.error?.message ?? '', /the client ended TLS without saying so/);
    });
  }
}
