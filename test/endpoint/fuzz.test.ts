import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseClient } from '../../src/endpoint/client.ts';
import { explainClient, explainServer } from '../../src/endpoint/describe.ts';
import { EndpointError } from '../../src/endpoint/error.ts';
import { clientKey, serverKey } from '../../src/endpoint/identity.ts';
import type { ClientEndpoint, ServerEndpoint } from '../../src/endpoint/model.ts';
import { resolvePaths } from '../../src/endpoint/paths.ts';
import { printClient, printServer } from '../../src/endpoint/print.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { always, hostileText, mustBeLinear, mustBeRefusal, mutatedText, timeout } from '../hostile.ts';
import { readEndpointCases } from './endpoint-cases.ts';

const words = [
  ['tcp', 'tcp6', 'ssl', 'tls', 'unix', 'systemd', 'fd', 'stdio', 'haproxy', 'http://', 'tls://', 'tcp://'],
  ['port', 'host', 'interface', 'endpoint', 'name', 'idle', 'abstract', 'sni', 'alpn', 'keepalive', 'proxy'],
  ['ciphers', 'groups', 'passphrase', 'allow', 'deny', 'ratePer', 'maxconn', 'retry', 'timeout', 'index', 'mode'],
  [':', ':', ':', '=', '=', '\\', '[', ']', '::1', '1.2.3.4', '80', '0', '-1', 'a', '/', '%', '.', ',', 'yes', '1e3'],
  ['env\\:A', 'file\\:/a', '50/s', '10.0.0.0/8', '@f', '5s', 'TLS_AES_128_GCM_SHA256', 'xn--', 'fe80::1%eth0'],
].flat();
const known = readEndpointCases().map(({ description }) => description);
const texts = fc.oneof(hostileText(words), mutatedText(known, words), hostileText([':', '\\', '=', '[', ']', '/'], 40));

/** What is done with endpoints of one side. */
type Side<Endpoint> = {
  parse: (text: string) => Endpoint;
  print: (endpoint: Endpoint) => string;
  key: (endpoint: Endpoint) => string;
  explain: (endpoint: Endpoint) => unknown[];
};
const servers: Side<ServerEndpoint> = {
  parse: parseServer,
  print: printServer,
  key: serverKey,
  explain: explainServer,
};
const clients: Side<ClientEndpoint> = {
  parse: parseClient,
  print: printClient,
  key: clientKey,
  explain: explainClient,
};

/** Whether it can be read; throws unless it means the same once it has been printed. */
function meansTheSame<Endpoint extends ServerEndpoint | ClientEndpoint>(
  text: string,
  { parse, print, key, explain }: Side<Endpoint>,
): boolean {
  const endpoint = readOrRefuse(parse, text);
  if (endpoint === null) return false;
  const again = parse(print(endpoint));
  assert.deepEqual(again, endpoint);
  assert.equal(key(again), key(endpoint));
  assert.ok(explain(endpoint).length > 0);
  parse(print(resolvePaths(endpoint, '/a')));
  return true;
}

test('any string is read, and its print means the same, or is refused with an error of its own', { timeout }, () => {
  let read = 0;
  always(3000, texts, (text) => {
    const isServer = meansTheSame(text, servers);
    const isClient = meansTheSame(text, clients);
    if (isServer || isClient) read++;
  });
  assert.ok(read > 100, `only ${read} strings could be read`);
});

for (const part of [
  '9',
  ':',
  '::1:',
  '[',
  '[::1]:',
  '\\:',
  '=',
  'a=b:',
  'endpoint=a:',
  '.',
  ' ',
  '/',
  'é',
  '🙂',
  '1.',
  '1s',
])
  test(`a long text of ${JSON.stringify(part)} is read in time that grows with its length`, { timeout }, () => {
    const befores = ['', 'tcp:', 'tls:', '80:allow=', '80:idle=', '80:ratePer=', 'ssl:80:ciphers=', 'a:80:', 'http://'];
    for (const before of befores)
      for (const after of ['', 'x', '\\'])
        for (const read of [parseServer, parseClient])
          mustBeLinear(
            `${read.name} ${before}…${after}`,
            (size) => before + part.repeat(size / part.length) + after,
            1500,
            (text) => readOrRefuse<unknown>(read, text),
          );
  });

test('a text of colons alone takes no time', { timeout }, () => {
  // Each of its colons was tried for each of two in an address.
  readOrRefuse(parseServer, `${':'.repeat(20_000)}x`);
  readOrRefuse(parseClient, `${'::1:'.repeat(20_000)}x`);
});

test('of a long endpoint the beginning and the end are said, and what is wrong', () => {
  const text = `tcp:${'9'.repeat(100_000)}`;
  assert.throws(
    () => parseServer(text),
    (error) => {
      assert.ok(error instanceof EndpointError);
      assert.match(error.message, /^cannot read endpoint "tcp:999.*…9+": port "9+…9+" is out of range/);
      assert.equal(error.text, text);
      return error.message.length < 1500;
    },
  );
});

test('no error lets an endpoint steer a terminal, its hint neither', () => {
  for (const text of ['tcp:80:Idle=\u001b[2J', 'tcp:80:idel=\n\u202e', 'https://\u001b[2J'])
    readOrRefuse(parseServer, text);
});

function readOrRefuse<Endpoint>(read: (text: string) => Endpoint, text: string): Endpoint | null {
  try {
    return read(text);
  } catch (error) {
    mustBeRefusal(error);
    assert.ok(error instanceof EndpointError, `${JSON.stringify(text)}: ${error}`);
    const length = Array.from(text).length;
    assert.ok(
      error.place !== null && error.place.start <= error.place.end && error.place.end <= length,
      JSON.stringify(text),
    );
    assert.ok(!/[\u202a-\u202e\u2066-\u2069]/.test(`${error.message}${error.hint}`));
    return null;
  }
}
