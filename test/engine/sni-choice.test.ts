import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readClientHello } from '../../src/engine/client-hello.ts';
import { judge, SniChoice } from '../../src/engine/sni-choice.ts';
import { always, timeout } from '../hostile.ts';
import { helloMessage, inRecords, rawHello } from './hellos.ts';
import type { HelloParts } from './hellos.ts';

function askedOf(parts: HelloParts) {
  const hello = readClientHello(rawHello(parts));
  assert.ok(hello !== null && hello !== 'more');
  return { serverName: hello.serverName, protocols: hello.protocols };
}

test('the name and the protocols that a client asks for are read, and a name that is none is none', { timeout }, () => {
  assert.deepEqual(askedOf({ name: 'www.example.com', protocols: ['h2', 'http/1.1'] }), {
    serverName: 'www.example.com',
    protocols: ['h2', 'http/1.1'],
  });
  assert.deepEqual(askedOf({}), { serverName: null, protocols: [] });
  const names: [sent: string, read: string | null][] = [
    ['WWW.Example.COM', 'www.example.com'],
    ['www.example.com.', 'www.example.com'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['my_host', 'my_host'],
    ['b\xfccher.example', null],
    ['', null],
    ['.', null],
    ['a..b', null],
    ['a\0.example', null],
    ['a b.example', null],
    ['a.example\n', null],
    ['*.example.com', null],
    [`${'a'.repeat(64)}.example`, null],
    [`${'a.'.repeat(127)}example`, null],
  ];
  for (const [sent, read] of names) assert.equal(askedOf({ name: sent }).serverName, read, JSON.stringify(sent));
});

test('of a client that hides its name (ECH) the outer one is seen', { timeout }, () => {
  const ech = Buffer.from([0xfe, 0x0d, 0, 4, 0, 1, 2, 3]);
  assert.equal(askedOf({ name: 'public.example', extensions: [ech] }).serverName, 'public.example');
});

test('an exact name goes before a wildcard of one label, that before any, and a protocol decides among equals', () => {
  const patterns = ['a.example', 'a.example+h2', '*.example', '*.example+acme-tls/1', '*+xmpp-client', 'b.example+h2'];
  const choice = new SniChoice(
    patterns.map((text) => {
      const [name = '', alpn = null] = text.split('+');
      return { name, alpn };
    }),
  );
  const chosen = (serverName: string | null, ...protocols: string[]) =>
    patterns[choice.choose({ serverName, protocols })] ?? null;
  assert.equal(chosen('a.example'), 'a.example');
  assert.equal(chosen('a.example', 'http/1.1'), 'a.example');
  assert.equal(chosen('a.example', 'http/1.1', 'h2'), 'a.example+h2');
  assert.equal(chosen('b.example'), '*.example');
  assert.equal(chosen('b.example', 'h2'), 'b.example+h2');
  assert.equal(chosen('b.example', 'acme-tls/1'), '*.example+acme-tls/1');
  assert.equal(chosen('a.b.example'), null);
  assert.equal(chosen('example'), null);
  assert.equal(chosen('other.test', 'xmpp-client'), '*+xmpp-client');
  assert.equal(chosen('localhost', 'xmpp-client'), '*+xmpp-client');
  assert.equal(chosen('other.test'), null);
  assert.equal(chosen(null, 'xmpp-client'), null);
});

test('whoever is of no route goes to the default, or is refused with the reason', () => {
  const choice = new SniChoice([{ name: 'a.example', alpn: null }]);
  const hello = (serverName: string | null) => ({ kind: 'hello' as const, asked: { serverName, protocols: [] } });
  const heards = [hello('b.example'), hello(null), { kind: 'other' as const }, { kind: 'silence' as const }];
  for (const heard of heards)
    assert.deepEqual(judge(choice, heard, { ways: 2, hasDefault: true, limitMs: 1000 }), { way: 1 });
  const refused = heards.map((heard) => judge(choice, heard, { ways: 1, hasDefault: false, limitMs: 1000 }));
  assert.deepEqual(
    refused.map((verdict) => 'why' in verdict && [verdict.why, verdict.isTold]),
    [
      ['unknown-name', true],
      ['unknown-name', true],
      ['handshake-failed', false],
      ['handshake-failed', false],
    ],
  );
  for (const kind of ['late', 'long'] as const) {
    const verdict = judge(choice, { kind }, { ways: 2, hasDefault: true, limitMs: 1000 });
    assert.ok('why' in verdict && verdict.why === 'handshake-failed');
  }
});

test(
  'whatever name and protocols a client sends, in whatever records, they are read or nothing is',
  { timeout },
  () => {
    const label = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,20}$/);
    const parts = fc.record({
      labels: fc.array(label, { minLength: 1, maxLength: 5 }),
      protocols: fc.array(fc.string({ minLength: 1, maxLength: 20, unit: 'binary-ascii' }), { maxLength: 5 }),
      padding: fc.integer({ min: 0, max: 3000 }),
      size: fc.integer({ min: 1, max: 700 }),
    });
    always(300, parts, ({ labels, protocols, padding, size }) => {
      const name = labels.join('.');
      const hello = readClientHello(inRecords(helloMessage({ name: name.toUpperCase(), protocols, padding }), size));
      assert.ok(hello !== null && hello !== 'more');
      assert.equal(hello.serverName, name);
      assert.deepEqual(hello.protocols, protocols);
    });
    always(500, fc.tuple(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 60 })), ([name, protocols]) => {
      const data = (type: number, bytes: Uint8Array) =>
        Buffer.concat([Buffer.from([0, type, bytes.length >> 8, bytes.length & 255]), bytes]);
      const extensions = [data(0, name), data(16, protocols)];
      const hello = readClientHello(rawHello({ extensions }));
      assert.notEqual(hello, 'more');
      if (hello !== null && hello !== 'more' && hello.serverName !== null)
        assert.match(hello.serverName, /^[a-z0-9_.-]{1,253}$/);
    });
  },
);
