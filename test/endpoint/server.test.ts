import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseServer } from '../../src/endpoint/server.ts';
import { refusalOf, refuses } from './refusals.ts';

const timeout = 60_000;

test('types are read in upper and lower case', { timeout }, () => {
  assert.equal(parseServer('Unix:/a').type, 'unix');
  assert.equal(parseServer('HAProxy:TCP6:80').type, 'haproxy');
});

test('numbers are ASCII digits within their range', { timeout }, () => {
  refuses(parseServer, {
    'tcp:90x0': /^cannot read endpoint "tcp:90x0": port "90x0" is not a number \(use 0-65535\), at character 5$/,
    'tcp:٨٠': /not a number/,
    'tcp:+80': /not a number/,
    'tcp:65536': /out of range \(use 0-65535\)/,
    'tcp:99999999999999999999999999': /out of range/,
    'tcp:80:backlog=0': /out of range/,
    'tcp:80:backlog=2147483648': /out of range/,
  });
  assert.deepEqual(parseServer('tcp:0080'), parseServer('tcp:80'));
});

test('an address may be written with escaped colons or in brackets', { timeout }, () => {
  assert.deepEqual(parseServer('tcp6:80:interface=[::1]'), parseServer('tcp6:80:interface=\\:\\:1'));
  assert.deepEqual(parseServer('tcp:80:[::]:5'), { type: 'tcp', port: 80, interface: '::', backlog: 5 });
});

test('an address that can be none is refused', { timeout }, () => {
  refuses(parseServer, {
    'tcp:80:interface=127.0.0.1\\:80': /not an IPv6 address/,
    'tcp:80:interface=300.1.1.1': /not an IPv4 address/,
    'tcp:80:interface=a b': /not an address/,
    'tcp6:80:interface=127.0.0.1': /not an IPv6 address/,
    'tcp6:80:interface=': /not an IPv6 address/,
  });
});

test('unescaped colons of an address get a hint with both right spellings', { timeout }, () => {
  const { hint } = refusalOf(parseServer, 'tcp6:9000:interface=fe80::1:backlog=5');
  assert.match(
    hint ?? '',
    /'tcp6:9000:interface=fe80\\:\\:1:backlog=5' or 'tcp6:9000:interface=\[fe80::1\]:backlog=5'/,
  );
});

test('the hint of other errors says how the type is written, or what its arguments are', { timeout }, () => {
  assert.match(refusalOf(parseServer, 'tcp').hint ?? '', /tcp:PORT/);
  assert.match(refusalOf(parseServer, 'tcp:1:2:3:4').hint ?? '', /tcp:PORT/);
  assert.match(refusalOf(parseServer, 'tcp:1:bogus=2').hint ?? '', /port, interface, backlog, freebind, maxconn/);
  assert.match(refusalOf(parseServer, 'ssl:1:privatekey=k').hint ?? '', /privateKey=k/);
  assert.match(refusalOf(parseServer, 'tcp:1:alpn=h2').hint ?? '', /TLS/);
  assert.match(refusalOf(parseServer, 'unix:/tmp/a=b').hint ?? '', /\\=/);
});

test('names of object properties are not arguments', { timeout }, () => {
  for (const name of ['constructor', '__proto__', 'toString']) {
    assert.match(refusalOf(parseServer, `unix:/a:${name}=1`).message, /unknown argument/);
  }
});

test('an argument given twice is refused, and the second one is shown', { timeout }, () => {
  assert.deepEqual(refusalOf(parseServer, 'tcp:80:port=81').place, { start: 7, end: 11 });
  assert.match(refusalOf(parseServer, 'unix:address=/a:path=/b').message, /duplicate argument/);
});

test('ssl has its files by default in server.pem, and certKey where privateKey is', { timeout }, () => {
  assert.deepEqual(parseServer('ssl:443'), {
    type: 'ssl',
    port: 443,
    privateKey: 'server.pem',
    certKey: 'server.pem',
    sslmethod: null,
    interface: '',
    backlog: 4096,
    extraCertChain: null,
    dhParameters: null,
  });
});

test('ssl takes the method names that still make sense', { timeout }, () => {
  for (const name of ['TLSv1_2_METHOD', 'TLS_METHOD', 'SSLv23_METHOD', 'TLSv1_METHOD']) {
    const endpoint = parseServer(`ssl:443:sslmethod=${name}`);
    assert.equal(endpoint.type === 'ssl' && endpoint.sslmethod, name);
  }
  refuses(parseServer, {
    'ssl:443:sslmethod=': /unknown TLS method/,
    'ssl:443:sslmethod=TLSv1_3_METHOD': /unknown TLS method/,
    'ssl:443:sslmethod=tls_method': /unknown TLS method/,
  });
});

test('tls takes a directory, and port 443 and every address by default', { timeout }, () => {
  assert.deepEqual(parseServer('tls:certs'), { type: 'tls', path: 'certs', port: 443, backlog: 4096, interface: '::' });
  assert.deepEqual(parseServer('tls:certs:8443:9:[::1]'), {
    type: 'tls',
    path: 'certs',
    port: 8443,
    backlog: 9,
    interface: '::1',
  });
  refuses(parseServer, { tls: /missing argument: path/, 'tls:': /empty/, 'tls:certs:sni=more': /unknown argument/ });
});

