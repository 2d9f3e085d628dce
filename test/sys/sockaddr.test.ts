import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeSockaddr, encodeSockaddr, UNIX_PATH_MAX } from '../../src/sys/sockaddr.ts';
import type { SocketAddress } from '../../src/sys/sockaddr.ts';

const ADDRESSES: [SocketAddress, string][] = [
  [{ family: 'inet', host: '127.0.0.1', port: 80 }, '127.0.0.1'],
  [{ family: 'inet6', host: '::', port: 65535 }, '::'],
  [{ family: 'inet6', host: '::1', port: 1 }, '::1'],
  [{ family: 'inet6', host: '2001:DB8:0:0:1:0:0:1', port: 443 }, '2001:db8::1:0:0:1'],
  [{ family: 'inet6', host: '2001:db8:1:2:3:4:5:6', port: 443 }, '2001:db8:1:2:3:4:5:6'],
  [{ family: 'inet6', host: '::ffff:192.0.2.7', port: 443 }, '::ffff:192.0.2.7'],
  [{ family: 'inet6', host: 'fe80::1', port: 443, scopeId: 2 }, 'fe80::1'],
];

test('an IP address survives encoding and decoding in its usual spelling', () => {
  for (const [address, host] of ADDRESSES) {
    const bytes = encodeSockaddr(address);
    assert.deepEqual(decodeSockaddr(bytes, bytes.length), { ...address, host });
  }
});

test('a path and an abstract name survive encoding and decoding', () => {
  for (const path of ['/run/x.sock', '/run/ü', '\0name', '\0na\0me']) {
    const bytes = encodeSockaddr({ family: 'unix', path });
    assert.deepEqual(decodeSockaddr(bytes, bytes.length), { family: 'unix', path });
  }
});

test('an unnamed Unix socket has the empty path', () => {
  assert.deepEqual(decodeSockaddr(Uint8Array.of(1, 0, 0, 0), 2), { family: 'unix', path: '' });
});

test('what is no address is refused', () => {
  for (const host of ['1.2.3', '1.2.3.256', '1.2.3.4.5', 'localhost', '']) {
    assert.throws(() => encodeSockaddr({ family: 'inet', host, port: 1 }), RangeError, host);
  }
  for (const host of ['1::2::3', '1:2:3', ':::', '12345::', '1:2:3:4:5:6:7:8:9', '::g']) {
    assert.throws(() => encodeSockaddr({ family: 'inet6', host, port: 1 }), RangeError, host);
  }
});

test('a path that does not fit is refused, counted in bytes', () => {
  encodeSockaddr({ family: 'unix', path: `/${'x'.repeat(UNIX_PATH_MAX - 1)}` });
  assert.throws(() => encodeSockaddr({ family: 'unix', path: `/${'ü'.repeat(UNIX_PATH_MAX / 2 + 1)}` }), /bytes long/);
});
