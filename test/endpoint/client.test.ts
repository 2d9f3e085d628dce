import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { refusalOf, refuses } from './refusals.ts';

const timeout = 60_000;

test('an IPv6 host may be written with escaped colons or in brackets', { timeout }, () => {
  const endpoint = { type: 'tcp', host: '::1', port: 80, timeout: 30, bindAddress: null };
  for (const text of ['tcp:[::1]:80', 'tcp:\\:\\:1:80', 'tcp:host=[::1]:port=80', 'tcp:[\\:\\:1]:80']) {
    assert.deepEqual(parseClient(text), endpoint);
  }
});

test('unescaped colons of an address get a hint with both right spellings', { timeout }, () => {
  const { hint } = refusalOf(parseClient, 'tcp:::1:80');
  assert.match(hint ?? '', /'tcp:\\:\\:1:80' or 'tcp:\[::1\]:80'/);
  assert.match(refusalOf(parseClient, 'tcp:host=2001:db8::7:port=80').hint ?? '', /'tcp:host=\[2001:db8::7\]:port=80'/);
});

test('unescaped colons of a nested endpoint get a hint with the right spelling', { timeout }, () => {
  const { hint } = refusalOf(parseClient, 'tls:h:443:endpoint=tcp:192.0.2.1:8443');
  assert.match(hint ?? '', /'tls:h:443:endpoint=tcp\\:192\.0\.2\.1\\:8443'/);
});

test('a host that can be none is refused', { timeout }, () => {
  refuses(parseClient, {
    'tcp::80': /host "" is a bad host name: it is empty/,
    'tcp:a b:80': /bad host name/,
    'tcp:-a:80': /bad host name/,
    'tcp:a..b:80': /bad host name/,
    'tcp:10.0.0.256:80': /bad host name: it is not an IPv4 address/,
    'tcp:a\\:b:80': /bad host name: it is not an IPv6 address/,
    'tcp:bü cher.example:80': /bad host name/,
    [`tcp:${'a'.repeat(64)}:80`]: /bad host name/,
    [`tcp:${'a.'.repeat(127)}a:80`]: /bad host name/,
    'ssl:h:443:hostname=': /hostname "" is a bad host name/,
    'tls:h:443:serverName=a/b': /serverName "a\/b" is a bad host name/,
  });
  for (const host of ['my_host', 'example.com.', 'localhost', 'EXAMPLE.com', '127.1', '日本.jp']) {
    assert.equal(parseClient(`tcp:${host}:80`).type, 'tcp');
  }
});

test('ports and seconds are whole and at least 1', { timeout }, () => {
  refuses(parseClient, {
    'tcp:h:0': /out of range \(use 1-65535\)/,
    'tcp:h:80:timeout=0': /out of range/,
    'tcp:h:80:timeout=30s': /not a number/,
    'tcp:h:80:timeout=9999999': /out of range/,
  });
});

test('the local address is an IP address of the family of the host', { timeout }, () => {
  assert.equal(parseClient('tcp:[::1]:80:bindAddress=[::1]').type, 'tcp');
  assert.equal(parseClient('tcp:localhost:80:bindAddress=[::1]').type, 'tcp');
  refuses(parseClient, {
    'tcp:h:80:bindAddress=': /not an IP address/,
    'tcp:h:80:bindAddress=a\\:5555': /not an IP address/,
    'tcp:127.0.0.1:80:bindAddress=\\:\\:1': /different address families/,
  });
});

test('a single positional argument is the port when the host is given by name', { timeout }, () => {
  assert.deepEqual(parseClient('ssl:80:host=example.com'), parseClient('ssl:example.com:80'));
  refuses(parseClient, {
    'tcp:80:host=h:port=1': /duplicate argument/,
    'tcp:a:80:host=h': /duplicate argument/,
    'tls:80:host=h': /duplicate argument/,
  });
});

test('a key without a certificate is refused', { timeout }, () => {
  refuses(parseClient, {
    'ssl:h:443:privateKey=k': /missing argument: certKey/,
    'tls:h:443:privateKey=k': /missing argument: certificate/,
  });
});

test('tls and ssl name the right argument when given one of the other', { timeout }, () => {
  assert.match(refusalOf(parseClient, 'ssl:h:443:trustRoots=d').hint ?? '', /caCertsDir/);
  assert.match(refusalOf(parseClient, 'tls:h:443:certKey=c').hint ?? '', /certificate/);
  assert.match(refusalOf(parseClient, 'tcp:h:443:insecure=yes').hint ?? '', /TLS/);
});

test('endpoints nest to any depth, quoted once a level', { timeout }, () => {
  const endpoint = parseClient('tls:a:1:endpoint=tls\\:b\\:2\\:endpoint\\=unix\\\\\\:/s');
  assert.ok(endpoint.type === 'tls' && endpoint.endpoint?.type === 'tls');
  assert.deepEqual(endpoint.endpoint.endpoint, { type: 'unix', path: '/s', timeout: 30, lockfile: false });
});

test('an error in a nested endpoint shows its place in the whole text', { timeout }, () => {
  const text = 'tls:h:443:endpoint=tcp\\:x\\:8o';
  const { place } = refusalOf(parseClient, text);
  assert.equal(text.slice(place?.start, place?.end), '8o');
});

test('what the inner endpoint does cannot be asked of the outer one', { timeout }, () => {
  for (const argument of ['bindAddress=1.2.3.4', 'retry=5s', 'proxy=v1', 'keepalive=no']) {
    assert.match(refusalOf(parseClient, `tls:h:443:endpoint=unix\\:/s:${argument}`).message, /belongs to the endpoint/);
  }
});

test('our own parameters appear only when given', { timeout }, () => {
  const plain = parseClient('tcp:h:80');
  assert.deepEqual(parseClient('tcp:h:80:retry=5s:proxy=v2:keepalive=90'), {
    ...plain,
    retry: 5000,
    proxy: 'v2',
    keepalive: 90_000,
  });
  assert.deepEqual(parseClient('tcp:h:80:keepalive=no'), { ...plain, keepalive: 0 });
  assert.deepEqual(parseClient('tcp:h:80:keepalive=yes'), plain);
  const secure = parseClient('tls:h:443');
  assert.deepEqual(parseClient('tls:h:443:serverName=x:insecure=yes:alpn=h2'), {
    ...secure,
    serverName: 'x',
    insecure: true,
    alpn: ['h2'],
  });
  assert.deepEqual(parseClient('tls:h:443:insecure=no'), secure);
  refuses(parseClient, {
    'tcp:h:80:proxy=accept': /not known \(use v1 or v2\)/,
    'tcp:h:80:retry=soon': /not a duration/,
    'tcp:h:80:keepalive=maybe': /not a duration, nor yes or no/,
    'tcp:h:80:keepalive=0': /no time at all/,
    'tls:h:443:insecure=maybe': /not known/,
  });
});

test('combinations that make no sense are refused', { timeout }, () => {
  refuses(parseClient, {
    'ssl:h:443:hostname=a:serverName=b': /same thing/,
    'ssl:h:443:hostname=a:insecure=yes': /would not check/,
    'ssl:h:443:caCertsDir=d:insecure=yes': /would not use caCertsDir/,
    'tls:h:443:trustRoots=d:insecure=yes': /would not use trustRoots/,
    'unix:/s:keepalive=no': /for TCP/,
    'unix:/s:abstract=a': /not both/,
    'unix:abstract=a:lockfile=1': /no lock file/,
  });
});
