/** Who is let in and who is connected to: every way to be right or wrong, with both versions of TLS. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SslClient } from '../../src/endpoint/model.ts';
import { makeCertificate } from '../endpoint/pem.ts';
import { endingOf, openEcho, readAll, readToClose } from './peers.ts';
import { Rig, to } from './rig.ts';
import type { OpenEngine } from './rig.ts';
import { connectTls, openTlsBackend, pemFiles, read, sslFrom, sslTo } from './tls-peers.ts';

const isDeno = 'Deno' in globalThis;
const options = { timeout: 60_000, skip: isDeno && 'the peers that it needs are Node alone' };
const versions = ['TLSv1.2', 'TLSv1.3'] as const;

type Pair = { key: string; cert: string };
/** What may be wrong with a server, in the order in which it is looked at. */
type Flaw = 'not trusted' | 'not for' | null;

export function tlsVerificationSuite(openEngine: OpenEngine): void {
  const pem = pemFiles();
  const made = new Map<string, Pair>();

  /** A pair that the test's root has signed, or another one of the same name that nobody trusts. */
  function pairOf(name: string, { issuer = 'root', extensions }: { issuer?: string; extensions: string[] }): Pair {
    const { dir } = pem();
    const [file, authority] = [`${name}-of-${issuer}`, 'basicConstraints=critical,CA:TRUE'];
    if (issuer !== 'root' && !made.has(issuer)) {
      made.set(issuer, { key: '', cert: '' });
      // As like the trusted one as it can be.
      makeCertificate(dir, { name: issuer, subject: 'Test Root', extensions: [authority] });
    }
    if (!made.has(file)) {
      makeCertificate(dir, { name: file, subject: name, extensions, issuer });
      made.set(file, { key: read(`${dir}/${file}.key`), cert: read(`${dir}/${file}.crt`) });
    }
    return made.get(file)!;
  }

  /** For names alone, or for addresses alone. */
  const named = ['subjectAltName=DNS:www.example.com,DNS:127.0.0.1'];
  const addressed = ['subjectAltName=IP:127.0.0.1'];
  const both = ['subjectAltName=DNS:www.example.com,IP:127.0.0.1'];

  const asked: readonly [Partial<SslClient>, string[], isRight: boolean][] = [
    [{ hostname: 'www.example.com' }, both, true],
    [{ hostname: 'www.example.com' }, addressed, false],
    [{ hostname: 'www.example.net' }, both, false],
    [{ serverName: 'www.example.com' }, named, true],
    [{ hostname: 'www.example.com', serverName: 'www.example.org' }, named, false],
    [{ serverName: '127.0.0.1' }, addressed, true],
    [{ serverName: '127.0.0.2' }, both, false],
    // Nothing is said: it must be for the address that is connected to, which is no name.
    [{}, addressed, true],
    [{}, named, false],
  ];

  for (const version of versions) {
    test(
      `a destination with ${version} must be of a trusted authority, and for the name or address that was asked for`,
      options,
      async () => {
        await using rig = new Rig(openEngine);
        let ended = 0;
        for (const issuer of ['root', 'impostor'])
          for (const [extras, extensions, isRight] of asked)
            for (const insecure of [false, true]) {
              const flaw: Flaw = insecure ? null : issuer !== 'root' ? 'not trusted' : isRight ? null : 'not for';
              const what = JSON.stringify({ issuer, extras, extensions, insecure });
              const name = `server-${['both', 'addressed', 'named'][[both, addressed, named].indexOf(extensions)]}`;
              await using backend = await openTlsBackend({
                ...pairOf(name, { issuer, extensions }),
                minVersion: version,
                maxVersion: version,
              });
              let [heard, shaken] = ['', 0];
              void (async () => {
                const peer = await backend.next();
                shaken++;
                peer.on('data', (data: Buffer) => (heard += data.toString('latin1'))).on('end', () => peer.end('bye'));
              })();
              const endpoint = sslTo(backend.port, pem(), {
                ...extras,
                ...(insecure && { insecure, caCertsDir: null }),
              });
              const { connect } = await rig.forward({ to: endpoint });
              const client = await connect();
              client.end('secret');
              if (flaw === null) assert.equal(await readAll(client), 'bye', what);
              else assert.equal(await endingOf(client), 'reset', what);
              const { stage, error } = (await rig.endedConnections(++ended))[ended - 1]!;
              assert.equal(heard, flaw === null ? 'secret' : '', what);
              if (flaw === null) {
                assert.equal(error, null, what);
                assert.equal(shaken, 1, what);
              } else {
                assert.equal(stage, 'dial', what);
                assert.match(error?.message ?? '', new RegExp(`its certificate is ${flaw}`), what);
              }
            }
      },
    );

    test(`a destination with ${version} that wants a certificate gets the one that there is`, options, async () => {
      await using rig = new Rig(openEngine);
      await using backend = await openTlsBackend({
        ...pairOf('server-both', { extensions: both }),
        minVersion: version,
        maxVersion: version,
        requestCert: true,
        rejectUnauthorized: true,
        ca: read(pem().root),
      });
      const { dir } = pem();
      const files = (name: string, issuer: string) => {
        pairOf(name, { issuer, extensions: [] });
        return { privateKey: `${dir}/${name}-of-${issuer}.key`, certKey: `${dir}/${name}-of-${issuer}.crt` };
      };
      const cases: [Partial<SslClient>, isRight: boolean][] = [
        [files('alice', 'root'), true],
        [files('alice', 'impostor'), false],
        [{}, false],
      ];
      for (const [index, [extras, isRight]] of cases.entries()) {
        const { connect } = await rig.forward({ to: sslTo(backend.port, pem(), extras) });
        const client = await connect();
        client.write('secret');
        if (isRight) {
          const peer = await backend.next();
          assert.equal(peer.getPeerCertificate().subject.CN, 'alice');
          peer.end('bye');
          assert.equal(await readAll(client), 'bye');
          client.end();
          assert.equal(await readAll(peer), 'secret');
        } else {
          // In TLS 1.3 the server learns who it is when the client is done; Node's then just ends.
          assert.equal(await readToClose(client), '');
        }
        const { error } = (await rig.endedConnections(index + 1))[index]!;
        if (isRight || version === 'TLSv1.2') assert.equal(error === null, isRight, `${index}: ${error?.message}`);
      }
    });

    for (const clientAuth of ['required', 'optional'] as const)
      test(
        `clients with ${version} are let in with a certificate of the authority${clientAuth === 'optional' ? ', or with none' : ''}`,
        options,
        async () => {
          await using rig = new Rig(openEngine);
          await using echo = await openEcho();
          const { address } = await rig.forward({
            to: to(echo),
            from: sslFrom(pem(), { clientCA: pem().root, clientAuth }),
          });
          const cases: [Partial<Pair>, isRight: boolean][] = [
            [pairOf('alice', { extensions: [] }), true],
            // A client need not have a name of any kind.
            [pairOf('bob', { extensions: named }), true],
            [pairOf('alice', { issuer: 'impostor', extensions: [] }), false],
            [{ key: read(pem().otherKey), cert: read(pem().otherCert) }, false],
            [{}, clientAuth === 'optional'],
          ];
          let accepted = 0;
          for (const [index, [identity, isRight]] of cases.entries()) {
            const limits = { minVersion: version, maxVersion: version };
            const client = await connectTls(address, { ca: read(pem().root), ...identity, ...limits }).catch(
              () => null,
            );
            client?.end('let me in');
            assert.equal(client === null ? '' : await readToClose(client), isRight ? 'let me in' : '', `case ${index}`);
            if (isRight) accepted++;
            const { stage, error } = (await rig.endedConnections(index + 1))[index]!;
            if (isRight) assert.equal(error, null);
            else assert.deepEqual([stage, error?.name], ['handshake', 'GraceError']);
            assert.equal(echo.accepted, accepted, `case ${index}`);
          }
        },
      );
  }

  test('a certificate that is for something else than serving is not trusted', options, async () => {
    await using rig = new Rig(openEngine);
    const pairs = [
      pairOf('only-a-client', { extensions: [...both, 'extendedKeyUsage=clientAuth'] }),
      pairOf('also-a-server', { extensions: [...both, 'extendedKeyUsage=clientAuth,serverAuth'] }),
    ];
    for (const [index, pair] of pairs.entries()) {
      await using backend = await openTlsBackend(pair);
      const { connect } = await rig.forward({ to: sslTo(backend.port, pem()) });
      const client = await connect();
      client.end('secret');
      if (index === 0) assert.equal(await endingOf(client), 'reset');
      else (await backend.next()).end('bye');
      if (index === 1) assert.equal(await readToClose(client), 'bye');
      const error = (await rig.endedConnections(index + 1))[index]!.error;
      assert.match(error?.message ?? '', index === 0 ? /its certificate is not trusted: .*purpose/ : /^$/);
    }
  });
}
