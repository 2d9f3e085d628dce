/** Reading the header that proxy-header.ts writes, byte by byte as it comes; sections are those of the specification named there. */
import { isIPv4, isIPv6 } from 'node:net';
import { GraceError } from '../error.ts';
import { isMappedIPv4 } from '../sys/sockaddr.ts';
import { crc32c } from './crc32c.ts';
import { PP2_TYPE_CRC32C } from './proxy-fields.ts';
import type { ProxyField } from './proxy-fields.ts';
import { readEnds } from './proxy-header.ts';
import type { ProxyEnd, ProxySubject } from './proxy-header.ts';

/** A header that has come whole. */
export type ReadHeader = {
  length: number;
  /** Null when it tells of no client's address (UNKNOWN, LOCAL, a Unix socket). */
  ends: { client: ProxyEnd; accepted: ProxyEnd } | null;
  /** The same as version 2 has it, see ProxySubject; null also of version 1. */
  block: Uint8Array | null;
  /** The two paths of a client that came over a Unix socket, 216 bytes. */
  paths: Uint8Array | null;
  /** What else it tells, in order. */
  fields: readonly ProxyField[];
};

/** What a destination is told of a client that is spoken for; `own`: what it is told without a header. */
export function toldSubject(header: Omit<ReadHeader, 'length'>, own: ProxySubject): ProxySubject {
  const { block, paths, fields } = header;
  const told = fields.length === 0 ? {} : { fields: () => fields };
  if (block !== null) return { block, ...told };
  const { ends } = header;
  if (ends !== null) return { ...ends, ...told };
  if (paths !== null) return { paths, ...told };
  if (fields.length === 0) return own;
  return typeof own === 'string' ? { client: null, ...told } : { ...own, ...told };
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const START_OF_TEXT = Buffer.from('PROXY ', 'latin1');
/** Longest line of version 1 with its end (section 2.1), and longest header of version 2 that is taken, in bytes. */
const MAX_TEXT = 107;
const MAX_BINARY = 16 + 4096;
/** No header is longer, in bytes. */
export const MAX_PROXY_HEADER: number = MAX_BINARY;
const FIXED = 16;

/** The header at the start of these bytes; null when more must come. Throws GraceError for what is none, as soon as that is clear. */
export function readProxyHeader(bytes: Buffer): ReadHeader | null {
  if (bytes.length === 0) return null;
  if (isStartOf(bytes, START_OF_TEXT)) return readText(bytes);
  if (isStartOf(bytes, SIGNATURE)) return bytes.length < FIXED ? null : readBinary(bytes);
  throw bad('the first bytes are not those of one');
}

/** Whether the bytes begin as these do, as far as there are any. */
function isStartOf(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

function bad(why: string): GraceError {
  return new GraceError(`no PROXY header: ${why}`, { code: 'ERR_GRACE_PROXY' });
}

function readText(bytes: Buffer): ReadHeader | null {
  const end = bytes.subarray(0, MAX_TEXT).indexOf('\r\n');
  if (end === -1) {
    if (bytes.length >= MAX_TEXT) throw bad(`its line is longer than ${MAX_TEXT} bytes`);
    return null;
  }
  const length = end + 2;
  const [, family, from = '', to = '', fromPort = '', toPort = '', ...rest] = bytes
    .subarray(0, end)
    .toString('latin1')
    .split(' ');
  if (family === 'UNKNOWN') return { length, ends: null, block: null, paths: null, fields: [] };
  // A zone means nothing on another machine.
  const isAddress =
    family === 'TCP4' ? isIPv4 : (host: string) => family === 'TCP6' && isIPv6(host) && !host.includes('%');
  if (rest.length > 0 || !isAddress(from) || !isAddress(to) || !isPort(fromPort) || !isPort(toPort))
    throw bad('its line is not as it should be');
  return {
    length,
    ends: { client: { host: from, port: Number(fromPort) }, accepted: { host: to, port: Number(toPort) } },
    block: null,
    paths: null,
    fields: [],
  };
}

function isPort(text: string): boolean {
  return /^(0|[1-9][0-9]{0,4})$/.test(text) && Number(text) <= 65_535;
}

function readBinary(bytes: Buffer): ReadHeader | null {
  const [command = 0, family = 0] = [bytes[12], bytes[13]];
  const length = FIXED + bytes.readUInt16BE(14);
  if (command >> 4 !== 2 || (command & 15) > 1) throw bad('its version or command is not known');
  if (length > MAX_BINARY) throw bad(`it is longer than ${MAX_BINARY} bytes`);
  if (bytes.length < length) return null;
  const header = bytes.subarray(0, length);
  // LOCAL is whoever sends it, whatever else it says.
  if ((command & 15) === 0) return { length, ends: null, block: null, paths: null, fields: [] };
  const size = sizeOf(family);
  if (size === null) throw bad(`its family ${family} is none of connections`);
  if (length < FIXED + size) throw bad('it is too short for its addresses');
  const block = family === 0x11 || family === 0x21 ? oneFamily(header.subarray(FIXED, FIXED + size)) : null;
  return {
    length,
    ends: block && readEnds(block),
    block,
    paths: family === 0x31 ? new Uint8Array(header.subarray(FIXED, FIXED + size)) : null,
    fields: readFields(header, FIXED + size),
  };
}

/** Bytes of the addresses: unspecified, TCP over IPv4 and IPv6, Unix streams; null for any other. */
function sizeOf(family: number): number | null {
  return { 0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216 }[family] ?? null;
}

/** A copy of the addresses, in IPv4's form where both are of IPv4 in that of IPv6. */
function oneFamily(block: Buffer): Uint8Array {
  if (block.length === 12 || !isMappedIPv4(block, 0) || !isMappedIPv4(block, 16)) return new Uint8Array(block);
  return Uint8Array.of(...block.subarray(12, 16), ...block.subarray(28));
}

/** What follows the addresses. The checksum of all of it must be right where it is given. */
function readFields(header: Buffer, start: number): ProxyField[] {
  const fields: ProxyField[] = [];
  let isSummed = false;
  for (let at = start; at < header.length;) {
    const end = at + 3 <= header.length ? at + 3 + header.readUInt16BE(at + 1) : Infinity;
    if (end > header.length) throw bad('a field of it is cut off');
    const type = header[at]!;
    if (type === PP2_TYPE_CRC32C) {
      if (end - at !== 7) throw bad('its checksum has the wrong length');
      // Each is of the whole header: a hundred would be as many times the work.
      if (isSummed) throw bad('it has more than one checksum');
      isSummed = true;
      const said = header.readUInt32BE(at + 3);
      const zeroed = Buffer.from(header).fill(0, at + 3, at + 7);
      if (crc32c(zeroed) !== said) throw bad('its checksum is wrong');
    }
    // A copy: where the header lies is written over.
    fields.push({ type, value: new Uint8Array(header.subarray(at + 3, end)) });
    at = end;
  }
  return fields;
}
