import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkClient } from '../../src/endpoint/check.ts';
import { parseClient } from '../../src/endpoint/client.ts';
import { explainClient } from '../../src/endpoint/describe.ts';
import { clientKey } from '../../src/endpoint/identity.ts';
import { resolvePaths } from '../../src/endpoint/paths.ts';
import { printClient } from '../../src/endpoint/print.ts';

const tcp = (port: number) => ({ type: 'tcp', host: '127.0.0.1', port, timeout: 30, bindAddress: null }) as const;

test('sni: names a destination for each name, several names by commas, protocols behind a plus, and a default', () => {
  assert.deepEqual(
    parseClient('sni:A.Example.,*.b.example+h2=9001:bücher.example=tcp\\:127.0.0.1\\:9002:default=9003'),
    {
      type: 'sni',
      routes: [
        { name: 'a.example', alpn: null, endpoint: tcp(9001) },
        { name: '*.b.example', alpn: 'h2', endpoint: tcp(9001) },
        { name: 'xn--bcher-kva.example', alpn: null, endpoint: tcp(9002) },
      ],
      default: tcp(9003),
    },
  );
});

test('what is wrong with a sni: endpoint is said with its place, and how it is written', () => {
  const cases: [text: string, reason: RegExp, hint: RegExp][] = [
    ['sni:a.example=10.0.0.1:443', /unknown type "10\.0\.0\.1", at character 15/, /'sni:a\.example=10\.0\.0\.1\\:443'/],
    ['sni:a=tcp:h:80:timeout=5:b=/run/x.sock', /missing/, /'sni:a=tcp\\:h\\:80\\:timeout\\=5:b=\/run\/x\.sock'/],
    ['sni:', /no name before it/, /sni:NAME=DST/],
    ['sni:default=9001', /missing argument: a name/, /sni:NAME=DST/],
    ['sni:a=9001:A.=9002', /a is given twice/, /^$/],
    ['sni:a=9001:default=1:default=2', /default is given twice/, /^$/],
    ['sni:*.*.a=9001', /no name that a client can ask for/, /first part of a name alone/],
    ['sni:a.example=9001:retry=5', /"retry" belongs to a destination/, /'sni:a\.example=9001\\:retry\\=5'/],
    [
      'sni:a.example=9001:timeout=5:b=9002',
      /"timeout" belongs to a destination/,
      /'sni:a\.example=9001\\:timeout\\=5:b=9002'/,
    ],
    ['sni:a=9001:proxyTlv=none', /"proxyTlv" belongs to a destination/, /it is sni:NAME=DST/],
    ['sni:a=9001:default+h2=9002', /default is for all others/, /it is sni:/],
    ['sni:192.0.2.1=9001', /who goes to an address asks for no name/, /it is sni:/],
    ['sni:\\:\\:1=9001', /who goes to an address asks for no name/, /it is sni:/],
    ['sni:a+=9001', /names no protocol/, /NAME\+h2/],
    ['sni:a=sni\\:b\\=9001', /inside another endpoint/, /whole destinations/],
    ['tls:h:443:endpoint=sni\\:b\\=9001', /inside another endpoint/, /whole destinations/],
  ];
  for (const [text, message, hint] of cases)
    assert.throws(
      () => parseClient(text),
      (error: Error & { hint?: string }) => {
        assert.match(error.message, message, text);
        assert.match(error.hint ?? '', hint, text);
        return true;
      },
    );
});

test('the order of names and their spelling have no meaning, their destinations have', () => {
  const key = (text: string) => clientKey(parseClient(text));
  assert.equal(key('sni:a=9001:b=9002'), key('sni:B.=tcp\\:127.0.0.1\\:9002:a=9001'));
  assert.notEqual(key('sni:a=9001:b=9002'), key('sni:a=9002:b=9001'));
  assert.notEqual(key('sni:a=9001'), key('sni:a=9001:default=9001'));
  assert.notEqual(key('sni:a=9001'), key('sni:a+h2=9001'));
});

test('relative paths of its destinations are resolved, and their files checked', () => {
  const endpoint = resolvePaths(parseClient('sni:a=unix\\:app.sock:default=./x.sock'), '/run');
  assert.equal(printClient(endpoint), 'sni:a=unix\\:/run/app.sock:default=unix\\:/run/x.sock');
  assert.throws(() => checkClient(parseClient('sni:a=ssl\\:h\\:443\\:caCertsDir\\=/nonexistent')), /nonexistent/);
});

test('each route is explained', () => {
  assert.deepEqual(
    explainClient(parseClient('sni:a.example=9001:*.b.example+h2=/run/x.sock')).map(({ name, value }) => [name, value]),
    [
      ['type', 'sni'],
      ['a.example', 'tcp:127.0.0.1:9001'],
      ['*.b.example+h2', 'unix:/run/x.sock'],
      ['default', '-'],
    ],
  );
});
