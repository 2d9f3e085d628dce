import assert from 'node:assert/strict';
import { test } from 'node:test';
import { proxyHeader } from '../../src/engine/proxy-header.ts';
import type { ProxySubject } from '../../src/engine/proxy-header.ts';

const ends = (client: string, accepted: string): ProxySubject => ({
  client: { host: client, port: 56_324 },
  accepted: { host: accepted, port: 443 },
});
const text = (subject: ProxySubject) => new TextDecoder().decode(proxyHeader('v1', subject));
const hex = (subject: ProxySubject) => Buffer.from(proxyHeader('v2', subject)).toString('hex');
const signature = '0d0a0d0a000d0a515549540a';

test('version 1 is a line of text', () => {
  assert.equal(text(ends('192.0.2.1', '192.0.2.2')), 'PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n');
  assert.equal(text(ends('2001:db8::1', '::1')), 'PROXY TCP6 2001:db8::1 ::1 56324 443\r\n');
  assert.equal(text('unknown'), 'PROXY UNKNOWN\r\n');
  assert.equal(text('local'), 'PROXY UNKNOWN\r\n');
});

test('version 2 is binary', () => {
  assert.equal(hex(ends('192.0.2.1', '192.0.2.2')), `${signature}2111000cc0000201c0000202dc0401bb`);
  assert.equal(
    hex(ends('2001:db8::1', '::1')),
    `${signature}21210024${'20010db8000000000000000000000001'}${'0'.repeat(31)}1dc0401bb`,
  );
  assert.equal(hex('unknown'), `${signature}21000000`);
  assert.equal(hex('local'), `${signature}20000000`);
});

test('an IPv4 address is one in whatever form, zones stay here, and two families become one', () => {
  assert.equal(text(ends('::ffff:192.0.2.1', '::ffff:192.0.2.2')), 'PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n');
  assert.equal(text(ends('fe80::1%eth0', 'fe80::2%eth0')), 'PROXY TCP6 fe80::1 fe80::2 56324 443\r\n');
  assert.equal(text(ends('192.0.2.1', '2001:db8::1')), 'PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 56324 443\r\n');
  assert.match(
    hex(ends('192.0.2.1', '2001:db8::1')),
    new RegExp(`^${signature}2121002400000000000000000000ffffc0000201`),
  );
});
