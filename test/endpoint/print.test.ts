import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { printClient, printServer } from '../../src/endpoint/print.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { readEndpointCases } from './endpoint-cases.ts';
import { randomClient, randomServer } from './random-endpoint.ts';
import { seededRandom } from '../random.ts';

const timeout = 60_000;

test('an endpoint is printed without what is default anyway', { timeout }, () => {
  const shortest = {
    'TCP:interface=:port=9000:backlog=4096': 'tcp:9000',
    'tcp6:80:interface=\\:\\:': 'tcp6:80',
    'tcp:80:interface=\\:\\:1': 'tcp:80:interface=[::1]',
    'ssl:443:privateKey=a:certKey=a': 'ssl:443:privateKey=a',
    'tls:certs:443': 'tls:certs',
    'unix:/a\\:b\\=c:666': 'unix:/a\\:b\\=c',
    'unix:\0x': 'unix:abstract=x',
    'systemd:domain=INET:index=0': 'systemd:domain=INET:index=0',
    'fd:3': 'fd:3',
    stdio: 'stdio:',
    'haproxy:tcp:port=80': 'haproxy:tcp:80',
    'tcp:80:idle=60s': 'tcp:80:idle=1m',
  };
  for (const [text, printed] of Object.entries(shortest)) assert.equal(printServer(parseServer(text)), printed);
});

test('a client is printed with host and port by position', { timeout }, () => {
  const shortest = {
    'tcp:port=80:host=\\:\\:1': 'tcp:[::1]:80',
    'tls:h:443:endpoint=unix\\:/s': 'tls:h:443:endpoint=unix\\:/s',
    'tcp:h:80:keepalive=no': 'tcp:h:80:keepalive=no',
    'unix:/s:timeout=30:lockfile=0': 'unix:/s',
  };
  for (const [text, printed] of Object.entries(shortest)) assert.equal(printClient(parseClient(text)), printed);
});

test('what is printed of every known string is read as the same endpoint', { timeout }, () => {
  for (const { kind, description, expect, better = expect } of readEndpointCases()) {
    if ('error' in better && better['error'] !== undefined) continue;
    if ('error' in expect) continue;
    if (kind === 'server')
      assert.deepEqual(parseServer(printServer(parseServer(description))), parseServer(description));
    else assert.deepEqual(parseClient(printClient(parseClient(description))), parseClient(description));
  }
});

test('what is printed of any endpoint is read as the same endpoint', { timeout }, () => {
  const random = seededRandom(1);
  for (let round = 0; round < 2000; round++) {
    const server = randomServer(random);
    assert.deepEqual(parseServer(printServer(server)), server, printServer(server));
    const client = randomClient(random);
    assert.deepEqual(parseClient(printClient(client)), client, printClient(client));
  }
});
