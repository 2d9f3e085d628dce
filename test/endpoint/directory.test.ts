import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { chooseIdentities, defaultIdentities, readServerDirectory } from '../../src/endpoint/directory.ts';
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

  const subjects = (pem: string) =>
    pemBlocks(pem).map(({ text }) => new X509Certificate(text).subject.replace('CN=', ''));

  test('keys and certificates are paired wherever they are, in order of the files', () => {
    const path = directoryOf({
      'b/key.pem': files.key,
      'c/cert.pem': files.cert,
      'a.pem': files.otherKey,
      'd.pem': files.otherCert,
      'e.txt': files.junk,
    });
    const identities = readServerDirectory({ path });
    assert.deepEqual(
      identities.map(({ names }) => names),
      [['other.example'], ['www.example.com', '*.example.org']],
    );
    for (const { key, cert } of identities) createSecureContext({ key, cert });
  });

  test(
    'files and directories may have names that are not UTF-8',
    { skip: process.platform !== 'linux' && 'names are text there' },
    () => {
      const path = directoryOf({});
      const below = Buffer.concat([Buffer.from(`${path}/caf`), Buffer.from([0xe9])]);
      mkdirSync(below);
      copyFileSync(files.otherKey, Buffer.concat([below, Buffer.from('/'), Buffer.from([0xe9]), Buffer.from('.pem')]));
      copyFileSync(files.otherCert, join(path, 'cert.pem'));
      assert.deepEqual(
        readServerDirectory({ path }).map(({ names }) => names),
        [['other.example']],
      );
    },
  );

  test('chains are built from the certificates without a key, up to but without the root', () => {
    const [identity] = readServerDirectory({
      path: directoryOf({ 'a.pem': files.chain, 'b.pem': files.both, 'c.pem': files.fullChain }),
    });
    assert.deepEqual(subjects(identity?.cert ?? ''), ['www.example.com', 'Test Intermediate']);
  });

  test('of two certificates of one key the one that is valid longer comes first', () => {
    const dir = directoryOf({ 'key.pem': files.otherKey, 'a.pem': files.otherCert });
    copyFileSync(files.otherKey, join(dir, 'longer.key'));
    makeCertificate(dir, {
      name: 'longer',
      subject: 'longer',
      extensions: ['subjectAltName=DNS:other.example'],
      keepKey: true,
      days: 60,
    });
    writeFileSync(join(dir, 'z.pem'), readFileSync(join(dir, 'longer.crt')));
    const identities = readServerDirectory({ path: dir });
    assert.deepEqual(
      identities.map(({ cert }) => subjects(cert)),
      [['longer'], ['other.example']],
    );
  });

  test('what cannot be used is skipped with a warning', () => {
    const path = directoryOf({ 'a.pem': files.encryptedKey, 'b.pem': files.both });
    const warnings: string[] = [];
    assert.equal(readServerDirectory({ path }, { warn: (warning) => warnings.push(warning) }).length, 1);
    assert.match(warnings.join(), /^skipped: path ".*a\.pem": the private key is encrypted$/);
  });

  test('a directory without an identity is refused', () => {
    const isRefusal = (reason: RegExp) => (error: unknown) =>
      error instanceof EndpointError && reason.test(error.message);
    assert.throws(() => readServerDirectory({ path: files.missing }), isRefusal(/path ".*": file not found$/));
    assert.throws(() => readServerDirectory({ path: files.cert }), isRefusal(/not a directory$/));
    assert.throws(
      () => readServerDirectory({ path: files.emptyDir }, { parameter: 'sni' }),
      isRefusal(/sni ".*": no private key/),
    );
    assert.throws(
      () => readServerDirectory({ path: directoryOf({ 'a.pem': files.key }) }),
      isRefusal(/no private key with its certificate/),
    );
  });
});

const day = 86_400_000;
const now = Date.UTC(2026, 5, 1);
const old = { fromMs: now - 400 * day, untilMs: now - 30 * day };
const last = { fromMs: now - 50 * day, untilMs: now + 10 * day };
const current = { fromMs: now - 5 * day, untilMs: now + 85 * day };
const future = { fromMs: now + day, untilMs: now + 900 * day };

test(
  'an identity is chosen by its very name before a wildcard, which stands for one label',
  { timeout: 60_000 },
  () => {
    const identities = [['*.example.org'], ['www.example.org', 'example.org']].map((names) => ({
      names,
      keyType: 'ec',
      validity: current,
    }));
    const chosen = (name: string) =>
      identities.findIndex((each) => each === chooseIdentities(identities, name, now)[0]);
    assert.deepEqual(
      [
        'www.example.org',
        'WWW.Example.org.',
        'ftp.example.org',
        'a.b.example.org',
        'example.org',
        'example.com',
        '',
      ].map(chosen),
      [1, 1, 0, -1, 1, -1, -1],
    );
  },
);

test(
  'a valid certificate is chosen before an expired one and one to come, the newest first, one of each kind of key',
  { timeout: 60_000 },
  () => {
    const identities = [
      { id: 'old', names: ['a.test'], keyType: 'ec', validity: old },
      { id: 'future', names: ['a.test'], keyType: 'ec', validity: future },
      { id: 'last', names: ['a.test'], keyType: 'ec', validity: last },
      { id: 'current', names: ['a.test'], keyType: 'ec', validity: current },
      { id: 'rsa', names: ['a.test'], keyType: 'rsa', validity: last },
      { id: 'old rsa', names: ['b.test'], keyType: 'rsa', validity: old },
      { id: 'wildcard', names: ['*.test'], keyType: 'rsa', validity: current },
    ];
    const ids = (found: readonly { id: string }[]) => found.map(({ id }) => id);
    assert.deepEqual(ids(chooseIdentities(identities, 'a.test', now)), ['current', 'rsa']);
    assert.deepEqual(ids(chooseIdentities(identities, 'b.test', now)), ['wildcard']);
    assert.deepEqual(ids(chooseIdentities(identities.slice(0, 2), 'a.test', now)), ['future']);
    assert.deepEqual(ids(defaultIdentities(identities, now)), ['current', 'rsa']);
  },
);
