import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseClient } from '../../src/endpoint/client.ts';
import { explainClient, toJson } from '../../src/endpoint/describe.ts';
import { clientKey } from '../../src/endpoint/identity.ts';
import { printClient } from '../../src/endpoint/print.ts';
import { refusalOf, refuses } from './refusals.ts';

const timeout = 60_000;

test('a service is read with its name servers, and printed again', { timeout }, () => {
  const plain = { type: 'srv', name: '_pg._tcp.db.example', timeout: 30, bindAddress: null, server: null };
  assert.deepEqual(toJson(parseClient('srv:_pg._tcp.db.example')), plain);
  const text =
    'srv:_pg._tcp.db.example:timeout=5:server=192.0.2.53,192.0.2.54\\:5353,[2001\\:db8\\:\\:1]\\:53:retry=2s:proxy=v2';
  const endpoint = parseClient(text);
  assert.deepEqual(toJson(endpoint), {
    ...plain,
    timeout: 5,
    server: [
      { host: '192.0.2.53', port: 53 },
      { host: '192.0.2.54', port: 5353 },
      { host: '2001:db8::1', port: 53 },
    ],
    retry: 2000,
    proxy: 'v2',
  });
  assert.equal(
    printClient(endpoint),
    'srv:_pg._tcp.db.example:timeout=5:server=192.0.2.53,192.0.2.54\\:5353,2001\\:db8\\:\\:1:retry=2s:proxy=v2',
  );
  assert.deepEqual(parseClient(printClient(endpoint)), endpoint);
  const rows = explainClient(parseClient('srv:_pg._tcp.db.example:server=192.0.2.53'));
  assert.deepEqual(
    rows.map(({ name, value }) => `${name} ${value}`),
    ['type srv', 'name _pg._tcp.db.example', 'timeout 30', 'bindAddress -', 'server 192.0.2.53'],
  );
  assert.equal(parseClient('tls:db.example:5432:endpoint=srv\\:_pg._tcp.db.example').type, 'tls');
});

test('two spellings of one service are the same destination', { timeout }, () => {
  const key = (text: string) => clientKey(parseClient(text));
  assert.equal(key('srv:_pg._tcp.db.example'), key('SRV:name=_PG._tcp.DB.example.'));
  assert.equal(key('srv:a.b:server=[::1]'), key('srv:a.b:server=[0\\:0\\:0\\:0\\:0\\:0\\:0\\:1]\\:53'));
  assert.notEqual(key('srv:a.b'), key('srv:a.b:server=192.0.2.1'));
});

test('what is no service is refused, with what to write', { timeout }, () => {
  refuses(parseClient, {
    'srv:': /name "" is a bad name: it is empty/,
    'srv:192.0.2.1': /is an address, not the name of a service/,
    'srv:db': /is not the name of a service \(use _SERVICE/,
    'srv:_pg._tcp.db.example:5432': /too many arguments: "5432"/,
    'srv:_pg._tcp.db.example:port=5432': /port/,
    'srv:_pg._tcp.db.example:insecure=yes': /insecure/,
    'srv:a.b:server=': /is not a list of name servers/,
    'srv:a.b:server=ns.example': /is not a list of name servers/,
    'srv:a.b:server=192.0.2.1\\:0': /is not a list of name servers/,
    'srv:a.b:server=192.0.2.1\\:65536': /is not a list of name servers/,
    'srv:a.b:server=192.0.2.1,': /is not a list of name servers/,
    [`srv:a.b:server=${Array(9).fill('192.0.2.1').join(',')}`]: /names more than 8 servers/,
  });
  assert.match(refusalOf(parseClient, 'srv:9001').hint ?? '', /'tcp:srv:9001'/);
});
