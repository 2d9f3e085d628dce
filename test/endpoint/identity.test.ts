import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { clientKey, listenKey, serverKey } from '../../src/endpoint/identity.ts';
import { parseServer } from '../../src/endpoint/server.ts';

const timeout = 60_000;
const keyOfServer = (text: string) => serverKey(parseServer(text));
const keyOfClient = (text: string) => clientKey(parseClient(text));
const keyOfListening = (text: string) => listenKey(parseServer(text));

function areEqual(key: (text: string) => string, groups: readonly (readonly string[])[]): void {
  for (const texts of groups) assert.equal(new Set(texts.map(key)).size, 1, `differ: ${texts.join('   ')}`);
}

function areDifferent(key: (text: string) => string, groups: readonly (readonly string[])[]): void {
  for (const texts of groups) assert.equal(new Set(texts.map(key)).size, texts.length, `same: ${texts.join('   ')}`);
}

test('servers written differently are the same', { timeout }, () => {
  areEqual(keyOfServer, [
    ['tcp:9000', 'tcp:port=9000', 'TCP:9000:interface=:backlog=4096', 'tcp:9000:0.0.0.0', 't\\cp:9000'],
    ['tcp6:80', 'tcp:80:interface=\\:\\:', 'tcp6:80:interface=[0:0::0]'],
    ['tcp:80:interface=localhost', 'tcp:80:LOCALHOST'],
    ['haproxy:tcp:80', 'tcp:80:proxy=accept'],
    ['unix:/tmp//a', 'unix:/tmp/a', 'unix:path=/tmp/./b/../a:mode=0666'],
    ['ssl:443', 'ssl:443:certKey=server.pem:sslmethod=TLS_METHOD', 'ssl:443:./server.pem:sslmethod=SSLv23_METHOD'],
    ['tcp:80:idle=60s:maxconn=1', 'tcp:80:maxconn=1:idle=1m'],
  ]);
});

test('servers with any other meaning differ', { timeout }, () => {
  areDifferent(keyOfServer, [
    [
      'tcp:80',
      'tcp:81',
      'tcp6:80',
      'tcp:80:127.0.0.1',
      'tcp:80:backlog=51',
      'tcp:80:idle=1',
      'tcp:80:proxy=accept',
      'ssl:80',
      'tls:a:80',
    ],
    ['tcp:80:localhost', 'tcp6:80:interface=localhost'],
    ['unix:/a', 'unix:/b', 'unix:/a:mode=600', 'unix:/a:lockfile=0', 'unix:abstract=/a', 'unix:/A'],
    ['ssl:443', 'ssl:443:sslmethod=TLSv1_2_METHOD', 'ssl:443:alpn=h2', 'ssl:443:privateKey=a'],
    ['systemd:index=0', 'systemd:index=1', 'systemd:name=a', 'fd:3', 'stdio:'],
  ]);
});

test('clients written differently are the same', { timeout }, () => {
  areEqual(keyOfClient, [
    ['tcp:h:80', 'tcp:80:host=H', 'TCP:port=80:host=h:timeout=30', 'tcp:h:80:keepalive=yes'],
    ['tcp:[::1]:80', 'tcp:\\:\\:1:80', 'tcp:[0:0:0:0:0:0:0:1]:80'],
    ['tcp:bücher.example:80', 'tcp:xn--bcher-kva.example:80', 'tcp:BÜCHER.example:80'],
    ['tls:h:443', 'ssl:h:443', 'ssl:h:443:hostname=H', 'tls:h:443:serverName=h'],
    ['tls:h:443:trustRoots=d:certificate=c', 'ssl:h:443:caCertsDir=./d:certKey=c:privateKey=c'],
    ['tls:h:443:endpoint=unix\\:/s', 'tls:h:443:endpoint=unix\\:path\\=//s'],
    ['unix:/a/', 'unix:/a/.', 'unix:/a'],
  ]);
});

test('clients with any other meaning differ', { timeout }, () => {
  areDifferent(keyOfClient, [
    [
      'tcp:h:80',
      'tcp:h:81',
      'tcp:i:80',
      'tcp:h:80:timeout=5',
      'tcp:h:80:proxy=v1',
      'tcp:h:80:retry=1',
      'tls:h:80',
      'tcp:h:80:keepalive=no',
    ],
    [
      'tls:h:443',
      'tls:h:443:insecure=yes',
      'tls:h:443:serverName=x',
      'tls:h:443:endpoint=unix\\:/s',
      'tls:h:443:trustRoots=d',
    ],
    ['unix:/a', 'unix:/b', 'unix:abstract=/a'],
  ]);
});

test('where a server listens does not depend on its other parameters', { timeout }, () => {
  areEqual(keyOfListening, [
    ['tcp:80', 'tcp:80:backlog=5', 'haproxy:tcp:80', 'ssl:80', 'tcp:80:idle=5', 'tls:d:80:interface=0.0.0.0'],
    ['unix:/a', 'unix:/a:mode=600:lockfile=0', 'unix:/b/../a'],
    ['systemd:index=0', 'fd:3', 'systemd:INET:0'],
    ['systemd:name=web', 'systemd:INET:name=web'],
  ]);
  areDifferent(keyOfListening, [
    ['tcp:80', 'tcp:81', 'tcp6:80', 'tcp:80:127.0.0.1', 'unix:80', 'fd:80', 'systemd:name=80', 'stdio'],
  ]);
});

test('port 0 of two endpoints that differ is two places, and of the same one a single place', { timeout }, () => {
  areDifferent(keyOfListening, [['tcp:0', 'tcp:0:backlog=7', 'ssl:0:privateKey=a.pem']]);
  areEqual(keyOfListening, [
    ['tcp:0', 'tcp:port=0'],
    ['tcp:9000', 'tcp:9000:backlog=7', 'ssl:9000:privateKey=a.pem'],
  ]);
});
