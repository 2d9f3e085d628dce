/** Files that are none, and keys and certificates that OpenSSL does not take. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkClient, checkServer } from '../../src/endpoint/check.ts';
import { parseClient } from '../../src/endpoint/client.ts';
import { EndpointError } from '../../src/endpoint/error.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { makeCertificate, makePemFiles } from './pem.ts';

const files = makePemFiles();
after(() => files.remove());
const path = (name: string) => join(files.dir, name);
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
const check = (text: string) => checkServer(parseServer(text));
const refused = (text: string, message: RegExp, hint?: RegExp) =>
  assert.throws(
    () => check(text),
    (error) =>
      error instanceof EndpointError &&
      message.test(error.message) &&
      (hint === undefined || hint.test(error.hint ?? '')),
  );

test('a FIFO, a device, a directory and a file without end are refused at once', { timeout: 60_000 }, () => {
  execFileSync('mkfifo', [path('fifo')]);
  writeFileSync(path('huge'), Buffer.alloc(3_000_000, 'x'));
  refused(
    `ssl:0:privateKey=${path('fifo')}:certKey=${files.cert}`,
    /privateKey ".*fifo": a named pipe \(FIFO\), not a file/,
    /copy/,
  );
  refused(`ssl:0:privateKey=${files.key}:certKey=/dev/zero`, /certKey "\/dev\/zero": a device, not a file/);
  refused(`ssl:0:privateKey=${files.dir}:certKey=${files.cert}`, /a directory, not a file/);
  refused(`ssl:0:privateKey=${files.both}:clientCA=${path('huge')}`, /clientCA ".*huge": larger than/);
  refused(`ssl:0:privateKey=${files.both}:dhParameters=${path('fifo')}`, /dhParameters .*FIFO/);
  refused(`ssl:0:privateKey=${files.both}:extraCertChain=${path('fifo')}`, /extraCertChain .*FIFO/);
});

test(
  'a directory with a link to itself, a FIFO and a link to nothing is read, in the way of certbot',
  { timeout: 60_000 },
  () => {
    const dir = path('letsencrypt');
    for (const below of ['', 'archive', 'archive/a', 'live', 'live/a']) mkdirSync(join(dir, below));
    copyFileSync(files.key, join(dir, 'archive/a/privkey1.pem'));
    copyFileSync(files.fullChain, join(dir, 'archive/a/fullchain1.pem'));
    symlinkSync('../../archive/a/privkey1.pem', join(dir, 'live/a/privkey.pem'));
    symlinkSync('../../archive/a/fullchain1.pem', join(dir, 'live/a/fullchain.pem'));
    symlinkSync('..', join(dir, 'live/up'));
    symlinkSync('nowhere', join(dir, 'live/dead.pem'));
    execFileSync('mkfifo', [join(dir, 'live/fifo.pem')]);
    const warnings = check(`tls:${dir}`);
    assert.equal(warnings.length, 2);
    assert.match(warnings.join('\n'), /skipped: .*dead\.pem.*not found\nskipped: .*fifo\.pem.*FIFO/);
  },
);

test('the key that privateKey names counts, whatever lies in the file of the certificate', { timeout: 60_000 }, () => {
  writeFileSync(path('with-old-key'), readFileSync(files.otherKey));
  appendFileSync(path('with-old-key'), readFileSync(files.cert));
  assert.deepEqual(check(`ssl:0:privateKey=${files.key}:certKey=${path('with-old-key')}`), []);
});

test('what OpenSSL refuses is named with its file and what to do', { timeout: 60_000 }, () => {
  openssl(
    'req',
    '-x509',
    '-nodes',
    '-newkey',
    'rsa:1024',
    '-subj',
    '/CN=weak',
    '-keyout',
    path('weak.key'),
    '-out',
    path('weak.crt'),
  );
  refused(
    `ssl:0:privateKey=${path('weak.key')}:certKey=${path('weak.crt')}`,
    /certKey ".*weak\.crt": OpenSSL refuses it: ee key too small/,
    /2048 bits/,
  );
  openssl('genpkey', '-genparam', '-algorithm', 'DHX', '-pkeyopt', 'dh_rfc5114:1', '-out', path('dhx.txt'));
  refused(
    `ssl:0:privateKey=${files.both}:dhParameters=${path('dhx.txt')}`,
    /dhParameters ".*dhx\.txt": /,
    /openssl dhparam/,
  );
});

test(
  'a certificate that has expired, is to come or soon ends, and a curve that nobody has, are told of',
  { timeout: 60_000 },
  () => {
    const extensions = ['subjectAltName=DNS:a.test'];
    openssl(
      'req',
      '-x509',
      '-nodes',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:secp256k1',
      '-days',
      '30',
      '-subj',
      '/CN=odd',
      '-keyout',
      path('odd.key'),
      '-out',
      path('odd.crt'),
    );
    assert.match(
      check(`ssl:0:privateKey=${path('odd.key')}:certKey=${path('odd.crt')}`).join(),
      /odd\.crt": its key is on the curve secp256k1, which clients do not offer/,
    );
    makeCertificate(files.dir, { name: 'short', subject: 'short.test', extensions, days: 30 });
    const valid = check(`ssl:0:privateKey=${path('short.key')}:certKey=${path('short.crt')}`);
    assert.deepEqual(valid, []);
    openssl('x509', '-in', path('short.crt'), '-signkey', path('short.key'), '-days', '-1', '-out', path('gone.crt'));
    assert.match(
      check(`ssl:0:privateKey=${path('short.key')}:certKey=${path('gone.crt')}`).join(),
      /gone\.crt": the certificate of short\.test expired on 20/,
    );
  },
);

test(
  'the files in a directory of certificates may have names that are not UTF-8',
  { timeout: 60_000, skip: process.platform !== 'linux' && 'names are bytes on Linux' },
  () => {
    const below = Buffer.concat([Buffer.from(`${path('latin')}/m`), Buffer.from([0xfc]), Buffer.from('n')]);
    mkdirSync(below, { recursive: true });
    for (const [name, from] of [
      ['k', files.key],
      ['c', files.fullChain],
    ] as const)
      copyFileSync(from, Buffer.concat([below, Buffer.from(`/${name}`), Buffer.from([0xe9]), Buffer.from('.pem')]));
    for (const endpoint of [`tls:${path('latin')}`, `ssl:0:privateKey=${files.both}:sni=${path('latin')}`])
      assert.deepEqual(check(endpoint), []);
  },
);

test('an RSA key of more than 2048 bits is told of as advice, and no warning', { timeout: 60_000 }, () => {
  openssl(
    'req',
    '-x509',
    '-nodes',
    '-newkey',
    'rsa:3072',
    '-days',
    '30',
    '-subj',
    '/CN=big',
    '-keyout',
    path('big.key'),
    '-out',
    path('big.crt'),
  );
  mkdirSync(path('big'));
  copyFileSync(path('big.key'), path('big/k.pem'));
  copyFileSync(path('big.crt'), path('big/c.pem'));
  const adviceOf = (look: (options: { advise: (advice: string) => void }) => string[]) => {
    const advice: string[] = [];
    assert.deepEqual(look({ advise: (each) => void advice.push(each) }), []);
    return advice.join('\n');
  };
  const pair = `privateKey=${path('big.key')}:certKey=${path('big.crt')}`;
  assert.match(
    adviceOf((options) => checkServer(parseServer(`ssl:0:${pair}`), options)),
    /^certKey ".*big\.crt": its RSA key has 3072 bits, .* expensive.*$/,
  );
  assert.match(
    adviceOf((options) => checkServer(parseServer(`tls:${path('big')}`), options)),
    /^path ".*big": the certificate of big: its RSA key has 3072 bits/,
  );
  assert.match(
    adviceOf((options) => checkClient(parseClient(`ssl:h:1:${pair}:insecure=yes`), options)),
    /3072 bits/,
  );
  assert.equal(
    adviceOf((options) => checkServer(parseServer(`ssl:0:privateKey=${files.both}`), options)),
    '',
  );
});
