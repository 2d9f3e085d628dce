/** Destinations of which the files say the same share what was made of them, for as long as one has it. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SecureContext } from 'node:tls';
import { ClientContexts } from '../../../src/engine/portable/client-contexts.ts';
import { collectGarbage } from '../../../src/sys/garbage.ts';
import { until } from '../../until.ts';
import { pemFiles, sslTo, tlsTo } from '../tls-peers.ts';

const pem = pemFiles();

test('destinations have the same whose files say the same, and others have others', () => {
  const contexts = new ClientContexts();
  const caCertsDir = mkdtempSync(join(pem().dir, 'trusted-'));
  copyFileSync(pem().root, join(caCertsDir, 'ca.pem'));
  const identity = { certKey: pem().fullChain, privateKey: pem().key };
  const first = contexts.open(sslTo(1, pem()));
  const same = [
    sslTo(2, pem(), { hostname: 'www.example.com', alpn: ['h2'] }),
    sslTo(3, pem(), { caCertsDir }),
    tlsTo(4, pem()),
  ];
  for (const endpoint of same) assert.equal(contexts.open(endpoint), first);
  const others = [
    sslTo(5, pem(), identity),
    sslTo(6, pem(), { caCertsDir: null }),
    sslTo(7, pem(), { caCertsDir: null, insecure: true }),
    sslTo(8, pem(), { caCertsDir: null, insecure: true, ...identity }),
  ];
  const opened = others.map((endpoint) => contexts.open(endpoint));
  assert.equal(new Set([first, ...opened]).size, 5);
  others.forEach((endpoint, index) => assert.equal(contexts.open(endpoint), opened[index]));
  copyFileSync(pem().otherCert, join(caCertsDir, 'ca.pem'));
  assert.notEqual(contexts.open(sslTo(3, pem(), { caCertsDir })), first);
  assert.equal(contexts.open(sslTo(1, pem())), first);
});

test(
  'one that nobody has any more is forgotten',
  { skip: 'Deno' in globalThis && 'Deno collects when it must' },
  async () => {
    const contexts = new ClientContexts();
    const held: SecureContext[] = [contexts.open(sslTo(1, pem())), contexts.open(sslTo(2, pem(), { insecure: true }))];
    const known = (count: number) =>
      until(
        () => `${contexts.size} are known`,
        () => {
          collectGarbage();
          return contexts.size === count;
        },
        { limitMs: 20_000 },
      );
    await known(2);
    held.pop();
    await known(1);
    assert.equal(contexts.open(sslTo(3, pem())), held[0]);
    held.pop();
    await known(0);
  },
);
