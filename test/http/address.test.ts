import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GraceError } from '../../src/error.ts';
import { parseAddress } from '../../src/http/address.ts';

test('addresses in all their forms', () => {
  const cases: [Parameters<typeof parseAddress>[0], object][] = [
    [8080, { port: 8080 }],
    ['8080', { host: '', port: 8080 }],
    ['*:80', { host: '', port: 80 }],
    [':0', { host: '', port: 0 }],
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['localhost:80', { host: 'localhost', port: 80 }],
    ['[::]:80', { host: '::', port: 80 }],
    ['[fe80::1%eth0]:80', { host: 'fe80::1%eth0', port: 80 }],
    ['/run/x.sock', { path: '/run/x.sock' }],
    ['./x', { path: './x' }],
    ['unix:x', { path: 'x' }],
    ['@name', { path: '\0name' }],
    [{ port: 1 }, { port: 1 }],
    [
      { path: 'x', mode: 0o600 },
      { path: 'x', mode: 0o600 },
    ],
  ];
  for (const [address, parsed] of cases) assert.deepEqual(parseAddress(address), parsed);
});

test('what is no address is refused with the text and the forms that are', () => {
  for (const address of [
    '',
    'host',
    'host:',
    ':http',
    '::1:80',
    ':65536',
    ':-1',
    '[::1]',
    '[:::]:80',
    '999.0.0.1:80',
    'a b:80',
    'user@host:80',
    'unix:',
    '@',
    65536,
    -1,
    1.5,
    { port: NaN },
    { path: '' },
  ]) {
    assert.throws(
      () => parseAddress(address),
      /^GraceError: cannot parse address ".*": expected a port, HOST:PORT/,
      String(address),
    );
  }
});

test('endpoints and URLs are refused with what they are as addresses', () => {
  const cases: [string, RegExp][] = [
    ['tcp:8080', /":8080"$/],
    ['TCP:8080:interface=127.0.0.1', /":8080"$/],
    ['tcp://127.0.0.1:8080', /"127\.0\.0\.1:8080"$/],
    ['http://localhost:8080/', /"localhost:8080"$/],
    ['https://localhost', /"localhost:443"$/],
    ['ws://[::1]:9000/chat', /"\[::1\]:9000"$/],
    ['ssl:8443:privateKey=key.pem', /":8443"$/],
    ['systemd:name=web', /no type/],
    ['unix:///run/x.sock', /"\/run\/x\.sock"$/],
    ['file:///run/x.sock', /"\/run\/x\.sock"$/],
  ];
  for (const [address, hint] of cases) {
    assert.throws(
      () => parseAddress(address),
      (error) => error instanceof GraceError && error.code === 'ERR_GRACE_ADDRESS' && hint.test(error.hint ?? ''),
      address,
    );
  }
});
