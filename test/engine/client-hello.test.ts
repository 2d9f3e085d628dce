import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readClientHello, usableKeyTypes } from '../../src/engine/client-hello.ts';
import { seededRandom } from '../random.ts';
import { helloOf, inRecords } from './hellos.ts';

const timeout = 60_000;

function keyTypesOf(bytes: Buffer): string[] {
  const hello = readClientHello(bytes);
  assert.ok(hello !== null && hello !== 'more');
  return usableKeyTypes(hello);
}

test('the kinds of keys that a client can use are told from what it says first', { timeout }, async () => {
  assert.deepEqual(
    (
      await Promise.all([
        helloOf({}),
        helloOf({ sigalgs: 'RSA-PSS+SHA256' }),
        helloOf({ sigalgs: 'ECDSA+SHA256' }),
        helloOf({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }),
        helloOf({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }),
        helloOf({
          maxVersion: 'TLSv1.2',
          sigalgs: 'RSA+SHA256:ECDSA+SHA256',
          ciphers: 'ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256',
        }),
      ])
    ).map((bytes) => keyTypesOf(bytes).filter((type) => type === 'ec' || type === 'rsa')),
    [['ec', 'rsa'], ['rsa'], ['ec'], ['ec'], ['rsa'], ['ec', 'rsa']],
  );
});

test('a ClientHello is waited for at every byte, in one record and in many', { timeout }, async () => {
  const whole = await helloOf({});
  for (let end = 0; end < whole.length; end++)
    assert.equal(readClientHello(whole.subarray(0, end)), 'more', `${end} bytes`);
  assert.deepEqual(readClientHello(inRecords(whole.subarray(5), 7)), readClientHello(whole));
});

test(
  'what is no ClientHello is told at once, and nothing that is sent makes it throw or wait without end',
  { timeout },
  async () => {
    assert.equal(readClientHello(Buffer.from('GET / HTTP/1.1\r\n\r\n')), null);
    assert.equal(readClientHello(Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])), null);
    const endless = Buffer.concat([
      Buffer.from([22, 3, 1, 0, 4, 1, 2, 0, 0]),
      ...Array.from({ length: 40_000 }, () => Buffer.from([22, 3, 1, 0, 0])),
    ]);
    assert.equal(readClientHello(endless), null);
    const whole = await helloOf({});
    const random = seededRandom(7);
    for (let round = 0; round < 5000; round++) {
      const bytes = Buffer.from(whole);
      for (let change = 0; change < 1 + random.below(4); change++)
        bytes[random.below(bytes.length)] = random.below(256);
      const hello = readClientHello(bytes);
      if (hello !== null && hello !== 'more') usableKeyTypes(hello);
    }
  },
);