test('unix takes octal permissions, and 0 and 1, true and false for its lock', { timeout }, () => {
  assert.deepEqual(parseServer('unix:/s:mode=0640:lockfile=false'), {
    type: 'unix',
    address: '/s',
    mode: '640',
    backlog: 4096,
    lockfile: false,
  });
  refuses(parseServer, {
    'unix:/s:mode=': /not an octal number/,
    'unix:/s:mode=0o640': /not an octal number/,
    'unix:/s:mode=10000': /not an octal number/,
    'unix:/s:lockfile=2': /use 0 or 1/,
    'unix:/s:lockfile=': /use 0 or 1/,
    'unix:/a\0b': /NUL/,
  });
});

test('an abstract socket has a name of its own, and neither lock nor mode', { timeout }, () => {
  const endpoint = { type: 'unix', address: '\0web', mode: '666', backlog: 4096, lockfile: false };
  assert.deepEqual(parseServer('unix:abstract=web'), endpoint);
  assert.deepEqual(parseServer('unix:\0web'), endpoint);
  assert.deepEqual(parseServer('unix:@web'), { ...endpoint, address: '@web', lockfile: true });
  refuses(parseServer, {
    'unix:abstract=web:lockfile=1': /no lock file/,
    'unix:abstract=web:mode=600': /no mode/,
    'unix:abstract=': /empty/,
    'unix:/a:abstract=web': /not both/,
  });
});

test('systemd chooses a socket by index or by name', { timeout }, () => {
  assert.deepEqual(parseServer('systemd:index=1'), { type: 'systemd', domain: null, index: 1, name: null });
  assert.deepEqual(parseServer('systemd:name=web:domain=unix'), {
    type: 'systemd',
    domain: 'UNIX',
    index: null,
    name: 'web',
  });
  refuses(parseServer, {
    'systemd:INET': /missing argument: index or name/,
    systemd: /missing argument: index or name/,
    'systemd:INET:0:web': /not both/,
    'systemd:INET:-1': /out of range/,
    'systemd:BLUETOOTH:0': /unknown family/,
    'systemd:name=a\\:b': /cannot be the name/,
  });
  assert.match(refusalOf(parseServer, 'systemd:0').hint ?? '', /systemd:index=0/);
});

test('fd takes the number of a descriptor', { timeout }, () => {
  assert.deepEqual(parseServer('fd:3'), { type: 'fd', fd: 3 });
  assert.deepEqual(parseServer('fd:fd=0'), { type: 'fd', fd: 0 });
  refuses(parseServer, {
    'fd:': /not a number/,
    'fd:-1': /out of range/,
    fd: /missing argument/,
    'fd:3:4': /too many/,
  });
});

test('stdio takes no arguments', { timeout }, () => {
  assert.deepEqual(parseServer('stdio'), { type: 'stdio' });
  refuses(parseServer, { 'stdio:x': /too many/, 'stdio::': /too many/, 'stdio:a=b': /too many/ });
});

test('haproxy wraps an endpoint as it is written, once', { timeout }, () => {
  assert.deepEqual(parseServer('haproxy:unix:/tmp/a\\=b\\:c'), {
    type: 'haproxy',
    endpoint: parseServer('unix:/tmp/a\\=b\\:c'),
  });
  refuses(parseServer, {
    'haproxy:haproxy:tcp:80': /cannot be nested/,
    'haproxy:stdio:': /stdio/,
    'haproxy:tcp:80:proxy=accept': /same thing/,
    'haproxy:': /unknown type/,
    'haproxy:9000': /unknown type "9000"/,
  });
  assert.equal(refusalOf(parseServer, 'haproxy:9000').hint, 'write haproxy:tcp:9000');
  assert.deepEqual(refusalOf(parseServer, 'haproxy:tcp:9x').place, { start: 12, end: 14 });
});

test('our own parameters appear only when given', { timeout }, () => {
  assert.deepEqual(parseServer('tcp:80:maxconn=100:idle=5m:proxy=accept'), {
    type: 'tcp',
    port: 80,
    interface: '',
    backlog: 4096,
    maxconn: 100,
    idle: 300_000,
    proxy: 'accept',
  });
  const endpoint = parseServer('ssl:443:alpn=h2,http/1.1:sni=certs:clientCA=ca.pem:idle=500ms');
  assert.deepEqual(endpoint, {
    ...parseServer('ssl:443'),
    alpn: ['h2', 'http/1.1'],
    sni: 'certs',
    clientCA: 'ca.pem',
    idle: 500,
  });
  refuses(parseServer, {
    'tcp:80:maxconn=0': /out of range/,
    'tcp:80:idle=0': /no time at all/,
    'tcp:80:idle=1y': /not a duration/,
    'tcp:80:idle=600h': /out of range/,
    'tcp:80:proxy=v1': /not known \(use accept\)/,
    'ssl:443:alpn=': /not a list/,
    'ssl:443:alpn=h2,,h3': /not a list/,
    'ssl:443:alpn=h2,h2': /twice/,
    'tcp:80:127.0.0.1:5:100': /too many/,
  });
});
