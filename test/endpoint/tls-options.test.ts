import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkClient, checkServer } from '../../src/endpoint/check.ts';
import { parseClient } from '../../src/endpoint/client.ts';
import { serverKey } from '../../src/endpoint/identity.ts';
import type { SslServer } from '../../src/endpoint/model.ts';
import { resolvePaths } from '../../src/endpoint/paths.ts';
import { printServer } from '../../src/endpoint/print.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { readTicketKeys } from '../../src/endpoint/ticket-keys.ts';
import { makePemFiles } from './pem.ts';
import { refuses } from './refusals.ts';

const timeout = 60_000;
const isDeno = 'Deno' in globalThis;

test('options of TLS are read, printed and compared', { timeout }, () => {
  const text =
    'ssl:443:clientCA=ca.pem:clientAuth=optional:minTLS=1.3:ciphers=TLS_AES_128_GCM_SHA256,ECDHE+AESGCM' +
    ':groups=X25519,P-256:ticketKeys=t.bin:handshakeTimeout=5s:passphrase=env\\:PASS:truncation=reset';
  const endpoint = parseServer(text);
  assert.deepEqual(endpoint, {
    ...parseServer('ssl:443'),
    clientCA: 'ca.pem',
    clientAuth: 'optional',
    minTLS: '1.3',
    ciphers: ['TLS_AES_128_GCM_SHA256', 'ECDHE+AESGCM'],
    groups: ['X25519', 'P-256'],
    ticketKeys: 't.bin',
    handshakeTimeout: 5000,
    passphrase: 'env:PASS',
    truncation: 'reset',
  });
  assert.deepEqual(parseServer(printServer(endpoint)), endpoint);
  assert.equal(serverKey(parseServer('ssl:1:minTLS=1.2')), serverKey(parseServer('ssl:1')));
  assert.equal(
    serverKey(parseServer('tls:d:1:clientCA=a:clientAuth=required')),
    serverKey(parseServer('tls:d:1:clientCA=a')),
  );
  assert.deepEqual((parseServer('ssl:1:ciphers=HIGH\\:!AES256') as SslServer).ciphers, ['HIGH', '!AES256']);
  assert.deepEqual(parseServer('haproxy:tcp:80:headerTimeout=5s'), {
    type: 'haproxy',
    endpoint: { ...parseServer('tcp:80'), headerTimeout: 5000 },
  });
});

