import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { absoluteAdmin, checkAdmin, isLoopback, readToken } from '../../src/control/admin.ts';
import { absoluteOptions, readSettings } from '../../src/control/daemon-options.ts';
import { GraceError } from '../../src/error.ts';

const dir = mkdtempSync(join(tmpdir(), 'grace-admin-'));
test.after(() => rmSync(dir, { recursive: true, force: true }));

function fileOf(name: string, text: string, mode = 0o600): string {
  const file = join(dir, name);
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

/** As the command line is read. */
function check(options: Record<string, string>): void {
  checkAdmin(readSettings(absoluteOptions((name) => options[name], '/where')));
}

function refused(act: () => void, message: RegExp): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof GraceError);
    assert.match(error.message, message);
    assert.ok(error.code === 'ERR_GRACE_USAGE' || error.code === 'ERR_GRACE_ENDPOINT', String(error.code));
    assert.doesNotMatch(`${error.message}${error.hint}`, /\n|secret/);
    return true;
  });
}

test('an address that others reach takes a token or certificates of clients', () => {
  const token = fileOf('token', 'secret-0123456789abcdef\n');
  for (const admin of [
    '9900',
    'tcp:9900',
    'tcp:9900:interface=0.0.0.0',
    'tcp:9900:interface=192.0.2.1',
    'tcp6:9900',
    'tcp6:9900:interface=\\:\\:',
    'tcp:9900:interface=grace.example',
    'ssl:9900:privateKey=/x.pem',
    'tls:/certs:9900',
  ]) {
    refused(() => check({ admin }), /is reached from other machines/);
    check({ admin, 'admin-token': token });
  }
  for (const admin of [
    'tcp:9900:interface=127.0.0.1',
    'tcp:9900:interface=127.9.9.9',
    'tcp:9900:interface=localhost',
    'tcp6:9900:interface=\\:\\:1',
    'unix:/run/a.sock',
    '/run/a.sock',
    'ssl:9900:privateKey=/x.pem:clientCA=/ca.pem',
    'tls:/certs:9900:clientCA=/ca.pem',
    'systemd:name=admin',
  ])
    check({ admin });
});

test('which addresses this machine alone reaches', () => {
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', 'localhost'])
    assert.equal(isLoopback(host), true, host);
  for (const host of [
    '',
    '0.0.0.0',
    '::',
    '128.0.0.1',
    '10.0.0.1',
    '::2',
    'fe80::1',
    '::ffff:10.0.0.1',
    'localhost.example',
    '127.0.0.1.example',
  ])
    assert.equal(isLoopback(host), false, host);
});

test('what is no endpoint for HTTP, or says what is not heeded, is refused', () => {
  for (const [admin, message] of [
    ['', /--admin: /],
    ['nonsense:1', /--admin: .*nonsense/],
    ['stdio:', /takes an endpoint to listen on for HTTP, not stdio/],
    ['haproxy:tcp:9900:interface=127.0.0.1', /not haproxy/],
    ['tcp:9900:interface=127.0.0.1:maxconn=5', /does not heed maxconn/],
    ['tcp:9900:interface=127.0.0.1:proxy=accept:proxyFrom=10.0.0.0/8', /does not heed proxy, proxyFrom/],
    ['tcp:9900:interface=127.0.0.1:idle=5s', /does not heed idle/],
    ['ssl:9900:privateKey=/x.pem:clientCA=/c.pem:alpn=h2', /does not heed alpn/],
  ] as const)
    refused(() => check({ admin }), message);
});

test('paths are absolute for the processes to come, and a Unix socket has mode 600 unless it is given another', () => {
  for (const [text, absolute] of [
    ['unix:a.sock', 'unix:/where/a.sock:mode=600'],
    ['./a.sock', 'unix:/where/a.sock:mode=600'],
    ['unix:a.sock:mode=666', 'unix:/where/a.sock:mode=666'],
    ['unix:a.sock:660', 'unix:/where/a.sock:mode=660'],
    ['unix:a.sock:lockfile=0', 'unix:/where/a.sock:lockfile=0:mode=600'],
    ['tcp:9900:interface=127.0.0.1', 'tcp:9900:interface=127.0.0.1'],
    ['ssl:9900:privateKey=a.pem', 'ssl:9900:privateKey=/where/a.pem'],
  ] as const) {
    assert.equal(absoluteAdmin(text, '/where'), absolute);
    assert.equal(absoluteAdmin(absolute, '/'), absolute);
  }
});

test('a token is one word in a file that is for few', () => {
  assert.equal(readToken(fileOf('good', ' secret-0123456789abcdef \n')), 'secret-0123456789abcdef');
  assert.equal(readToken(fileOf('group', 'secret-0123456789abcdef', 0o640)), 'secret-0123456789abcdef');
  for (const [file, message] of [
    [fileOf('all', 'secret-0123456789abcdef', 0o644), /others may read or change it/],
    [fileOf('write', 'secret-0123456789abcdef', 0o660), /others may read or change it/],
    [fileOf('short', 'secret'), /has 16 to 4096 characters, and this one has 6/],
    [fileOf('empty', ''), /this one has 0/],
    [fileOf('words', 'secret 0123456789abcdef'), /one word/],
    [join(dir, 'none'), /file not found/],
    [dir, /a directory, not a file/],
    ['/dev/null', /a device, not a file/],
  ] as const)
    refused(() => readToken(file), message);
  refused(() => check({ 'admin-token': join(dir, 'good') }), /is for --admin, and there is no --admin/);
  refused(() => check({ admin: 'tcp:1:interface=127.0.0.1', 'admin-token': '' }), /takes a file/);
});
