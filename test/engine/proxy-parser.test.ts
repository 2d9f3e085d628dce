import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from '../../src/engine/crc32c.ts';
import { proxyHeader } from '../../src/engine/proxy-header.ts';
import { readProxyHeader } from '../../src/engine/proxy-parser.ts';

const ends = { client: { host: '192.0.2.1', port: 56_324 }, accepted: { host: '192.0.2.2', port: 443 } };
const ends6 = { client: { host: '2001:db8::1', port: 1 }, accepted: { host: '::1', port: 65_535 } };
const binary = (...tail: number[]) => {
  const header = Buffer.from([...proxyHeader('v2', ends), ...tail]);
  header.writeUInt16BE(header.length - 16, 14);
  return header;
};

test('what is written is read, cut anywhere, with data after it', () => {
  for (const version of ['v1', 'v2'] as const) {
    for (const subject of [ends, ends6, 'unknown', 'local'] as const) {
      const header = proxyHeader(version, subject);
      const bytes = Buffer.concat([header, Buffer.from('PROXY data')]);
      for (let cut = 0; cut < header.length; cut++)
        assert.equal(readProxyHeader(bytes.subarray(0, cut)), null, `${version} cut at ${cut}`);
      for (let cut = header.length; cut <= bytes.length; cut++) {
        const { block: _, ...read } = readProxyHeader(bytes.subarray(0, cut))!;
        assert.deepEqual(read, {
          length: header.length,
          ends: typeof subject === 'string' ? null : subject,
          paths: null,
          fields: [],
        });
      }
    }
  }
});

test('fields after the addresses are read, and a checksum has to be right', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283); // the check value of the algorithm
  const unique = [0x05, 0, 3, 1, 2, 3];
  const field = { type: 5, value: Uint8Array.of(1, 2, 3) };
  const block = binary().subarray(16);
  assert.deepEqual(readProxyHeader(binary(...unique)), {
    length: 34,
    ends,
    block: Uint8Array.from(block),
    paths: null,
    fields: [field],
  });
  const summed = binary(...unique, 0x03, 0, 4, 0, 0, 0, 0);
  summed.writeUInt32BE(crc32c(summed), summed.length - 4);
  const sum = { type: 3, value: Uint8Array.from(summed.subarray(-4)) };
  assert.deepEqual(readProxyHeader(summed)?.fields, [field, sum]);
  summed[40]! ^= 1;
  assert.throws(() => readProxyHeader(summed), {
    name: 'GraceError',
    message: 'no PROXY header: its checksum is wrong',
  });
});

test('what is no header is refused as soon as that is clear', () => {
  const signature = [...proxyHeader('v2', 'local')].slice(0, 12);
  for (const [bytes, message] of [
    ['G', /the first bytes are not those of one/],
    ['PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n', /not as it should be/],
    ['PROXY TCP4 ::1 5.6.7.8 1 2\r\n', /not as it should be/],
    ['PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n', /not as it should be/],
    ['PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n', /not as it should be/],
    ['PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n', /not as it should be/],
    [`PROXY UNKNOWN ${'x'.repeat(100)}`, /longer than 107 bytes/],
    [Buffer.from([...signature, 0x11, 0x11, 0, 12]), /version or command/],
    [Buffer.from([...signature, 0x22, 0x11, 0, 12]), /version or command/],
    [Buffer.from([...signature, 0x21, 0x12, 0, 0]), /none of connections/],
    [Buffer.from([...signature, 0x21, 0x11, 0, 4, 1, 2, 3, 4]), /too short for its addresses/],
    [Buffer.from([...signature, 0x21, 0x11, 0xff, 0xff]), /longer than/],
    [binary(0x05, 0, 9, 1), /cut off/],
    [binary(0x03, 0, 1, 1), /checksum has the wrong length/],
  ] as const) {
    assert.throws(() => readProxyHeader(Buffer.from(bytes as string, 'latin1')), { name: 'GraceError', message });
  }
});

test('no bytes of whatever kind crash it or take long', () => {
  let state = 12_345;
  const next = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) >>> 24;
  const starts = [
    [],
    [...Buffer.from('PROXY ')],
    [...proxyHeader('v2', 'local')].slice(0, 12),
    [...proxyHeader('v2', ends)],
  ];
  for (let round = 0; round < 20_000; round++) {
    const start = starts[next() & 3]!;
    const bytes = Buffer.from([...start, ...Array.from({ length: next() }, next)]);
    try {
      const header = readProxyHeader(bytes);
      assert.ok(header === null || header.length <= bytes.length);
    } catch (error) {
      assert.match(String(error), /^GraceError: no PROXY header: /);
    }
  }
});