test('a value that is not known is refused with those that are', { timeout }, () => {
  refuses(parseServer, {
    'ssl:1:minTLS=1.1': /minTLS "1\.1" is not known \(use 1\.2 or 1\.3\)/,
    'ssl:1:clientCA=a:clientAuth=maybe': /use required or optional/,
    'ssl:1:clientAuth=optional': /missing argument: clientCA/,
    'tls:d:1:clientAuth=required': /missing argument: clientCA/,
    'ssl:1:truncation=end': /use reset/,
    'ssl:1:handshakeTimeout=soon': /not a duration/,
    'ssl:1:sslmethod=TLSv1_2_METHOD:minTLS=1.3': /leave no version/,
    'ssl:1:groups=': /names "", which is no group/,
    'ssl:1:groups=P-256,P-256': /twice/,
    'tcp:1:minTLS=1.3': /unknown argument "minTLS"/,
    'tcp:1:headerTimeout=5s': /headerTimeout is about PROXY headers/,
  });
  if (isDeno) return; // what it cannot choose it cannot know
  refuses(parseServer, {
    'ssl:1:ciphers=NOPE': /names "NOPE", which is no cipher suite \(use OpenSSL's names, of TLS_AES_256_GCM_SHA384, /,
    'ssl:1:ciphers=TLS_NOPE': /names "TLS_NOPE"/,
    'ssl:1:ciphers=HIGH,!ALL': /leaves no cipher suite/,
    'ssl:1:groups=P-999': /names "P-999", which is no group \(use X25519MLKEM768, X25519, P-256/,
  });
});

test('where a pass phrase is can be said, and what may be one is not repeated', { timeout }, () => {
  for (const [text, reason] of [
    ['ssl:1:passphrase=hunter2', /does not say where .*env\\:NAME or file\\:PATH/],
    ['ssl:1:passphrase=env\\:1x', /not the name of a variable/],
    ['ssl:1:passphrase=file\\:', /not a path/],
  ] as const) {
    assert.throws(
      () => parseServer(text),
      (error: Error & { reason: string }) => reason.test(error.reason) && !error.reason.includes('hunter2'),
    );
  }
  assert.deepEqual(resolvePaths(parseServer('ssl:1:passphrase=file\\:p.txt'), '/etc'), {
    ...parseServer('ssl:1:privateKey=/etc/server.pem'),
    passphrase: 'file:/etc/p.txt',
  });
  assert.deepEqual(
    resolvePaths(parseServer('ssl:1:privateKey=/k:passphrase=env\\:PASS'), '/etc'),
    parseServer('ssl:1:privateKey=/k:passphrase=env\\:PASS'),
  );
  refuses(parseClient, {
    'ssl:h:1:passphrase=env\\:P': /certKey, for passphrase is of no use alone/,
    'tls:h:1:passphrase=env\\:P': /certificate, for passphrase is of no use alone/,
    'tcp:h:1:truncation=reset': /unknown argument "truncation"/,
  });
});

test(
  'an encrypted key is opened with the phrase of a file or a variable, by every kind of endpoint',
  { timeout },
  (t) => {
    const pem = makePemFiles();
    t.after(() => pem.remove());
    const good = join(pem.dir, 'good.pass');
    const bad = join(pem.dir, 'bad.pass');
    const none = join(pem.dir, 'none.pass');
    writeFileSync(good, 'secret\n');
    writeFileSync(bad, 'wrong\n');
    writeFileSync(none, '\n');
    const ssl = `ssl:0:privateKey=${pem.encryptedKey}:certKey=${pem.fullChain}`;
    const check = (text: string) => checkServer(parseServer(text), { text });
    assert.deepEqual(check(`${ssl}:passphrase=file\\:${good}`), []);
    process.env['GRACE_TEST_PASS'] = 'secret';
    t.after(() => delete process.env['GRACE_TEST_PASS']);
    assert.deepEqual(check(`${ssl}:passphrase=env\\:GRACE_TEST_PASS`), []);
    const client = `ssl:h:1:certKey=${pem.fullChain}:privateKey=${pem.encryptedKey}:insecure=yes`;
    assert.deepEqual(checkClient(parseClient(`${client}:passphrase=file\\:${good}`)), []);
    const directory = join(pem.dir, 'encrypted');
    mkdirSync(directory);
    for (const file of [pem.encryptedKey, pem.fullChain])
      copyFileSync(file, join(directory, `${file === pem.fullChain ? 'chain' : 'key'}.pem`));
    assert.deepEqual(check(`tls:${directory}:0:passphrase=file\\:${good}`), []);
    for (const [text, reason] of [
      [ssl, /the private key is encrypted/],
      [`${ssl}:passphrase=file\\:${bad}`, /encrypted\.key": the pass phrase is not its/],
      [`${ssl}:passphrase=file\\:${none}`, /no pass phrase in it/],
      [`${ssl}:passphrase=file\\:${pem.missing}`, /passphrase ".*missing\.txt": file not found/],
      [`${ssl}:passphrase=env\\:GRACE_TEST_NONE`, /passphrase env:GRACE_TEST_NONE: the daemon's environment has no/],
    ] as const)
      assert.throws(() => check(text), { message: reason });
  },
);

test('keys of session tickets are taken as they are, or as lines of base64', { timeout }, (t) => {
  const pem = makePemFiles();
  t.after(() => pem.remove());
  const keys = [1, 2, 3].map(() => randomBytes(80));
  const path = join(pem.dir, 'keys');
  const read = () => readTicketKeys(parseServer(`ssl:1:ticketKeys=${path}`) as SslServer);
  writeFileSync(path, Buffer.concat(keys));
  assert.deepEqual(read(), keys);
  writeFileSync(path, keys.map((key) => `${key.toString('base64')}\n`).join(''));
  assert.deepEqual(read(), keys);
  for (const [contents, reason] of [
    [Buffer.alloc(0), /does not hold 1 to 16 keys of 80 bytes/],
    [randomBytes(48), /does not hold/],
    [Buffer.concat([keys[0]!, keys[0]!]), /same name/],
  ] as const) {
    writeFileSync(path, contents);
    assert.throws(read, { message: reason });
  }
});
