import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readAuthorities } from '../../src/endpoint/authorities.ts';
import { makePemFiles } from './pem.ts';

const files = makePemFiles();
after(() => files.remove());

/** A file that was written long ago, as far as anybody asks. */
const later = Date.now() + 60_000;

test('what a file says is kept in memory until it says something else, and no longer', { timeout: 60_000 }, () => {
  const path = join(files.dir, 'authorities.pem');
  const file = { parameter: 'clientCA', path, text: 'ssl:…' };
  const read = () => readAuthorities(file, later);
  copyFileSync(files.cert, path);
  const first = read();
  assert.deepEqual(
    first.map(({ pem }) => pem),
    [readFileSync(files.cert, 'utf8')],
  );
  assert.equal(read(), first);

  writeFileSync(path, `${readFileSync(files.cert, 'utf8')}${readFileSync(files.otherCert, 'utf8')}`);
  const both = read();
  assert.equal(both.length, 2);
  assert.notEqual(both[0]!.fingerprint, both[1]!.fingerprint);
  assert.equal(read(), both);

  // As whoever renews certificates does it.
  copyFileSync(files.otherCert, join(files.dir, 'next'));
  renameSync(join(files.dir, 'next'), path);
  assert.deepEqual(read(), [both[1]]);

  writeFileSync(path, 'nothing');
  assert.throws(read, /no certificate in it/);
  assert.throws(read, /no certificate in it/);
  copyFileSync(files.cert, path);
  assert.deepEqual(read(), first);
});

test('a file that has just been written may be written again in the same tick, and is read each time', () => {
  const path = join(files.dir, 'fresh.pem');
  const file = { parameter: 'clientCA', path, text: 'ssl:…' };
  copyFileSync(files.cert, path);
  const [first, second] = [readAuthorities(file), readAuthorities(file)];
  assert.notEqual(first, second);
  assert.deepEqual(first, second);
});
