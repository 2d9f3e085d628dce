import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { EndpointError } from '../../src/endpoint/error.ts';
import { parseServer } from '../../src/endpoint/server.ts';
import { longForm } from '../../src/endpoint/short.ts';
import { refusalOf } from './refusals.ts';

const servers = [
  ['8080', 'tcp:8080'],
  [':8080', 'tcp:8080'],
  ['127.0.0.1:8080', 'tcp:8080:interface=127.0.0.1'],
  ['[::1]:8080', 'tcp:8080:interface=[::1]'],
  ['localhost:8080', 'tcp:8080:interface=localhost'],
  ['tcp://127.0.0.1:8080', 'tcp:8080:interface=127.0.0.1'],
  ['8080:maxconn=5', 'tcp:8080:maxconn=5'],
  ['127.0.0.1:8080:backlog=7', 'tcp:8080:interface=127.0.0.1:backlog=7'],
  ['/run/app.sock', 'unix:/run/app.sock'],
  ['./app.sock:mode=660', 'unix:./app.sock:mode=660'],
  ['/run/a=b', 'unix:/run/a\\=b'],
] as const;

const clients = [
  ['9001', 'tcp:127.0.0.1:9001'],
  [':9001', 'tcp:127.0.0.1:9001'],
  ['host:9001', 'tcp:host:9001'],
  ['10.0.0.1:9001:timeout=5', 'tcp:10.0.0.1:9001:timeout=5'],
  ['[::1]:9001', 'tcp:[::1]:9001'],
  ['/run/app.sock', 'unix:/run/app.sock'],
  ['tls://host:443', 'tls:host:443'],
  ['tcp://host:80', 'tcp:host:80'],
] as const;

test('a short form means what its long form means', () => {
  for (const [short, long] of servers) {
    assert.equal(longForm(short, 'server'), long);
    assert.deepEqual(parseServer(short), parseServer(long));
  }
  for (const [short, long] of clients) {
    assert.equal(longForm(short, 'client'), long);
    assert.deepEqual(parseClient(short), parseClient(long));
  }
});

test('what is written with a type has no long form', () => {
  for (const text of [
    'tcp:8080',
    'unix:///run/app.sock',
    'tls:/etc/certs:443',
    'tls://etc/certs:443',
    'systemd:name=web',
  ])
    assert.equal(longForm(text, 'server'), null);
  for (const text of ['tcp:host:80', 'unix:/run/app.sock', 'ssl:host:443'])
    assert.equal(longForm(text, 'client'), null);
});

test('what can be read in two ways is refused with both', () => {
  for (const [text, ...readings] of [
    ['/run/a:b', String.raw`unix:/run/a\:b`, 'unix:/run/a:b'],
    ['::1:8080', '[::1]:8080', '[::1:8080]:PORT'],
  ] as const) {
    const { message, hint = '' } = refusal(() => parseServer(text));
    assert.match(message, /two ways/);
    for (const reading of readings) assert.ok(hint.includes(`'${reading}`), `${hint}; wanted ${reading}`);
  }
});

test('the hint of a wrong endpoint has it as it should be', () => {
  for (const [text, right] of [
    ['tcp:127.0.0.1:8080', 'tcp:8080:interface=127.0.0.1'],
    ['tcp:[::1]:8080:backlog=5', 'tcp:8080:interface=[::1]:backlog=5'],
    ['web:8080', 'tcp:8080:interface=web'],
    ['tcp:8080:interfce=127.0.0.1', 'tcp:8080:interface=127.0.0.1'],
    ['8080:interfce=127.0.0.1', '8080:interface=127.0.0.1'],
    ['http://127.0.0.1:8080/', ':8080'],
  ] as const)
    assert.ok(
      refusal(() => parseServer(text)).hint?.includes(`'${right}'`),
      `${text}: ${refusal(() => parseServer(text)).hint}`,
    );
  for (const [text, right] of [
    ['tcp:9001', 'tcp:127.0.0.1:9001'],
    ['tcp:9001:interface=10.0.0.1', 'tcp:10.0.0.1:9001'],
    ['tcp:host:9001:timout=5', 'tcp:host:9001:timeout=5'],
    ['haproxy:9001', 'tcp:haproxy:9001'],
    ['https://example.com/a', 'tls://example.com:443'],
  ] as const)
    assert.ok(
      refusal(() => parseClient(text)).hint?.includes(`'${right}'`),
      `${text}: ${refusal(() => parseClient(text)).hint}`,
    );
});

test('an error of a short form shows the place in what was typed', () => {
  const error = refusal(() => parseServer('127.0.0.1:99999'));
  assert.match(error.message, /"127\.0\.0\.1:99999": port "99999" is out of range .*, at character 11$/);
});

function refusal(read: () => unknown): EndpointError {
  try {
    read();
  } catch (error) {
    if (error instanceof EndpointError) return error;
    throw error;
  }
  throw new Error('it was read');
}

test('a host alone is told what is missing, on either side', { timeout: 60_000 }, () => {
  const hintOf = (read: (text: string) => unknown, text: string) => refusalOf(read, text).hint;
  assert.equal(
    hintOf(parseClient, 'example.com'),
    "the port is missing: 'example.com:80' for HTTP, 'tls://example.com:443' for HTTPS",
  );
  assert.match(hintOf(parseClient, '10.0.0.1') ?? '', /'10\.0\.0\.1:80'/);
  for (const text of ['example.com', 'localhost', '127.0.0.1'])
    assert.match(hintOf(parseServer, text) ?? '', /^where to listen is a port or a path, as in '8080'/);
  assert.match(hintOf(parseClient, 'quic') ?? '', /^the client types are/);
});
