import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { explainClient, explainServer, toJson } from '../../src/endpoint/describe.ts';
import type { Explanation } from '../../src/endpoint/parameter.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { randomDirect, randomServer } from './random-endpoint.ts';
import { seededRandom } from '../random.ts';

const timeout = 60_000;
const server = (text: string) => explainServer(parseServer(text));
const client = (text: string) => explainClient(parseClient(text));
const meaning = (rows: Explanation[], name: string) => rows.find((row) => row.name === name)?.meaning ?? '';

test('every parameter of the normal form is explained, and nothing else', { timeout }, () => {
  const random = seededRandom(3);
  for (let round = 0; round < 300; round++) {
    for (const endpoint of [randomServer(random), randomDirect(random)]) {
      const rows =
        endpoint.type === 'srv' || 'host' in endpoint || ('path' in endpoint && 'timeout' in endpoint)
          ? explainClient(endpoint)
          : explainServer(endpoint);
      const names = rows.map(({ name }) => name).filter((name) => !name.includes('.'));
      // Who the server must be is said of tls also when only its host says it.
      const implied = endpoint.type === 'tls' && 'host' in endpoint ? ['serverName'] : [];
      const expected = Object.keys(endpoint).filter((name) => !(endpoint.type === 'haproxy' && name === 'endpoint'));
      assert.deepEqual(names.sort(), [...new Set([...expected, ...implied])].sort());
      for (const { value, meaning: words } of rows) assert.ok(value.length > 0 && words.length > 0);
    }
  }
});

test('an interface is explained by whom it lets in', { timeout }, () => {
  const interfaceOf = (text: string) => meaning(server(text), 'interface');
  assert.equal(interfaceOf('tcp:80'), 'every IPv4 address of this machine');
  assert.equal(interfaceOf('tcp6:80'), 'every address of this machine, IPv6 and IPv4');
  assert.equal(interfaceOf('tcp:80:127.0.0.1'), 'this machine only');
  assert.equal(interfaceOf('tcp:80:[::1]'), 'this machine only, over IPv6');
  assert.equal(interfaceOf('tcp:80:192.0.2.1'), 'this address only');
  assert.equal(interfaceOf('tcp:80:localhost'), 'the IPv4 address that this name has');
});

test('what a TLS client checks is said, by default the host', { timeout }, () => {
  assert.match(
    meaning(client('ssl:www.example.com:443'), 'hostname'),
    /must be for www\.example\.com; www\.example\.com is sent/,
  );
  assert.match(meaning(client('ssl:192.0.2.1:443:hostname=a.example'), 'hostname'), /must be for a\.example/);
  assert.match(meaning(client('tls:[::1]:443'), 'serverName'), /must be for ::1; no name is sent/);
  assert.match(meaning(client('tls:h:443:insecure=yes'), 'insecure'), /anybody/);
  assert.match(meaning(client('tls:h:443:insecure=yes'), 'trustRoots'), /not checked/);
});

test('wrapped and nested endpoints are explained under their own names', { timeout }, () => {
  assert.deepEqual(
    server('haproxy:tcp:80').map(({ name }) => name),
    ['type', 'endpoint.type', 'endpoint.port', 'endpoint.interface', 'endpoint.backlog'],
  );
  assert.ok(client('tls:h:1:endpoint=unix\\:/s').some(({ name, value }) => name === 'endpoint.path' && value === '/s'));
});

test('values are shown as a person would write them', { timeout }, () => {
  const rows = server('unix:abstract=a:idle=90s');
  assert.equal(rows.find(({ name }) => name === 'address')?.value, '"\\u{0}a"');
  assert.equal(rows.find(({ name }) => name === 'idle')?.value, '90s');
  assert.equal(rows.find(({ name }) => name === 'lockfile')?.value, 'no');
});

test('the normal form holds every parameter, null for what was not given', { timeout }, () => {
  assert.deepEqual(toJson(parseServer('haproxy:systemd:name=web')), {
    type: 'haproxy',
    endpoint: { type: 'systemd', domain: null, index: null, name: 'web' },
  });
  assert.deepEqual(toJson(parseServer('fd:3:maxconn=2')), { type: 'fd', fd: 3, maxconn: 2 });
});
