import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { chooseIdentity, readServerDirectory } from '../../src/endpoint/directory.ts';
import { EndpointError } from '../../src/endpoint/error.ts';
import { pemBlocks } from '../../src/endpoint/pem.ts';
import { makeCertificate, makePemFiles, type PemFiles } from './pem.ts';

describe('a directory of keys and certificates', { timeout: 60_000 }, () => {
  let files: PemFiles;
  before(() => {
    files = makePemFiles();
  });
  after(() => files.remove());

  /** A directory with copies of the files, under the names given. */
  function directoryOf(contents: Readonly<Record<string, string>>): string {
    const dir = mkdtempSync(join(files.dir, 'identities-'));
    for (const [name, path] of Object.entries(contents)) {
      mkdirSync(join(dir, name, '..'), { recursive: true });
      copyFileSync(path, join(dir, name));
    }
    return dir;
  }

  const subjects = (pem: string) => pemBlocks(pem).map(({ text }) => new X509Certificate(text).subject.replace('CN=', ''));

  test('keys and certificates are paired wherever they are, in order of the files', () => {
    const path = directoryOf({
      'b/key.pem': files.key, 'c/cert.pem': files.cert, 'a.pem': files.otherKey, 'd.pem': files.otherCert, 'e.txt': files.junk,
    });
    const identities = readServerDirectory({ path });
    assert.deepEqual(identities.map(({ names }) => names), [['other.example'], ['www.example.com', '*.example.org']]);
    for (const { key, cert } of identities) createSecureContext({ key, cert });
  });

  test('chains are built from the certificates without a key, up to but without the root', () => {
    const [identity] = readServerDirectory({ path: directoryOf({ 'a.pem': files.chain, 'b.pem': files.both, 'c.pem': files.fullChain }) });
    assert.deepEqual(subjects(identity?.cert ?? ''), ['www.example.com', 'Test Intermediate']);
  });

  test('of two certificates of one key the one that is valid longer comes first', () => {
    const dir = directoryOf({ 'key.pem': files.otherKey, 'a.pem': files.otherCert });
    copyFileSync(files.otherKey, join(dir, 'longer.key'));
    makeCertificate(dir, { name: 'longer', subject: 'longer', extensions: ['subjectAltName=DNS:other.example'], keepKey: true, days: 60 });
    writeFileSync(join(dir, 'z.pem'), readFileSync(join(dir, 'longer.crt')));
    const identities = readServerDirectory({ path: dir });
    assert.deepEqual(identities.map(({ cert }) => subjects(cert)), [['longer'], ['other.example']]);
  });

  test('what cannot be used is skipped with a warning', () => {
    const path = directoryOf({ 'a.pem': files.encryptedKey, 'b.pem': files.both });
    const warnings: string[] = [];
    assert.equal(readServerDirectory({ path }, { warn: (warning) => warnings.push(warning) }).length, 1);
    assert.match(warnings.join(), /^skipped: path ".*a\.pem": the private key is encrypted$/);
  });

  test('a directory without an identity is refused', () => {
    const isRefusal = (reason: RegExp) => (error: unknown) => error instanceof EndpointError && reason.test(error.message);
    assert.throws(() => readServerDirectory({ path: files.missing }), isRefusal(/path ".*": file not found$/));
    assert.throws(() => readServerDirectory({ path: files.cert }), isRefusal(/not a directory$/));
    assert.throws(() => readServerDirectory({ path: files.emptyDir }, { parameter: 'sni' }), isRefusal(/sni ".*": no private key/));
    assert.throws(() => readServerDirectory({ path: directoryOf({ 'a.pem': files.key }) }), isRefusal(/no private key with its certificate/));
  });
});

test('an identity is chosen by its very name before a wildcard, which stands for one label', { timeout: 60_000 }, () => {
  const identities = [{ names: ['*.example.org'] }, { names: ['www.example.org', 'example.org'] }];
  const chosen = (name: string) => identities.findIndex((each) => each === chooseIdentity(identities, name));
  assert.deepEqual(['www.example.org', 'WWW.Example.org.', 'ftp.example.org', 'a.b.example.org', 'example.org', 'example.com', ''].map(chosen), [
    1, 1, 0, -1, 1, -1, -1,
  ]);
});
