import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { parseClient } from '../../src/endpoint/client.ts';
import { EndpointError } from '../../src/endpoint/error.ts';
import { readClientIdentity, readClientTrust, readServerIdentity } from '../../src/endpoint/files.ts';
import type { SslClient, SslServer, TlsClient } from '../../src/endpoint/model.ts';
import { pemBlocks } from '../../src/endpoint/pem.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { makePemFiles, type PemFiles } from './pem.ts';

function sslServer(text: string): SslServer {
  const endpoint = parseServer(text);
  assert.ok(endpoint.type === 'ssl');
  return endpoint;
}

function tlsClient(text: string): SslClient | TlsClient {
  const endpoint = parseClient(text);
  assert.ok(endpoint.type === 'ssl' || endpoint.type === 'tls');
  return endpoint;
}

/** Common names of the certificates in a PEM text, in order. */
function subjects(pem: string): string[] {
  return pemBlocks(pem).map(({ text }) => new X509Certificate(text).subject.replace('CN=', ''));
}

function refused(read: () => unknown, reason: RegExp): EndpointError {
  try {
    read();
  } catch (error) {
    assert.ok(error instanceof EndpointError, String(error));
    assert.match(error.message, reason);
    assert.match(error.message, /^cannot use endpoint "/);
    return error;
  }
  assert.fail('nothing was refused');
}

describe('files of TLS endpoints', { timeout: 60_000 }, () => {
  let files: PemFiles;
  before(() => {
    files = makePemFiles();
  });
  after(() => files.remove());

  test('key and certificate are read from two files, from one, and swapped', () => {
    const { key, cert, both } = files;
    for (const text of [`ssl:0:${key}:${cert}`, `ssl:0:${both}`, `ssl:0:${cert}:${key}`, `ssl:0:${both}:${cert}`]) {
      const identity = readServerIdentity(sslServer(text));
      assert.deepEqual(subjects(identity.cert), ['www.example.com']);
      assert.match(identity.key, /^-----BEGIN PRIVATE KEY-----\n/);
      createSecureContext(identity);
    }
  });

  test('the rest of the certificate file and then the chain file are sent, each certificate once', () => {
    const identity = readServerIdentity(
      sslServer(`ssl:0:${files.key}:${files.fullChain}:extraCertChain=${files.chain}`),
    );
    assert.deepEqual(subjects(identity.cert), ['www.example.com', 'Test Intermediate', 'Test Root']);
  });

  test('parameters and authorities of clients are passed on', () => {
    const identity = readServerIdentity(
      sslServer(`ssl:0:${files.both}:dhParameters=${files.dh}:clientCA=${files.chain}`),
    );
    assert.match(identity.dhparam ?? '', /^-----BEGIN DH PARAMETERS-----/);
    assert.deepEqual(subjects(identity.ca ?? ''), ['Test Intermediate', 'Test Root']);
    createSecureContext(identity);
  });

  test('what is wrong with a file is said with its parameter and name', () => {
    const { key, cert, otherCert, encryptedKey, junk, missing, emptyDir, fullChain, both } = files;
    const read = (text: string) => () => readServerIdentity(sslServer(text));
    refused(read(`ssl:0:${missing}`), /: privateKey ".*missing\.txt": file not found$/);
    refused(read(`ssl:0:${key}:${missing}`), /: certKey ".*missing\.txt": file not found$/);
    refused(read(`ssl:0:${emptyDir}`), /: privateKey ".*empty": a directory, not a file$/);
    refused(read(`ssl:0:${junk}`), /bad PEM: no private key in it$/);
    refused(read(`ssl:0:${key}`), /: privateKey .*bad PEM: no certificate in it$/);
    refused(read(`ssl:0:${key}:${otherCert}`), /: privateKey .*key does not match certificate ".*other\.crt"$/);
    refused(read(`ssl:0:${encryptedKey}:${cert}`), /: privateKey .*the private key is encrypted$/);
    refused(read(`ssl:0:${both}:extraCertChain=${key}`), /: extraCertChain .*no certificates in chain file$/);
    refused(read(`ssl:0:${both}:dhParameters=${cert}`), /: dhParameters .*bad PEM: no DH parameters in it$/);
    refused(read(`ssl:0:${both}:clientCA=${junk}`), /: clientCA .*bad PEM: no certificate in it$/);
    const { hint } = refused(read(`ssl:0:${key}:${reversed(fullChain)}`), /key does not match certificate/);
    assert.match(hint ?? '', /must be the first one/);
  });

  /** The same certificates in a new file, the last one first. */
  function reversed(path: string): string {
    const copy = join(files.dir, 'reversed.txt');
    writeFileSync(
      copy,
      pemBlocks(readFileSync(path, 'utf8'))
        .reverse()
        .map(({ text }) => text)
        .join(''),
    );
    return copy;
  }

  test('damaged keys and certificates are refused', () => {
    const damaged = join(files.dir, 'damaged.txt');
    writeFileSync(damaged, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    refused(() => readServerIdentity(sslServer(`ssl:0:${files.key}:${damaged}`)), /bad PEM: certificate 1 is damaged$/);
    writeFileSync(damaged, '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n');
    refused(
      () => readServerIdentity(sslServer(`ssl:0:${damaged}:${files.cert}`)),
      /bad PEM: the private key is damaged$/,
    );
  });

  test('a key of any usual sort is matched with its certificate', () => {
    // What openssl wrote before PKCS #8, with the curve in a block of its own.
    const older = join(files.dir, 'older.txt');
    const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';
    writeFileSync(older, parameters + readFileSync(files.both, 'utf8'));
    assert.deepEqual(subjects(readServerIdentity(sslServer(`ssl:0:${older}`)).cert), ['www.example.com']);
  });

  test('a client presents a certificate when its endpoint names one', () => {
    assert.equal(readClientIdentity(tlsClient('tls:h:1')), null);
    const identity = readClientIdentity(tlsClient(`tls:h:1:certificate=${files.fullChain}:privateKey=${files.key}`));
    assert.deepEqual(subjects(identity?.cert ?? ''), ['www.example.com', 'Test Intermediate']);
    assert.ok(readClientIdentity(tlsClient(`ssl:h:1:certKey=${files.both}`)));
    refused(
      () => readClientIdentity(tlsClient(`ssl:h:1:certKey=${files.cert}`)),
      /: certKey .*bad PEM: no private key in it/,
    );
    refused(
      () => readClientIdentity(tlsClient(`tls:h:1:certificate=${files.cert}:privateKey=${files.otherKey}`)),
      /does not match/,
    );
  });

  test('a client trusts every certificate in the .pem files of its directory, and hears of stray ones', () => {
    const trusted = join(files.dir, 'trusted');
    mkdirSync(join(trusted, 'below.pem'), { recursive: true });
    copyFileSync(files.chain, join(trusted, 'a.PEM'));
    copyFileSync(files.root, join(trusted, 'b.pem'));
    copyFileSync(files.key, join(trusted, 'stray.pem'));
    copyFileSync(files.otherCert, join(trusted, 'ignored.crt'));
    const warnings: string[] = [];
    const trust = readClientTrust(tlsClient(`tls:h:1:trustRoots=${trusted}`), {
      warn: (warning) => warnings.push(warning),
    });
    assert.deepEqual(trust?.flatMap(subjects), ['Test Intermediate', 'Test Root']);
    assert.equal(warnings.length, 2);
    assert.match(warnings[0] ?? '', /below\.pem": a directory, not a file/);
    assert.match(warnings[1] ?? '', /stray\.pem": bad PEM: no certificate in it/);
  });

  test('a directory without a usable certificate is refused', () => {
    const trust = (path: string) => () => readClientTrust(tlsClient(`ssl:h:1:caCertsDir=${path}`));
    refused(trust(files.emptyDir), /: caCertsDir .*no certificates in it$/);
    refused(trust(files.missing), /: caCertsDir .*file not found$/);
    refused(trust(files.cert), /: caCertsDir .*not a directory$/);
  });

  test('a client without a directory trusts what the system trusts, and one that verifies nothing has none', () => {
    const system = readClientTrust(tlsClient('tls:h:1'));
    assert.ok(system === undefined || new Set(system).size === system.length);
    assert.equal(readClientTrust(tlsClient('tls:h:1:insecure=yes')), undefined);
  });
});
