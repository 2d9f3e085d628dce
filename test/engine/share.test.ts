import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashOfHost, hashOfSockaddr, newSecret, shareKey, shareThreshold } from '../../src/engine/share.ts';
import { encodeSockaddr } from '../../src/sys/sockaddr.ts';

const count = 10_000;

/** Clients of one network, and of everywhere. */
const populations: Record<string, (index: number) => string> = {
  'neighbours in IPv4': (index) => `10.0.${index >> 8}.${index & 255}`,
  'networks in IPv4': (index) => `${1 + (index >> 8)}.${index & 255}.0.1`,
  'neighbours in IPv6': (index) => `2001:db8::${index.toString(16)}`,
  'networks in IPv6': (index) => `2001:db8:${index.toString(16)}::1`,
};

function shareOf(hostOf: (index: number) => string, percent: number, secret: string): Set<string> {
  const key = shareKey(secret);
  const hosts = Array.from({ length: count }, (_, index) => hostOf(index));
  return new Set(hosts.filter((host) => hashOfHost(host, key) < shareThreshold(percent)));
}

for (const [who, hostOf] of Object.entries(populations))
  test(`a share of ${count} ${who} is right to two points, whatever the secret`, () => {
    for (const percent of [0, 10, 50])
      for (const secret of [newSecret(), '0000000000000000']) {
        const { size } = shareOf(hostOf, percent, secret);
        assert.ok(Math.abs((100 * size) / count - percent) < 2, `${size} of ${count} with ${secret}, not ${percent} %`);
        if (percent === 0) assert.equal(size, 0);
      }
  });

test('who is of a small share is of a larger one, and another secret makes it others', () => {
  const hostOf = populations['neighbours in IPv4']!;
  const secret = newSecret();
  const [small, large] = [shareOf(hostOf, 10, secret), shareOf(hostOf, 30, secret)];
  assert.ok([...small].every((host) => large.has(host)));
  const others = shareOf(hostOf, 10, newSecret());
  assert.ok([...small].filter((host) => others.has(host)).length < small.size / 2);
});

test('an address is the same one with any port, in IPv6 form, with a zone, and as the system gives it', () => {
  const key = shareKey('0123456789abcdef');
  assert.equal(hashOfHost('::ffff:10.1.2.3', key), hashOfHost('10.1.2.3', key));
  assert.equal(hashOfHost('fe80::1%eth0', key), hashOfHost('fe80::1', key));
  for (const port of [1, 65535]) {
    const v4 = encodeSockaddr({ family: 'inet', host: '10.1.2.3', port });
    const v6 = encodeSockaddr({ family: 'inet6', host: 'fe80::1', port });
    assert.equal(hashOfSockaddr(v4, key), hashOfHost('10.1.2.3', key));
    assert.equal(hashOfSockaddr(v6, key), hashOfHost('fe80::1', key));
  }
});

test('connections of clients without an address are shared one by one', () => {
  const key = shareKey(newSecret());
  const hits = Array.from({ length: count }, () => hashOfHost(undefined, key)).filter(
    (hash) => hash < shareThreshold(25),
  );
  assert.ok(Math.abs((100 * hits.length) / count - 25) < 2, `${hits.length}`);
});

test('the hash is HalfSipHash-2-4, by a vector of its authors', () => {
  assert.equal(hashOfHost('0.1.2.3', shareKey('0302010007060504')), 0x89466e2a);
});

test('an address stays on its side over an upgrade: these are the hashes of earlier versions', () => {
  const key = shareKey('0123456789abcdef');
  assert.deepEqual(
    ['192.0.2.7', '2001:db8::1', 'fe80::1%eth0', '127.0.0.1'].map((host) => hashOfHost(host, key)),
    [4_066_039_576, 3_237_674_524, 2_043_329_474, 1_017_684_917],
  );
});
