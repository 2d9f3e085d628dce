/** Which certificates of a directory stay when it is read again. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseServer } from '../../src/endpoint/server.ts';
import type { TlsServer } from '../../src/endpoint/model.ts';
import { readServerParts, readServerPartsAgain } from '../../src/endpoint/server-parts.ts';
import { makePemFiles } from './pem.ts';
import type { PemFiles } from './pem.ts';

const damaged = '-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n';

describe('a directory of certificates that is read again', () => {
  let files: PemFiles;
  before(() => {
    files = makePemFiles();
  });
  after(() => files.remove());

  /** With the pair for www.example.com in a directory of its own, and that for other.example; `again` reads it again and again. */
  function makeDirectory(stray = '') {
    const dir = mkdtempSync(join(files.dir, 'named-'));
    writeFileSync(join(dir, 'stray.pem'), stray);
    const volume = (version: string, pem: string) => {
      mkdirSync(join(dir, version));
      writeFileSync(join(dir, version, 'pair.pem'), pem);
    };
    const other = join(dir, 'other.pem');
    writeFileSync(other, readFileSync(files.otherKey, 'utf8') + readFileSync(files.otherCert, 'utf8'));
    volume('first', readFileSync(files.both, 'utf8'));
    const endpoint = parseServer(`tls:${dir}:0`) as TlsServer;
    let parts = readServerParts(endpoint);
    const again = () => {
      const read = readServerPartsAgain(endpoint, parts);
      ({ parts } = read);
      return { names: parts.named.map(({ names }) => names[0]).sort(), problems: read.problems };
    };
    return { dir, other, volume, again };
  }
  const both = ['other.example', 'www.example.com'];

  test('what is taken away goes, also beside a file that was always bad', () => {
    const { other, again } = makeDirectory(damaged);
    assert.deepEqual(again(), { names: both, problems: [] });
    rmSync(other);
    assert.deepEqual(again(), { names: ['www.example.com'], problems: [] });
  });

  test('one whose file is damaged stays until it is mended', () => {
    const { other, again } = makeDirectory();
    const good = readFileSync(other, 'utf8');
    writeFileSync(other, good.replace(/M[A-Za-z0-9]{20}/g, '?'));
    const { names, problems } = again();
    assert.deepEqual(names, both);
    assert.match(problems.join(), /^path "[^"]*other\.pem": bad PEM/);
    assert.deepEqual(again(), { names, problems });
    writeFileSync(other, good);
    assert.deepEqual(again(), { names: both, problems: [] });
  });

  test('one of which the next version, in another directory, is damaged stays', () => {
    const { dir, volume, again } = makeDirectory();
    volume('second', damaged);
    rmSync(join(dir, 'first'), { recursive: true });
    for (let times = 0; times < 2; times++) {
      const { names, problems } = again();
      assert.deepEqual(names, both);
      assert.match(problems.join(), /^path "[^"]*second\/pair\.pem": bad PEM/);
    }
    volume('third', readFileSync(files.both, 'utf8'));
    rmSync(join(dir, 'second'), { recursive: true });
    assert.deepEqual(again(), { names: both, problems: [] });
  });
});
