import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkServer } from '../../src/endpoint/check.ts';
import { serverKey } from '../../src/endpoint/identity.ts';
import { resolvePaths } from '../../src/endpoint/paths.ts';
import { printServer } from '../../src/endpoint/print.ts';
import { parseServer } from '../../src/endpoint/server.ts';

test('limits of an address are read, printed, and the same however they are written', () => {
  const text = 'tcp:80:maxconnPer=20:ratePer=50/s\\:burst=100:allow=10.0.0.0/8,2001\\:db8\\:\\:/32:deny=@lists/deny';
  const endpoint = parseServer(text);
  assert.partialDeepStrictEqual(endpoint, {
    maxconnPer: 20,
    ratePer: { count: 50, perMs: 1000, burst: 100 },
    allow: ['10.0.0.0/8', '2001:db8::/32'],
    deny: ['@lists/deny'],
  });
  assert.equal(printServer(endpoint), text.replace('burst=', 'burst\\='));
  assert.deepEqual(parseServer(printServer(endpoint)), endpoint);
  assert.deepEqual(resolvePaths(endpoint, '/etc').type === 'tcp' && resolvePaths(endpoint, '/etc'), {
    ...endpoint,
    deny: ['@/etc/lists/deny'],
  });
  assert.equal(
    serverKey(parseServer('tcp:80:ratePer=60/m')),
    serverKey(parseServer('8080:ratePer=60/m\\:burst=60'.replace('8080', '80'))),
  );
  assert.notEqual(serverKey(parseServer('80:ratePer=60/m')), serverKey(parseServer('80:ratePer=61/m')));
  assert.equal(printServer(parseServer('80:ratePer=5/h')), 'tcp:80:ratePer=5/h');
});

for (const [text, message] of [
  ['80:maxconnPer=0', /maxconnPer "0" is out of range \(use 1-/],
  ['80:buffer=15k', /buffer "15k" is out of range \(use 16k-1m\)/],
  ['80:buffer=2m', /buffer "2m" is out of range/],
  ['80:buffer=much', /buffer "much" is not a size \(use 64k, 1m or a number of bytes\)/],
  ['80:ratePer=50', /ratePer "50" is not a rate \(use 50\/s/],
  ['80:ratePer=0/s', /is not a rate/],
  ['80:ratePer=5/s\\:burst=0', /is not a rate/],
  ['80:allow=10.0.0.0/33', /allow "10.0.0.0\/33" is not a list of addresses and networks \(use 10.0.0.0\/8/],
  ['80:deny=', /deny "" is not a list/],
  ['80:deny=@', /names no file/],
  ['unix:/run/a:allow=10.0.0.0/8', /allow is about addresses/],
] as const) {
  test(`${text} is refused in words`, () => {
    assert.throws(() => parseServer(text), { name: 'EndpointError', message });
  });
}

test('a size is written in the shortest way, and means the same', () => {
  assert.equal(printServer(parseServer('80:buffer=65536')), 'tcp:80:buffer=64k');
  assert.equal(printServer(parseServer('80:buffer=1024k')), 'tcp:80:buffer=1m');
  assert.equal(printServer(parseServer('80:buffer=20001')), 'tcp:80:buffer=20001');
  assert.equal(serverKey(parseServer('80:buffer=65536')), serverKey(parseServer('80:buffer=64K')));
});

test('a burst whose colon is not escaped is shown the right way', () => {
  for (const type of ['tcp:80', 'ssl:443', 'tls:/etc/certs', 'unix:/run/a'])
    assert.throws(() => parseServer(`${type}:ratePer=50/s:burst=100`), { hint: /ratePer=50\/s\\:burst=100/ });
});

test('a Unix socket whose clients send a PROXY header has addresses to allow', () => {
  assert.partialDeepStrictEqual(parseServer('haproxy:unix:/run/a:allow=10.0.0.0/8'), {
    endpoint: { allow: ['10.0.0.0/8'] },
  });
  assert.partialDeepStrictEqual(parseServer('unix:/run/a:proxy=accept:deny=10.0.0.0/8'), { deny: ['10.0.0.0/8'] });
});

test('a file of networks that is not there is found out before anything is opened', () => {
  assert.throws(
    () => checkServer(parseServer('80:allow=@/nowhere/at/all')),
    /allow "\/nowhere\/at\/all": file not found/,
  );
  assert.throws(() => checkServer(parseServer('haproxy:tcp:80:deny=@/nowhere')), /deny "\/nowhere": file not found/);
});
