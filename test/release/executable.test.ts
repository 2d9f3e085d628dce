import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, verify } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundle, hostTarget, makeExecutable, nodeBinary } from '../../scripts/build.ts';
import { packRelease } from '../../scripts/release/pack.ts';
import { readSigningKey } from '../../scripts/release/sign.ts';
import { root } from '../install/release-server.ts';

const timeout = 120_000;
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

function makeTempDir(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'grace-release-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test('the same tree makes the same executable, wherever it is built', { timeout }, async () => {
  const sums: string[] = [];
  for (const version of ['9.8.7', '9.8.7']) {
    using directory = makeTempDir();
    const bundleFile = join(directory.path, 'grace.cjs');
    const outfile = join(directory.path, 'grace');
    await bundle(bundleFile, { version });
    await makeExecutable({ target: hostTarget(), bundleFile, outfile });
    sums.push(sha256(readFileSync(outfile)));
    if (sums.length > 1) continue;
    assert.equal(execFileSync(outfile, ['--version'], { encoding: 'utf8' }).split('\n')[0], 'grace 9.8.7');
    const { file } = await nodeBinary(hostTarget());
    assert.ok(statSync(outfile).size < statSync(file).size * 0.65, `${statSync(outfile).size} bytes`);
  }
  assert.equal(sums[0], sums[1]);
});

test('a release has sums of everything, and a signature that openssl verifies', { timeout }, async (t) => {
  using directory = makeTempDir();
  const { privateKey } = generateKeyPairSync('ed25519');
  const key = readSigningKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  const outdir = join(directory.path, 'release');
  const executables = new Map([['linux-x64', join(root, 'package.json')]]);
  const packing = {
    root,
    version: '1.2.3',
    executables,
    outdir,
    key,
    releaseUrl: 'https://example.com/grace',
    level: 1,
  };
  const sizes = await packRelease(packing);
  const file = (name: string) => readFileSync(join(outdir, 'latest/download', name));
  const sums = file('SHA256SUMS').toString();
  const names = [...sizes.keys()].filter((name) => !name.startsWith('SHA256SUMS'));
  assert.deepEqual(
    sums.trimEnd().split('\n'),
    names.map((name) => `${sha256(file(name))}  ${name}`).sort((a, b) => (a.slice(66) < b.slice(66) ? -1 : 1)),
  );
  assert.ok(verify(null, file('SHA256SUMS'), key.publicPem, file('SHA256SUMS.sig')));
  const script = file('install.sh').toString();
  assert.match(script, /^default_url='https:\/\/example\.com\/grace'$/m);
  assert.ok(script.includes(`public_key='${key.publicPem.trim()}'`));
  const before = sums;
  await packRelease(packing);
  assert.equal(file('SHA256SUMS').toString(), before, 'the same again');

  const { error, stderr } = spawnSync('openssl', ['pkeyutl', '-help'], { encoding: 'utf8' });
  if (error || !stderr.includes('rawin')) return t.diagnostic('there is no openssl 3');
  const keyFile = ['-pubin', '-inkey', join(directory.path, 'key.pem')];
  writeFileSync(keyFile.at(-1)!, key.publicPem);
  const { status, stdout } = spawnSync(
    'openssl',
    ['pkeyutl', '-verify', ...keyFile, '-rawin', '-in', 'SHA256SUMS', '-sigfile', 'SHA256SUMS.sig'],
    { cwd: join(outdir, 'latest/download'), encoding: 'utf8' },
  );
  assert.equal(status, 0, stdout);
});

test('a bundle knows the keys and the place that it was made with', { timeout }, async () => {
  using directory = makeTempDir();
  const file = join(directory.path, 'grace.cjs');
  await bundle(file, { publicKeys: 'no key', releaseUrl: 'http://127.0.0.1:1' });
  const { stderr } = spawnSync(process.execPath, [file, 'upgrade', '--check'], { encoding: 'utf8' });
  assert.match(stderr, /cannot read the public key/);
});

test('a key of another kind signs no release', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  assert.throws(
    () => readSigningKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
    /must be ed25519/,
  );
});
