import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { EndpointError } from '../../src/endpoint/error.ts';
import { clientKey, serverKey } from '../../src/endpoint/identity.ts';
import { printClient, printServer } from '../../src/endpoint/print.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { readEndpointCases } from './endpoint-cases.ts';
import { type Random, seededRandom } from '../random.ts';

const timeout = 60_000;

const pieces = [
  'tcp',
  'tcp6',
  'ssl',
  'tls',
  'unix',
  'systemd',
  'fd',
  'stdio',
  'haproxy',
  'port',
  'host',
  'interface',
  'endpoint',
  'name',
  'idle',
  'abstract',
  'sni',
  'alpn',
  'keepalive',
  'proxy',
  ':',
  ':',
  ':',
  '=',
  '=',
  '\\',
  '[',
  ']',
  '::1',
  '1.2.3.4',
  '80',
  '0',
  '-1',
  'a',
  '/',
  ' ',
  '\0',
  '\n',
  '✓',
  '🙂',
  '\ud800',
  '%',
  '.',
  ',',
  'yes',
  '1e3',
  '__proto__',
];

function mutated(text: string, random: Random): string {
  const at = random.below(text.length + 1);
  return text.slice(0, at) + random.text(pieces, 3) + text.slice(at + random.below(3));
}

test('any string is read, and its print means the same, or is refused with an error of its own', { timeout }, () => {
  const random = seededRandom(2);
  const known = readEndpointCases().map(({ description }) => description);
  let read = 0;
  for (let round = 0; round < 4000; round++) {
    const text = random.chance(0.5) ? random.text(pieces, 12) : mutated(random.pick(known), random);
    const server = readOrRefuse(parseServer, text);
    if (server !== null) assert.equal(serverKey(parseServer(printServer(server))), serverKey(server), text);
    const client = readOrRefuse(parseClient, text);
    if (client !== null) assert.equal(clientKey(parseClient(printClient(client))), clientKey(client), text);
    if (server !== null || client !== null) read++;
  }
  assert.ok(read > 200, `only ${read} strings could be read`);
});

test('a long text is refused at once', { timeout: 60_000 }, () => {
  for (const part of [':', '\\:', '::1:', 'endpoint=a:', '[', 'a=b:', '🙂']) {
    readOrRefuse(parseServer, `tcp:${part.repeat(20_000)}`);
    readOrRefuse(parseClient, `tls:${part.repeat(20_000)}`);
  }
});

function readOrRefuse<Endpoint>(read: (text: string) => Endpoint, text: string): Endpoint | null {
  try {
    return read(text);
  } catch (error) {
    assert.ok(error instanceof EndpointError, `${JSON.stringify(text)}: ${error}`);
    const length = Array.from(text).length;
    assert.ok(
      error.place !== null && error.place.start <= error.place.end && error.place.end <= length,
      JSON.stringify(text),
    );
    return null;
  }
}
