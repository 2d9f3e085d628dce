import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { resolvePaths } from '../../src/endpoint/paths.ts';
import { printClient, printServer } from '../../src/endpoint/print.ts';
import { parseServer } from '../../src/endpoint/server.ts';

const timeout = 60_000;
const server = (text: string) => printServer(resolvePaths(parseServer(text), '/cwd'));
const client = (text: string) => printClient(resolvePaths(parseClient(text), '/cwd'));

test('every path of a server becomes absolute', { timeout }, () => {
  assert.equal(server('unix:a/../s'), 'unix:/cwd/s');
  assert.equal(server('haproxy:unix:s'), 'haproxy:unix:/cwd/s');
  assert.equal(server('tls:certs:clientCA=ca'), 'tls:/cwd/certs:clientCA=/cwd/ca');
  assert.equal(server('ssl:443'), 'ssl:443:privateKey=/cwd/server.pem');
  assert.equal(
    server('ssl:443:k:c:extraCertChain=e:dhParameters=d:sni=s:clientCA=a'),
    'ssl:443:privateKey=/cwd/k:certKey=/cwd/c:extraCertChain=/cwd/e:dhParameters=/cwd/d:clientCA=/cwd/a:sni=/cwd/s',
  );
});

test('every path of a client becomes absolute, those of nested endpoints too', { timeout }, () => {
  assert.equal(client('unix:s'), 'unix:/cwd/s');
  assert.equal(
    client('ssl:h:1:certKey=c:privateKey=k:caCertsDir=d'),
    'ssl:h:1:caCertsDir=/cwd/d:certKey=/cwd/c:privateKey=/cwd/k',
  );
  assert.equal(
    client('tls:h:1:certificate=c:trustRoots=t:endpoint=unix\\:s'),
    'tls:h:1:trustRoots=/cwd/t:certificate=/cwd/c:endpoint=unix\\:/cwd/s',
  );
});

test('absolute paths, abstract names and what is not a path stay', { timeout }, () => {
  for (const text of [
    'unix:/s',
    'unix:abstract=s',
    'tcp:80:interface=localhost',
    'systemd:name=web',
    'fd:3',
    'stdio:',
  ]) {
    assert.equal(server(text), text);
  }
  for (const text of ['unix:abstract=s', 'tcp:host:80', 'tls:h:1:serverName=n']) assert.equal(client(text), text);
});

test('the endpoint that was given is left as it was', { timeout }, () => {
  const endpoint = parseClient('tls:h:1:endpoint=unix\\:s');
  const before = structuredClone(endpoint);
  resolvePaths(endpoint, '/cwd');
  assert.deepEqual(endpoint, before);
});
