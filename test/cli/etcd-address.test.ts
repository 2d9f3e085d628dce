import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { isEtcdAddress, readEtcdAddress } from '../../src/cli/etcd/address.ts';
import { Gateway } from '../../src/cli/etcd/gateway.ts';
import { GraceError } from '../../src/error.ts';
import { makeTempDir } from '../net/temp-dir.ts';

test('an address of etcd says which members, which key and which files', () => {
  assert.deepEqual(readEtcdAddress('etcd://127.0.0.1/grace/rules', '/w'), {
    text: 'etcd://127.0.0.1/grace/rules',
    members: [{ host: '127.0.0.1', port: 2379 }],
    keys: ['/grace/rules', 'grace/rules'],
    tls: null,
    user: null,
  });
  const { members, keys, tls, user } = readEtcdAddress(
    'ETCDS://a:1,[::1]:2,[fe80::1]/a%20b?cacert=ca.pem&cert=/c&key=k&serverName=etcd&user=u&password=file:p',
    '/w',
  );
  assert.deepEqual(members, [
    { host: 'a', port: 1 },
    { host: '::1', port: 2 },
    { host: 'fe80::1', port: 2379 },
  ]);
  assert.deepEqual(keys, ['/a b', 'a b']);
  assert.deepEqual(tls, { cacert: '/w/ca.pem', cert: '/c', key: '/w/k', serverName: 'etcd', insecure: false });
  assert.deepEqual(user, { name: 'u', password: 'file:/w/p' });
  assert.notEqual(readEtcdAddress('etcd://a/k?cacert=/c', '/').tls, null);
  assert.equal(readEtcdAddress('etcds://a/k?insecure=yes', '/').tls?.insecure, true);
});

for (const [text, why] of [
  ['etcd://', 'KEY is missing'],
  ['etcd:///key', 'HOST is missing'],
  ['etcd://a/', 'KEY is missing'],
  ['etcd://a/k/', 'KEY ends with "/"'],
  ['etcd://a,/k', 'HOST is missing'],
  ['etcd://a:0/k', '"a:0" is not HOST or HOST:PORT'],
  ['etcd://a:99999/k', '"a:99999" is not HOST or HOST:PORT'],
  ['etcd://::1/k', '"::1" is not HOST or HOST:PORT'],
  ['etcd://u:p@a/k', 'a user does not stand before the host'],
  ['etcd://a/k#b', 'there is a "#" in it'],
  ['etcd://a/%ff', 'a "%" is not followed by two hexadecimal digits of UTF-8'],
  ['etcd://a/k?ca=x', 'there is no parameter "ca"'],
  ['etcd://a/k?cacert=', 'cacert has no value'],
  ['etcd://a/k?cacert=a&cacert=b', 'cacert is given twice'],
  ['etcd://a/k?cert=a', 'a client certificate needs both cert and key'],
  ['etcd://a/k?insecure=no', 'insecure can only be "yes"'],
  ['etcd://a/k?user=a', 'user and password go together'],
  ['etcd://a/k?user=a&password=secret', 'password says where it is'],
] as const) {
  test(`${text} is refused: ${why}`, () => {
    assert.ok(isEtcdAddress(text));
    assert.throws(
      () => readEtcdAddress(text, '/'),
      (error) => error instanceof GraceError && error.code === 'ERR_GRACE_USAGE' && error.message.endsWith(`: ${why}`),
    );
  });
}

test('a password that stands where none may be is not printed', () => {
  for (const text of ['etcd://root:hunter2@h/k', 'etcd://h/k?user=root&password=hunter2'])
    assert.throws(
      () => readEtcdAddress(text, '/'),
      ({ message }: Error) => !message.includes('hunter2') && message.includes('…'),
    );
});

test(
  'a FIFO or a device that is named as a file of keys or a password is refused at once',
  { timeout: 60_000 },
  async () => {
    using temp = makeTempDir();
    execFileSync('mkfifo', [temp.file('fifo')]);
    for (const [words, why] of [
      [`cacert=${temp.file('fifo')}`, /^GraceError: cannot read cacert \S+fifo: a named pipe \(FIFO\), not a file$/],
      ['cacert=/dev/zero', /^GraceError: cannot read cacert \/dev\/zero: a device, not a file$/],
      [`user=u&password=file:${temp.file('fifo')}`, /^GraceError: cannot read password \S+fifo: a named pipe \(FIFO\)/],
    ] as const) {
      const address = readEtcdAddress(`etcds://127.0.0.1:1/key?${words}`, '/');
      await assert.rejects(Gateway.open(address, { index: 0, signal: AbortSignal.timeout(30_000), env: {} }), why);
    }
  },
);
