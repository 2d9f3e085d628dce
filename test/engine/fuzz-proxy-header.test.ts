import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import { crc32c } from '../../src/engine/crc32c.ts';
import { tlsFields } from '../../src/engine/proxy-fields.ts';
import { proxyHeader } from '../../src/engine/proxy-header.ts';
import { readProxyHeader } from '../../src/engine/proxy-parser.ts';
import { always, hostileText, mustBeLinear, mutatedBytes, readOrRefused, timeout } from '../hostile.ts';

const ends = { client: { host: '192.0.2.1', port: 56_324 }, accepted: { host: '192.0.2.2', port: 443 } };
const ends6 = { client: { host: '2001:db8::1', port: 1 }, accepted: { host: '::1', port: 65_535 } };
const fields = () => tlsFields({ version: 'TLSv1.3', alpn: 'h2', clientName: 'me', isResumed: false });
const paths = new Uint8Array(216).fill(0x2f);
const known = (['v1', 'v2'] as const).flatMap((version) =>
  ([ends, ends6, { ...ends, fields }, { paths, fields }, 'unknown', 'local'] as const).flatMap((subject) => [
    proxyHeader(version, subject),
    proxyHeader(version, subject, { isSummed: true, uniqueId: 'me' }),
  ]),
);
const words = [
  'PROXY ',
  'TCP4 ',
  'TCP6 ',
  'UNKNOWN',
  '1.2.3.4 ',
  '::1 ',
  'fe80::1%lo ',
  '::ffff:1.2.3.4 ',
  '80 ',
  '0 ',
  '65536 ',
  '\r\n',
  ' ',
];
const bytes = fc.oneof(
  mutatedBytes(known),
  hostileText(words).map((text) => Buffer.from(`PROXY ${text}\r\n`)),
  fc.tuple(fc.constantFrom(...known), fc.uint8Array({ maxLength: 80 })).map(([header, rest]) => {
    const whole = Buffer.concat([header, rest]);
    if (whole[0] === 13) whole.writeUInt16BE(whole.length - 16, 14);
    return whole;
  }),
);

test('any bytes are a header, however they come, or none, or the beginning of one', { timeout }, () => {
  let found = 0;
  always(3000, bytes, (whole) => {
    const at = (end: number) => {
      let isNone = false;
      const header = readOrRefused(() => {
        isNone = true;
        const read = readProxyHeader(whole.subarray(0, end));
        isNone = false;
        return read;
      });
      return { header, isNone };
    };
    const { header, isNone } = at(whole.length);
    // What it is in the end it was from the byte on at which that was clear, and more was waited for before.
    let end = 0;
    while (end < whole.length && at(end).header === null && !at(end).isNone) end++;
    assert.deepEqual(at(end), { header, isNone });
    if (header === null) return;
    found++;
    assert.equal(end, header.length);
    if (header.ends === null) return;
    for (const { host, port } of [header.ends.client, header.ends.accepted]) {
      assert.ok(isIPv4(host) || isIPv6(host), host);
      assert.ok(!host.includes('%') && Number.isInteger(port) && port >= 0 && port <= 65_535);
    }
    for (const version of ['v1', 'v2'] as const)
      assert.ok(readProxyHeader(Buffer.from(proxyHeader(version, header.ends)))?.ends);
  });
  assert.ok(found > 100, `only ${found} headers`);
});

test('a zone is no part of an address that a header tells of', () => {
  assert.throws(() => readProxyHeader(Buffer.from('PROXY TCP6 fe80::1%lo ::1 1 2\r\n')), /not as it should be/);
});

test('a header has one checksum: many would each be computed', () => {
  const field = [0x03, 0, 4, 0, 0, 0, 0];
  const header = Buffer.from([...proxyHeader('v2', ends), ...field, ...field]);
  header.writeUInt16BE(header.length - 16, 14);
  header.writeUInt32BE(crc32c(header), 28 + 3);
  assert.throws(() => readProxyHeader(header), { message: 'no PROXY header: it has more than one checksum' });
});

test('a header that comes a byte at a time costs no more than in proportion', { timeout }, () => {
  const whole = (size: number) => {
    const header = Buffer.concat([proxyHeader('v2', ends), Buffer.from([0x04, 0, 0]), Buffer.alloc(size)]);
    header.writeUInt16BE(header.length - 16, 14);
    header.writeUInt16BE(size, 29);
    return header;
  };
  mustBeLinear('bytes', whole, 500, (header) => {
    for (let end = 1; end <= header.length; end++) readProxyHeader(header.subarray(0, end));
  });
});
