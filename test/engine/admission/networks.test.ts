import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readNetworks } from '../../../src/endpoint/networks.ts';
import { keyOfWords, wordsOfHost, wordsOfPeer } from '../../../src/engine/admission/address-key.ts';
import { includesAddress } from '../../../src/engine/admission/networks.ts';
import { countCpuMs } from '../../cpu-time.ts';

const about = { parameter: 'allow', text: 'tcp:1' };

function has(items: string[], host: string): boolean {
  const words = wordsOfHost(host);
  assert.ok(words);
  return includesAddress(readNetworks(items, about), words);
}

test('an address lies in a network or not, of either family', () => {
  const items = ['10.0.0.0/8', '192.0.2.1', '192.0.2.4/30', '2001:db8::/33', 'fe80::1', '::ffff:203.0.113.0/120'];
  const inside = ['10.0.0.0', '10.255.255.255', '192.0.2.1', '192.0.2.4', '192.0.2.7', '2001:db8:7fff::1', 'fe80::1'];
  const outside = ['9.255.255.255', '11.0.0.0', '192.0.2.0', '192.0.2.2', '192.0.2.8', '2001:db8:8000::', 'fe80::2'];
  for (const host of [...inside, '::ffff:10.1.2.3', '203.0.113.7', 'fe80::1%lo']) assert.ok(has(items, host), host);
  for (const host of [...outside, '::ffff:11.1.2.3', '203.0.114.0', '::1']) assert.ok(!has(items, host), host);
  assert.ok(has(['0.0.0.0/0'], '255.255.255.255'));
  assert.ok(!has(['0.0.0.0/0'], '::1'));
  assert.ok(has(['::/0'], 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'));
  assert.ok(!has(['::/0'], '127.0.0.1'));
});

test('networks that overlap or touch are one', () => {
  const { ipv4 } = readNetworks(['10.0.0.0/9', '10.128.0.0/9', '10.1.0.0/16', '10.1.2.3'], about);
  assert.deepEqual([...ipv4], [0x0a000000, 0x0affffff]);
});

test('a file has a network a line, and remarks', () => {
  const dir = mkdtempSync(join(tmpdir(), 'grace-networks-'));
  const file = join(dir, 'allow');
  try {
    writeFileSync(file, '# office\n10.0.0.0/8 # all of it\r\n\n  2001:db8::1\n');
    assert.ok(has([`@${file}`, '192.0.2.1'], '10.1.1.1'));
    assert.ok(has([`@${file}`], '2001:db8::1'));
    assert.ok(has([`@${file}`, '192.0.2.1'], '192.0.2.1'));
    writeFileSync(file, '10.0.0.0/8\n10.0.0.0/33\n');
    assert.throws(() => readNetworks([`@${file}`], about), {
      name: 'EndpointError',
      message: /allow ".*allow": line 2: "10.0.0.0\/33" is neither an address nor a network/,
    });
    writeFileSync(file, '# nobody\n');
    assert.ok(!has([`@${file}`], '10.1.1.1'));
    rmSync(file);
    assert.throws(() => readNetworks([`@${file}`], about), /file not found/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('many networks are searched in no time', () => {
  const items = Array.from(
    { length: 20_000 },
    (_, index) => `${1 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}.0/25`,
  );
  const networks = readNetworks(items, about);
  const cpuMs = countCpuMs();
  let found = 0;
  for (let count = 0; count < 200_000; count++)
    if (includesAddress(networks, [(0x01000000 + Math.imul(count, 40_503)) >>> 0])) found++;
  assert.ok(found > 0);
  const tookMs = cpuMs();
  assert.ok(tookMs < 1000, `${tookMs / 200} µs each`);
});

test('clients are counted by IPv4 address, and by the /64 of an IPv6 one', () => {
  const key = (peer: string) => {
    const words = wordsOfPeer(peer);
    return words && keyOfWords(words);
  };
  assert.deepEqual(key('[2001:db8:1:2::3]:80'), key('[2001:db8:1:2:ffff::4]:81'));
  assert.notDeepEqual(key('[2001:db8:1:2::3]:80'), key('[2001:db8:1:3::3]:80'));
  assert.notDeepEqual(key('127.0.0.1:80'), key('127.0.0.2:80'));
  assert.deepEqual(key('127.0.0.1:80'), key('[::ffff:127.0.0.1]:81'));
  assert.equal(key('unix'), null);
});
